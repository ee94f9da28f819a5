import { expect, test } from 'vitest';
import { unpackQuantized } from '../../../lib/passes/unpack-quantized.ts';
import { attribute, floats, node, opset, port, rawTensor } from '../../models/onnx-writer.ts';
import { t } from '../../ops/node.ts';
import { noise, rewrite } from './harness.ts';

const domain = 'com.microsoft';
const [batch, length, hidden] = [2, 5, 8];

function attention(scales: number[], zeros: number[], more: { mask?: boolean; past?: boolean } = {}): string[] {
  const dims = scales.length === 1 ? [] : [scales.length];
  const names = ['x', 'w', 'bias', 'xs', 'ws', more.mask ? 'mask' : '', 'xz', 'wz', more.past ? 'past' : ''];
  const state = [2, batch, 2, 3, hidden / 2];
  const feeds = [
    t(
      'uint8',
      noise(batch * length * hidden).map((v) => Math.round(v * 120) + 128),
      [batch, length, hidden],
    ),
  ];
  if (more.mask) feeds.push(t('int32', [4, 5], [batch]));
  if (more.past) feeds.push(t('float32', noise(state.reduce((a, b) => a * b, 1)), state));
  const attributes = [attribute.int('num_heads', 2), attribute.int('unidirectional', 1)];
  return rewrite(
    {
      opsets: [opset('', 17), opset(domain, 1)],
      nodes: [node('QAttention', names, more.past ? ['y', 'present'] : ['y'], { domain, attributes })],
      inputs: [
        port('x', 'uint8', [batch, length, hidden]),
        ...(more.mask ? [port('mask', 'int32', [batch])] : []),
        ...(more.past ? [port('past', 'float32', state)] : []),
      ],
      outputs: [port('y', 'float32'), ...(more.past ? [port('present', 'float32')] : [])],
      initializers: [
        rawTensor(
          'w',
          'int8',
          [hidden, 24],
          Int8Array.from(noise(192, 3), (v) => v * 120),
        ),
        floats('bias', noise(24, 5)),
        floats('xs', [0.02], []),
        rawTensor('xz', 'uint8', [], Uint8Array.of(120)),
        floats('ws', scales, dims),
        rawTensor('wz', 'int8', zeros.length === 1 ? [] : [zeros.length], Int8Array.from(zeros)),
      ],
    },
    [unpackQuantized],
    { feeds, tolerance: 1e-4 },
  ).ops;
}

const unpacked = ['DequantizeLinear', 'DequantizeLinear', 'MatMul', 'Add', 'filigree.ProjectedAttention'];

test('attention on bytes is a product of bytes and attention', () => {
  expect(attention([0.01], [3])).toEqual(unpacked);
  expect(attention([0.01], [0], { mask: true })).toEqual(unpacked);
  expect(attention([0.01], [0], { past: true })).toEqual(unpacked);
  const columns = Array.from({ length: 24 }, (_, i) => 0.01 + i / 5000);
  expect(
    attention(
      columns,
      columns.map((_, i) => i % 5),
    ),
  ).toEqual(unpacked);
  // No DequantizeLinear has one zero point for several scales.
  expect(attention(columns, [1])).toEqual(['com.microsoft.QAttention']);
});

import { describe, expect, test } from 'vitest';
import { fuseQuantizedAttention } from '../../../lib/passes/fuse-quantized-attention.ts';
import { attribute, floats, longs, node, opset, port, rawTensor } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

const perm = (...axes: number[]) => ({ attributes: [attribute.ints('perm', axes)] });

/** Scales and zero points of q, k, v, the scores, the weights and y. */
const scales = [0.008, 0.007, 0.009, 0.03, 1 / 255, 0.006].map((s, i) => floats(`s${i}`, [Math.fround(s)], []));
const zeros = [120, 131, 99, 128, 0, 140].map((z, i) => rawTensor(`z${i}`, 'uint8', [], Uint8Array.of(z)));
const q = (x: string, i: number, y: string) => node('QuantizeLinear', [x, `s${i}`, `z${i}`], [y]);
const dq = (x: string, i: number, y: string) => node('DequantizeLinear', [x, `s${i}`, `z${i}`], [y]);

/** A head of size 4 out of "x": bytes [2, 3, 2, 4], turned and made floats. */
const head = (x: string, i: number, ...order: number[]): Uint8Array[] => [
  q(x, i, `${x}q`),
  node('Transpose', [`${x}q`], [`${x}t`], perm(...order)),
  dq(`${x}t`, i, `${x}d`),
];

const softmax = node('Softmax', ['m'], ['w'], { attributes: [attribute.int('axis', -1)] });
const scored = [q('s', 3, 'sq'), dq('sq', 3, 'sd')];
const masked = [node('Mul', ['sd', 'half'], ['h']), node('Add', ['h', 'mask'], ['m'])];
const weighted = [q('w', 4, 'wq'), dq('wq', 4, 'wd')];

const model = (middle: Uint8Array[], outputs = ['y']): Parameters<typeof rewrite>[0] => ({
  opsets: [opset('', 17)],
  nodes: [
    ...head('q', 0, 0, 2, 1, 3),
    ...head('k', 1, 0, 2, 3, 1),
    ...head('v', 2, 0, 2, 1, 3),
    node('MatMul', ['qd', 'kd'], ['s']),
    ...middle,
    node('MatMul', ['wd', 'vd'], ['o']),
    q('o', 5, 'oq'),
    node('Transpose', ['oq'], ['ot'], perm(0, 2, 1, 3)),
    dq('ot', 5, 'y'),
  ],
  initializers: [...scales, ...zeros, floats('half', [0.5], []), longs('none', [])],
  inputs: [
    ...['q', 'k', 'v'].map((name) => port(name, 'float32', [2, 3, 2, 4])),
    port('mask', 'float32', [2, 1, 1, 3]),
  ],
  outputs: outputs.map((name) => port(name)),
});

/** One step of the output's scale, where a sum lies between two bytes. */
const step = { tolerance: 0.0061 };

describe('attention of a quantized graph', () => {
  test('becomes one over bytes, with its transposes', () => {
    const { graph, ops } = rewrite(model([...scored, ...masked, softmax, ...weighted]), [fuseQuantizedAttention], step);
    const made = graph.nodes.find((n) => n.op === 'QAttention');
    expect(ops.filter((op) => op !== 'QuantizeLinear')).toEqual(['filigree.QAttention', 'DequantizeLinear']);
    const layouts = ['q', 'k', 'v', 'y'].map((name) => made?.attributes.get(`${name}_layout`)?.value);
    expect(layouts).toEqual(['bshd', 'bshd', 'bshd', 'bshd']);
    expect(made?.inputs).toHaveLength(4);
    expect(made?.attributes.get('score_scale')?.value).toBeCloseTo(0.015, 8);
  });

  test('without a mask, and with bytes added as a mask', () => {
    const bare = node('Softmax', ['sd'], ['w'], { attributes: [attribute.int('axis', -1)] });
    expect(rewrite(model([...scored, bare, ...weighted]), [fuseQuantizedAttention], step).ops).toContain(
      'filigree.QAttention',
    );
    const bytes = [q('mask', 3, 'mq'), dq('mq', 3, 'md'), node('Add', ['md', 'sd'], ['m'])];
    expect(rewrite(model([...scored, ...bytes, softmax, ...weighted]), [fuseQuantizedAttention], step).ops).toContain(
      'filigree.QAttention',
    );
  });

  test.each([
    { why: 'scores stay floats', middle: [node('Add', ['s', 'mask'], ['m']), softmax, ...weighted] },
    { why: 'weights stay floats', middle: [...scored, ...masked, softmax, node('Identity', ['w'], ['wd'])] },
    {
      why: 'weights are rounded and made floats otherwise',
      middle: [...scored, ...masked, softmax, q('w', 4, 'wq'), dq('wq', 3, 'wd')],
    },
    {
      why: 'somebody else reads the scores',
      middle: [...scored, ...masked, softmax, ...weighted],
      outputs: ['y', 'sd'],
    },
    {
      why: 'somebody else reads the weights',
      middle: [...scored, ...masked, softmax, ...weighted],
      outputs: ['y', 'w'],
    },
  ])('is left alone where $why', ({ middle, outputs }) => {
    const { ops } = rewrite(model(middle, outputs), [fuseQuantizedAttention], step);
    expect(ops).toContain('Softmax');
    expect(ops).not.toContain('filigree.QAttention');
  });
});

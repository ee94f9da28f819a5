import { expect, test } from 'vitest';
import { sizeOf } from '../../../lib/ir/shape.ts';
import { collapseConv } from '../../../lib/passes/collapse-conv.ts';
import { attribute, floats, node, opset, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

const model = (w: number[], x: number[], ...attributes: Uint8Array[]): Parameters<typeof rewrite>[0] => ({
  opsets: [opset('', 17)],
  nodes: [node('Conv', ['x', 'w'], ['y'], { attributes })],
  initializers: [floats('w', noise(sizeOf(w), 3), w)],
  inputs: [port('x', 'float32', x)],
  outputs: [port('y')],
});

test('a kernel as high as its input joins height and channels', () => {
  const parts = model(
    [3, 2, 4, 3],
    [1, 2, 4, 9],
    attribute.ints('strides', [2, 1]),
    attribute.ints('pads', [0, 1, 0, 1]),
  );
  const { ops } = rewrite(parts, [collapseConv]);
  expect(ops).toEqual(['Reshape', 'Conv']);
});

test('other kernels stay', () => {
  const x = [1, 2, 4, 9];
  for (const attributes of [[attribute.ints('pads', [1, 0, 1, 0])], [attribute.string('auto_pad', 'SAME_UPPER')]]) {
    const { ops } = rewrite(model([3, 2, 4, 3], x, ...attributes), [collapseConv]);
    expect(ops).toEqual(['Conv']);
  }
});

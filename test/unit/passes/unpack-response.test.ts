import { expect, test } from 'vitest';
import { unpackResponse } from '../../../lib/passes/unpack-response.ts';
import { attribute, node, port } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

function normalised(shape: number[], size: number): string[] {
  const attributes = [attribute.int('size', size), attribute.float('alpha', 0.3), attribute.float('bias', 2)];
  const parts = {
    nodes: [node('LRN', ['x'], ['y'], { attributes })],
    inputs: [port('x', 'float32', shape)],
    outputs: [port('y', 'float32')],
  };
  return rewrite(parts, [unpackResponse]).ops;
}

test.each([
  [[2, 7, 3, 4], 5],
  [[1, 7, 3, 4], 4],
  [[1, 3, 5], 9],
  [[1, 4, 2, 2, 2], 1],
  [[1, 1, 2, 2], 3],
])('channels of %j, %i at a time', (shape, size) => {
  expect(normalised(shape, size)).toEqual(['Mul', 'Conv', 'Pow', 'Mul']);
});

test('maps without an extent stay', () => {
  expect(normalised([2, 7], 3)).toEqual(['LRN']);
});

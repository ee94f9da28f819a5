import { expect, test } from 'vitest';
import { fuseShuffle } from '../../../lib/passes/fuse-shuffle.ts';
import { attribute, longs, node, opset, port } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

function ops(shape: number[], matrix: number[], perm: number[], last: number[], read = false): string[] {
  const parts = {
    opsets: [opset('', 17)],
    nodes: [
      node('Reshape', ['x', 'm'], ['a']),
      node('Transpose', ['a'], ['b'], { attributes: [attribute.ints('perm', perm)] }),
      node('Reshape', ['b', 'l'], ['y']),
    ],
    initializers: [longs('m', matrix), longs('l', last)],
    inputs: [port('x', 'float32', shape)],
    outputs: [port('y'), ...(read ? [port('b')] : [])],
  };
  return rewrite(parts, [fuseShuffle]).ops;
}

const turn = [0, 2, 1, 3, 4];
const kept = ['Reshape', 'Transpose', 'Reshape'];

test('channels that are seen as a matrix and turned', () => {
  expect(ops([2, 6, 3, 4], [2, 2, 3, 3, 4], turn, [2, 6, 3, 4])).toEqual(['filigree.ShuffleChannels']);
  expect(ops([2, 6, 3, 4], [-1, 3, 2, 3, 4], turn, [0, -1, 3, 4])).toEqual(['filigree.ShuffleChannels']);
  expect(ops([1, 6, 5], [1, 3, 2, 5], [0, 2, 1, 3], [1, 6, 5])).toEqual(['filigree.ShuffleChannels']);
});

test('other views and turns stay', () => {
  expect(ops([2, 6, 3, 4], [2, 2, 3, 4, 3], turn, [2, 6, 3, 4])).toEqual(kept);
  expect(ops([2, 6, 3, 4], [2, 2, 3, 3, 4], turn, [2, 6, 4, 3])).toEqual(kept);
  expect(ops([2, 6, 3, 4], [2, 2, 3, 3, 4], turn, [4, 3, 3, 4])).toEqual(kept);
  expect(ops([2, 6, 4, 4], [2, 2, 3, 4, 4], [0, 2, 1, 4, 3], [2, 6, 4, 4])).toEqual(kept);
  expect(ops([2, 2, 3, 6], [2, 2, 3, 2, 3], turn, [2, 2, 3, 6])).toEqual(kept);
  expect(ops([2, 6, 3, 4], [2, 2, 3, 3, 4], turn, [2, 6, 3, 4], true)).toEqual(kept);
});

import { expect, test } from 'vitest';
import { cleanup } from '../../../lib/passes/cleanup.ts';
import { sinkTranspose } from '../../../lib/passes/sink-transpose.ts';
import { attribute, floats, longs, node, opset, port } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

const turn = (x: string, y: string, ...perm: number[]) =>
  node('Transpose', [x], [y], { attributes: [attribute.ints('perm', perm)] });

/** x [2, 3, 4, 5] as [2, 4, 5, 3] through nodes and back. */
function there(nodes: Uint8Array[], initializers: Uint8Array[] = [], back = [0, 3, 1, 2]) {
  return rewrite(
    {
      opsets: [opset('', 17)],
      nodes: [turn('x', 't', 0, 2, 3, 1), ...nodes, turn('e', 'u', ...back), node('Softmax', ['u'], ['y'])],
      initializers,
      inputs: [port('x', 'float32', [2, 3, 4, 5])],
      outputs: [port('y')],
    },
    [sinkTranspose, cleanup],
  ).ops;
}

test('elementwise operators with constants by channel', () => {
  const nodes = [
    node('Add', ['t', 'c'], ['a']),
    node('Mul', ['s', 'a'], ['b']),
    node('Clip', ['b', 'z'], ['d']),
    node('Sub', ['d', 'v'], ['e']),
  ];
  const constants = [
    floats('c', [1, 2, 3], [1, 1, 1, 3]),
    floats('s', [2], [1]),
    floats('z', [0], []),
    floats('v', [4, 5, 6]),
  ];
  expect(there(nodes, constants)).toEqual(['Add', 'Mul', 'Clip', 'Sub', 'Softmax']);
});

test('sums of transposed values, joined and padded', () => {
  const nodes = [
    node('Relu', ['t'], ['a']),
    node('Add', ['a', 't'], ['b']),
    node('Concat', ['b', 'a'], ['c'], { attributes: [attribute.int('axis', -1)] }),
    node('Pad', ['c', 'p'], ['e']),
  ];
  expect(there(nodes, [longs('p', [0, 1, 2, 0, 0, 0, 1, 3])])).toEqual(['Relu', 'Add', 'Concat', 'Pad', 'Softmax']);
});

test('reductions that keep their axes', () => {
  const nodes = [node('ReduceMean', ['t'], ['e'], { attributes: [attribute.ints('axes', [1, -2])] })];
  expect(there(nodes)).toEqual(['ReduceMean', 'Softmax']);
});

test('what does not commute stays', () => {
  const nodes = [node('Softmax', ['t'], ['e'], { attributes: [attribute.int('axis', 1)] })];
  expect(there(nodes)).toEqual(['Transpose', 'Softmax', 'Transpose', 'Softmax']);
});

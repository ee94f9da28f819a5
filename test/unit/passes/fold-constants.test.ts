import { expect, test } from 'vitest';
import { bodiesOf } from '../../../lib/ir/graph.ts';
import { foldConstants, foldUnquantized } from '../../../lib/passes/fold-constants.ts';
import { attribute, floats, graph, node, opset, port, rawTensor } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

test('a body sees what is constant around it', () => {
  const branch = (name: string, op: string) =>
    graph({ nodes: [node(op, ['c', 'c'], ['d']), node('Add', ['d', 'x'], [name])], outputs: [port(name)] });
  const branches = [
    attribute.graph('then_branch', branch('t', 'Mul')),
    attribute.graph('else_branch', branch('e', 'Add')),
  ];
  const { graph: after } = rewrite(
    {
      opsets: [opset('', 17)],
      nodes: [
        node('Neg', ['k'], ['c']),
        node('ReduceMax', ['x'], ['m'], { attributes: [attribute.int('keepdims', 0)] }),
        node('Cast', ['m'], ['b'], { attributes: [attribute.int('to', 9)] }),
        node('If', ['b'], ['y'], { attributes: branches }),
      ],
      initializers: [floats('k', [1, 2, 3])],
      inputs: [port('x', 'float32', [3])],
      outputs: [port('y')],
    },
    [foldConstants],
  );
  const choice = after.nodes.find(({ op }) => op === 'If');
  expect(choice && bodiesOf(choice).map((body) => body.nodes.map(({ op }) => op))).toEqual([['Add'], ['Add']]);
});

test('quantized weights can wait', () => {
  const nodes = [node('DequantizeLinear', ['w', 's'], ['f']), node('Add', ['f', 'x'], ['y'])];
  const initializers = [rawTensor('w', 'int8', [2], Int8Array.of(3, -4)), floats('s', [0.5], [])];
  const parts = {
    opsets: [opset('', 17)],
    nodes,
    initializers,
    inputs: [port('x', 'float32', [2])],
    outputs: [port('y')],
  };
  expect(rewrite(parts, [foldUnquantized]).ops).toEqual(['DequantizeLinear', 'Add']);
  expect(rewrite(parts, [foldConstants]).ops).toEqual(['Add']);
});

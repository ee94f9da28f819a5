import { describe, expect, test } from 'vitest';
import { convEpilogue, foldIntoConv } from '../../../lib/passes/fuse-conv.ts';
import { fuseScale } from '../../../lib/passes/fuse-scale.ts';
import { floats, node, opset, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

type Parts = Parameters<typeof rewrite>[0];

const parts = (nodes: Uint8Array[], outputs = ['y']): Parts => ({
  opsets: [opset('', 17)],
  nodes,
  initializers: [
    floats('w', noise(9, 2), [3, 3, 1, 1]),
    ...['gamma', 'beta', 'mean'].map((name, i) => floats(name, noise(3, i + 3))),
    floats('variance', [0.5, 1, 2]),
    floats('each', noise(3, 9), [1, 3, 1, 1]),
    floats('columns', noise(4, 9)),
    floats('two', [2], []),
  ],
  inputs: [port('x', 'float32', [2, 3, 4, 4]), port('z', 'float32', [2, 3, 4, 4])],
  outputs: outputs.map((name) => port(name)),
});
const batchNorm = (x: string, y: string): Uint8Array =>
  node('BatchNormalization', [x, 'gamma', 'beta', 'mean', 'variance'], [y]);
const passes = [foldIntoConv, convEpilogue, fuseScale];

describe('scale', () => {
  test('normalisation of a sum, with what follows', () => {
    const nodes = [
      node('Add', ['x', 'z'], ['a']),
      batchNorm('a', 'b'),
      node('Mul', ['each', 'b'], ['c']),
      node('Add', ['c', 'z'], ['d']),
      node('Relu', ['d'], ['y']),
    ];
    const { graph, ops } = rewrite(parts(nodes), passes);
    expect(ops).toEqual(['Add', 'filigree.Scale']);
    expect(graph.nodes[1].attributes.get('activation')?.value).toBe('Relu');
    expect(graph.nodes[1].inputs).toHaveLength(4);
  });

  test('numbers after an activated convolution', () => {
    const nodes = [
      node('Conv', ['x', 'w'], ['c']),
      node('HardSwish', ['c'], ['h']),
      node('Mul', ['h', 'two'], ['m']),
      node('Add', ['m', 'two'], ['y']),
    ];
    expect(rewrite(parts(nodes), passes).ops).toEqual(['filigree.Conv', 'filigree.Scale']);
  });

  test('values that somebody else reads end a run', () => {
    const nodes = [batchNorm('x', 'b'), node('Relu', ['b'], ['y'])];
    expect(rewrite(parts(nodes, ['y', 'b']), passes).ops).toEqual(['filigree.Scale', 'Relu']);
  });

  test('products that are no scale of channels, or of no map, stay', () => {
    const conv = [node('Conv', ['x', 'w'], ['c']), node('Relu', ['c'], ['r'])];
    const columns = [...conv, node('Mul', ['r', 'columns'], ['y'])];
    expect(rewrite(parts(columns), passes).ops).toEqual(['filigree.Conv', 'Mul']);
    expect(rewrite(parts([node('Mul', ['x', 'two'], ['y'])]), passes).ops).toEqual(['Mul']);
  });
});

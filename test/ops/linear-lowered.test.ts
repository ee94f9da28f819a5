import { expect, test } from 'vitest';
import { makeConstant, makeValue, type Node } from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random, sparseWeights } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase, runGraph, runLowered } from './lowered.ts';
import { evaluate } from './node.ts';

const x = (dims: readonly number[], seed: number): HostTensor =>
  fromNumbers('float32', dims, random(sizeOf(dims), seed));

/** A linear layer of `rows` rows, with all that may follow it. */
function linear(rows: number, density: number, transB: number, activation: string): LoweredCase {
  const [depth, columns] = [37, 21];
  const dims = transB ? [columns, depth] : [depth, columns];
  const weights = fromNumbers('float32', dims, sparseWeights(depth * columns, density, 3));
  return {
    ...{ op: 'Linear', domain: 'filigree', version: 1, constant: [1, 2] },
    inputs: [x([rows, depth], 1), weights, x([columns], 4), x([rows, columns], 5)],
    attributes: { transB: { type: 'int', value: transB }, activation: { type: 'string', value: activation } },
  };
}

test.each([1, 2, 7, 8, 9, 17])('%i rows', (rows) => {
  for (const density of [0, 0.1, 0.3, 1]) {
    for (const transB of [0, 1]) {
      for (const activation of ['', 'Relu', 'Gelu']) checkLowered(linear(rows, density, transB, activation));
    }
  }
});

test('an addend of another shape than the model declares is an error', () => {
  const c = linear(4, 0.1, 0, '');
  const inputs = c.inputs.map((each, i) => (i === 3 ? x([1, 21], 5) : each));
  expect(() => runLowered({ ...c, inputs })).toThrow(/the addend has shape \[1,21\], expected \[4,21\]/);
});

test.each([5, 16, 17, 40])('a normalization of %i rows stays in the layout of the layer before it', (rows) => {
  const [depth, columns] = [24, 40];
  const weights = fromNumbers('float32', [depth, columns], sparseWeights(depth * columns, 0.1, 3));
  const [input, gamma, beta] = [x([rows, depth], 1), x([columns], 4), x([columns], 5)];
  const [a, sums, y] = ['a', 'sums', 'y'].map((name) => makeValue(name));
  const node = (op: string, domain: string, version: number, inputs: Node['inputs'], output: typeof y): Node => {
    const made = { name: op, op, domain, version, inputs, outputs: [output], attributes: new Map(), captures: [] };
    output.producer = made;
    return made;
  };
  const nodes = [
    node('Linear', 'filigree', 1, [a, makeConstant('w', weights)], sums),
    node('LayerNormalization', '', 17, [sums, makeConstant('gamma', gamma), makeConstant('beta', beta)], y),
  ];
  const graph = { name: 'g', inputs: [a], outputs: [sums, y], nodes, captures: [] };
  const { results, reasons } = runGraph(graph, new Map([[a, input]]));
  expect(reasons).toEqual([]);
  const [layer, norm] = results as HostTensor[];
  const [expected] = evaluate('LayerNormalization', 17, [layer, gamma, beta]) as HostTensor[];
  expect(norm.dims).toEqual([rows, columns]);
  norm.data.forEach((value, i) => {
    expect(value).toBeCloseTo(expected.data[i] as number, 4);
  });
});

import { describe, expect, test } from 'vitest';
import {
  type Attribute,
  type Graph,
  makeConstant,
  makeValue,
  type Node,
  tensorType,
  type Value,
} from '../../lib/ir/graph.ts';
import { fromNumbers, int64Vector, tensor } from '../../lib/ir/tensor.ts';
import { rowsAreIndependent } from '../../lib/plan/rows.ts';
import { batchOf, cutBatch, cutJointly, RowCollector, sliceRows } from '../../lib/runtime/panels.ts';

describe('cutting a batch', () => {
  test.each([2, 3, 4, 8])('covers every item once, on %i threads', (threads) => {
    for (let batch = 1; batch <= 70; batch++) {
      const panels = cutBatch(batch, threads, 4096, 4);
      if (!panels) {
        expect(batch).toBeLessThan(threads);
        continue;
      }
      const all = [...panels.rounds.flat(), ...panels.rest];
      const items = all.flatMap(({ from, size }) => Array.from({ length: size }, (_, i) => from + i));
      expect(items).toEqual(Array.from({ length: batch }, (_, i) => i));
      for (const round of panels.rounds) expect(round.length % threads).toBe(0);
      expect(panels.rest[0]?.size ?? 0).toBeLessThan(threads);
    }
  });

  test('panels of small items are large, and not too many', () => {
    expect(cutBatch(1000, 2, 64, 1)?.rounds[0][0].size).toBe(64);
    expect(cutBatch(100, 2, 64, 1)?.rounds[0][0].size).toBe(50);
    expect(cutBatch(64, 2, 600_000, 4)?.rounds[0][0].size).toBe(4);
    expect(cutBatch(2 ** 20, 2, 4, 1)?.rounds.flat().length).toBeLessThanOrEqual(128);
    expect(cutBatch(2 ** 20, 2, 0, 1)?.rounds.flat().length).toBeLessThanOrEqual(128);
  });

  test('for all threads together', () => {
    expect(cutJointly(16)).toBeUndefined();
    for (const batch of [17, 32, 65]) {
      const panels = cutJointly(batch);
      const items = panels?.rest.flatMap(({ from, size }) => Array.from({ length: size }, (_, i) => from + i));
      expect(items).toEqual(Array.from({ length: batch }, (_, i) => i));
    }
  });

  test('one thread cuts what does not fit one panel', () => {
    expect(cutBatch(4, 1, 4096, 4)).toBeUndefined();
    expect(cutBatch(5, 1, 4096, 4)?.rounds.flat()).toEqual([
      { from: 0, size: 4 },
      { from: 4, size: 1 },
    ]);
  });

  test('rows come back where they were', () => {
    const x = tensor(
      'float32',
      [5, 3],
      Float32Array.from({ length: 15 }, (_, i) => i),
    );
    const collector = new RowCollector(5);
    for (const panel of [
      { from: 2, size: 3 },
      { from: 0, size: 2 },
    ])
      collector.add([sliceRows(x, panel)], panel.from);
    expect(collector.outputs).toEqual([x]);
  });

  test('feeds have to share the batch', () => {
    const a = tensor('float32', [4, 2], new Float32Array(8));
    expect(batchOf([a, a])).toBe(4);
    expect(batchOf([a, tensor('float32', [3], new Float32Array(3))])).toBeUndefined();
    expect(batchOf([a, undefined])).toBeUndefined();
    expect(batchOf([tensor('int4', [2, 2], new Uint8Array(2))])).toBeUndefined();
  });
});

function graphOf(
  op: string,
  others: readonly Value[],
  attributes: Record<string, Attribute> = {},
  version = 17,
): Graph {
  const x = makeValue('x', tensorType('float32', ['N', 6]));
  const y = makeValue('y');
  const node: Node = {
    ...{ name: op, op, domain: '', version, inputs: [x, ...others], outputs: [y], captures: [] },
    attributes: new Map(Object.entries(attributes)),
  };
  y.producer = node;
  return { name: 'g', inputs: [x], outputs: [y], nodes: [node], captures: [] };
}

const axis = (value: number): Record<string, Attribute> => ({ axis: { type: 'int', value } });
const scale = (dims: number[]): Value =>
  makeConstant('s', fromNumbers('float32', dims, new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(1)));
const constant = (dims: number[]): Value =>
  makeConstant('c', fromNumbers('float32', dims, new Float32Array(dims.reduce((a, b) => a * b, 1))));

describe('independent rows', () => {
  const cases: [string, Graph, boolean][] = [
    ['elementwise', graphOf('Relu', []), true],
    ['a bias', graphOf('Add', [constant([6])]), true],
    ['an addend with one row', graphOf('Add', [constant([1, 6])]), true],
    ['softmax over features', graphOf('Softmax', [], axis(-1)), true],
    ['softmax over the batch', graphOf('Softmax', [], axis(0)), false],
    ['a product', graphOf('MatMul', [constant([6, 4])]), true],
    ['a transposition', graphOf('Transpose', [], { perm: { type: 'ints', value: [1, 0] } }), false],
    ['one scale', graphOf('QuantizeLinear', [scale([])], axis(1)), true],
    ['a scale a feature', graphOf('QuantizeLinear', [scale([6])], axis(1)), true],
    ['a scale a row', graphOf('QuantizeLinear', [scale([7919])], axis(0)), false],
    ['a reshape that keeps rows', graphOf('Reshape', [makeConstant('s', int64Vector([-1, 2, 3]))]), true],
    ['a reshape that mixes rows', graphOf('Reshape', [makeConstant('s', int64Vector([6, -1]))]), false],
    ['a mean over the batch', graphOf('ReduceMean', [], { axes: { type: 'ints', value: [0] } }), false],
  ];
  test.each(cases)('%s', (_, graph, expected) => {
    expect(rowsAreIndependent(graph, [[2, 6]])).toBe(expected);
  });

  test('the size of the batch as data', () => {
    const graph = graphOf('Relu', []);
    const [x] = graph.inputs;
    const [shape, size, y] = ['shape', 'size', 'scaled'].map((name) => makeValue(name));
    const make = (op: string, inputs: Value[], output: Value, attributes: [string, Attribute][] = []): Node => {
      const node = { name: op, op, domain: '', version: 17, inputs, outputs: [output], captures: [] };
      output.producer = { ...node, attributes: new Map(attributes) };
      return output.producer;
    };
    const nodes = [
      make('Shape', [x], shape, [['end', { type: 'int', value: 1 }]]),
      make('Cast', [shape], size, [['to', { type: 'int', value: 1 }]]),
      make('Div', [x, size], y),
    ];
    expect(rowsAreIndependent({ ...graph, nodes, outputs: [y] }, [[2, 6]])).toBe(false);
  });
});

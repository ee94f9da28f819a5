import { expect, test } from 'vitest';
import { type Attribute, makeConstant, makeValue, type Node, type Value } from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { runGraph } from './lowered.ts';
import { evaluate } from './node.ts';

const tensor = (dims: readonly number[], seed: number): HostTensor =>
  fromNumbers('float32', dims, random(sizeOf(dims), seed));

function conv(name: string, inputs: Node['inputs'], output: Value, strides: readonly number[], group: number): Node {
  const attributes = new Map<string, Attribute>([
    ['strides', { type: 'ints', value: [...strides] }],
    ['group', { type: 'int', value: group }],
  ]);
  const node = { name, op: 'Conv', domain: '', version: 11, inputs, outputs: [output], attributes, captures: [] };
  output.producer = node;
  return node;
}

// The layer before leaves its map in segments that the stride does not divide.
test.each([
  [28, 28, [2, 2], 1],
  [28, 28, [2, 1], 1],
  [29, 27, [2, 2], 1],
  [28, 28, [3, 2], 2],
  [9, 9, [2, 2], 1],
])('one tap over a map of %i x %i in steps of %j, %i groups', (h, w, strides, group) => {
  for (const images of [1, 3]) {
    const input = tensor([images, 6, h, w], 1);
    const [first, second] = [tensor([8, 6, 1, 1], 2), tensor([10, 8 / group, 1, 1], 3)];
    const [x, between, y] = ['x', 'between', 'y'].map((name) => makeValue(name));
    const nodes = [
      conv('a', [x, makeConstant('v', first)], between, [1, 1], 1),
      conv('b', [between, makeConstant('w', second)], y, strides, group),
    ];
    const graph = { name: 'g', inputs: [x], outputs: [between, y], nodes, captures: [] };
    const { results, reasons } = runGraph(graph, new Map([[x, input]]));
    expect(reasons).toEqual([]);
    const [map, got] = results as HostTensor[];
    const [expected] = evaluate('Conv', 11, [map, second], { strides, group }) as HostTensor[];
    expect(got.dims).toEqual(expected.dims);
    got.data.forEach((value, i) => {
      expect(value).toBeCloseTo(expected.data[i] as number, 4);
    });
  }
});

import { describe, expect, test } from 'vitest';
import { type Attribute, makeConstant, makeValue, type Node } from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor, int64Vector, toNumbers } from '../../lib/ir/tensor.ts';
import { runNode } from '../../lib/ops/interpret.ts';
import { random } from '../kernels/harness.ts';
import { runGraph } from './lowered.ts';

const tensor = (dims: readonly number[], seed: number): HostTensor =>
  fromNumbers('float32', dims, random(sizeOf(dims), seed));

type Resizing = { readonly scales: readonly number[] } | { readonly sizes: readonly number[] };

/** The kernels of a convolution whose map is resized and convolved again, after the results have been compared. */
function kernelsOf(dims: readonly number[], resizing: Resizing, attributes: Record<string, string>): readonly string[] {
  const node = (op: string, inputs: Node['inputs'], given: Record<string, Attribute>): Node => {
    const output = makeValue(`${op}_${inputs[0]?.name}`);
    const attributesOf = new Map(Object.entries(given));
    const made = {
      name: op,
      op,
      domain: '',
      version: 19,
      inputs,
      outputs: [output],
      attributes: attributesOf,
      captures: [],
    };
    output.producer = made;
    return made;
  };
  const spatial = dims.length - 2;
  const pads: Record<string, Attribute> = { pads: { type: 'ints', value: new Array<number>(2 * spatial).fill(1) } };
  const window = new Array<number>(spatial).fill(3);
  const x = makeValue('x');
  const first = node('Conv', [x, makeConstant('v', tensor([5, dims[1], ...window], 2))], pads);
  const extents =
    'scales' in resizing
      ? [makeConstant('s', fromNumbers('float32', [dims.length], [1, 1, ...resizing.scales]))]
      : [null, makeConstant('s', int64Vector([dims[0], 5, ...resizing.sizes]))];
  const chosen = Object.entries(attributes).map(([key, value]) => [key, { type: 'string', value }] as const);
  const second = node('Resize', [first.outputs[0], null, ...extents], Object.fromEntries(chosen));
  const third = node('Conv', [second.outputs[0], makeConstant('w', tensor([3, 5, ...window], 3))], pads);
  const nodes = [first, second, third];
  const outputs = nodes.map((each) => each.outputs[0] as NonNullable<Node['outputs'][0]>);
  const graph = { name: 'g', inputs: [x], outputs, nodes, captures: [] };
  const { results, reasons, kernels } = runGraph(graph, new Map([[x, tensor(dims, 1)]]));
  expect(reasons).toEqual([]);
  const [map, resized, last] = results as HostTensor[];
  const references = [
    runNode(second, [map, ...second.inputs.slice(1).map((input) => input?.constant ?? null)]),
    runNode(third, [resized, third.inputs[1]?.constant ?? null]),
  ];
  [resized, last].forEach((got, i) => {
    const [want] = references[i] as HostTensor[];
    expect(got.dims).toEqual(want.dims);
    expect(got.data.every(Number.isFinite)).toBe(true);
    const off = Array.from(got.data as Float32Array, (v, at) => Math.abs(v - (want.data[at] as number)));
    const size = toNumbers(want).reduce((most: number, v) => Math.max(most, Math.abs(v)), 1);
    expect(off.reduce((a, b) => Math.max(a, b), 0)).toBeLessThan(1e-5 * size);
  });
  return kernels;
}

const inSegments = 'resize.segments.f32';

const modes: Record<string, string>[] = [
  { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
  { mode: 'nearest' },
  { mode: 'linear' },
  { mode: 'linear', coordinate_transformation_mode: 'pytorch_half_pixel' },
  { mode: 'linear', coordinate_transformation_mode: 'asymmetric' },
];

describe.each(modes)('%j', (attributes) => {
  test.each([
    [[1, 3, 8, 8], { scales: [2, 2] }],
    [[1, 3, 16, 17], { scales: [2, 2] }],
    [[3, 2, 13, 7], { scales: [2, 4] }],
    [[16, 2, 5, 16], { scales: [3, 1] }],
    [[17, 1, 7, 7], { sizes: [14, 21] }],
    [[1, 3, 9, 40], { sizes: [18, 80] }],
    [[2, 3, 37], { scales: [2] }],
    [[1, 3, 3, 8, 9], { scales: [1, 2, 2] }],
  ] as const)('maps of %j to %j stay in segments', (dims, resizing) => {
    expect(kernelsOf(dims, resizing, attributes)).toContain(inSegments);
  });

  test.each([
    [[1, 3, 1, 1], { scales: [7, 5] }],
    [[1, 3, 15, 16], { scales: [1.5, 0.5] }],
    [[2, 3, 16, 16], { sizes: [8, 12] }],
    [[1, 3, 13, 17], { sizes: [10, 31] }],
    [[1, 3, 4, 6, 9], { scales: [2, 2, 2] }],
    [[1, 3, 6, 6], { scales: [1, 1] }],
  ] as const)('maps of %j to %j', (dims, resizing) => {
    kernelsOf(dims, resizing, attributes);
  });
});

const others: Record<string, string>[] = [
  { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
  { mode: 'cubic' },
  { mode: 'cubic', coordinate_transformation_mode: 'asymmetric' },
];

test.each(others)('%j', (attributes) => {
  for (const dims of [
    [1, 3, 8, 9],
    [3, 2, 17, 13],
  ]) {
    kernelsOf(dims, { scales: [2, 2] }, attributes);
    kernelsOf(dims, { sizes: [20, 20] }, attributes);
  }
});

test('an infinity stays where it is', () => {
  const x = makeValue('x');
  const dims = [1, 1, 16, 16];
  const content = tensor(dims, 1);
  content.data[7 * 16 + 8] = Number.POSITIVE_INFINITY;
  const weights = makeConstant('w', fromNumbers('float32', [2, 1, 1, 1], [1, 1]));
  const conv: Node = {
    name: 'c',
    op: 'Conv',
    domain: '',
    version: 11,
    inputs: [x, weights],
    outputs: [makeValue('m')],
    attributes: new Map(),
    captures: [],
  };
  const scales = makeConstant('s', fromNumbers('float32', [4], [1, 1, 2, 2]));
  const attributes = new Map<string, Attribute>([
    ['mode', { type: 'string', value: 'linear' }],
    ['coordinate_transformation_mode', { type: 'string', value: 'asymmetric' }],
  ]);
  const resize: Node = {
    name: 'r',
    op: 'Resize',
    domain: '',
    version: 19,
    inputs: [conv.outputs[0], null, scales],
    outputs: [makeValue('y')],
    attributes,
    captures: [],
  };
  for (const node of [conv, resize]) for (const output of node.outputs) if (output) output.producer = node;
  const graph = {
    name: 'g',
    inputs: [x],
    outputs: [resize.outputs[0] as NonNullable<Node['outputs'][0]>],
    nodes: [conv, resize],
    captures: [],
  };
  const { results, kernels } = runGraph(graph, new Map([[x, content]]));
  const [want] = runNode(resize, [
    runNode(conv, [content, weights.constant as HostTensor])[0],
    null,
    scales.constant as HostTensor,
  ]) as HostTensor[];
  const infinite = (t: HostTensor): number[] => [...t.data.keys()].filter((i) => !Number.isFinite(t.data[i] as number));
  expect(kernels).toContain(inSegments);
  expect(infinite(results[0] as HostTensor)).toEqual(infinite(want));
});

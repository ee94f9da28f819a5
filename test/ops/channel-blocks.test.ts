import { expect, test } from 'vitest';
import { type Graph, makeConstant, makeValue, type Node, type Value } from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { tensorOfBytes } from '../../lib/onnx/tensor-proto.ts';
import { random, sparseWeights } from '../kernels/harness.ts';
import { runGraph } from './lowered.ts';

/** A pair of convolutions, the second depthwise. */
interface Pair {
  readonly dims: readonly number[];
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
  readonly density: number;
  /** Window of the first. */
  readonly first?: number;
  readonly pad?: number;
  /** The caller reads the map between too. */
  readonly seen?: boolean;
  /** Weights begin at an odd address. */
  readonly unaligned?: boolean;
}

const floats = (dims: readonly number[], seed: number): HostTensor =>
  fromNumbers('float32', dims, random(sizeOf(dims), seed));

function shifted({ dims, data }: HostTensor): HostTensor {
  const bytes = new Uint8Array((data as Float32Array).byteLength + 1);
  bytes.set(new Uint8Array((data as Float32Array).buffer), 1);
  return tensorOfBytes('float32', dims, bytes.subarray(1));
}

function convNode(inputs: readonly Value[], output: Value, group: number, stride: number, pad: number): Node {
  const ints = (value: readonly number[]) => ({ type: 'ints' as const, value: [...value] });
  const attributes: Node['attributes'] = new Map<string, never>([
    ['group', { type: 'int', value: group } as never],
    ['strides', ints([stride, stride]) as never],
    ['pads', ints([pad, pad, pad, pad]) as never],
    ['activation', { type: 'string', value: 'Relu' } as never],
  ]);
  const node: Node = {
    ...{ name: output.name, op: 'Conv', domain: 'filigree', version: 1, inputs: [...inputs], outputs: [output] },
    ...{ attributes, captures: [] },
  };
  output.producer = node;
  return node;
}

function build(pair: Pair): { graph: Graph; bindings: Map<Value, HostTensor> } {
  const { dims, channels, kernel, stride, density, first = 1, pad = (kernel - 1) / 2 } = pair;
  const [x, between, y] = ['x', 'between', 'y'].map((name) => makeValue(name));
  const place = pair.unaligned ? shifted : (whole: HostTensor): HostTensor => whole;
  const wide = [channels, dims[1], first, first];
  const weights = place(fromNumbers('float32', wide, sparseWeights(sizeOf(wide), density, 3)));
  const constant = (name: string, value: HostTensor): Value => makeConstant(name, value);
  const taps = place(floats([channels, 1, kernel, kernel], 5));
  const [wBias, dBias] = [floats([channels], 4), floats([channels], 6)];
  const bindings = new Map([[x, floats(dims, 1)]]);
  const inputs = [between, constant('taps', taps), constant('b2', dBias)];
  const nodes = [
    convNode([x, constant('w', weights), constant('b', wBias)], between, 1, 1, (first - 1) / 2),
    convNode(inputs, y, channels, stride, pad),
  ];
  const outputs = pair.seen ? [between, y] : [y];
  return { graph: { name: 'g', inputs: [...bindings.keys()], outputs, nodes, captures: [] }, bindings };
}

const depthwiseSteps = (kernels: readonly string[]): number =>
  kernels.filter((name) => name === 'conv.segments.depthwise.f32').length;

/** Runs with a cache that holds everything and with one of `cache` bytes; the second's depthwise steps. */
function compare(pair: Pair, threads: number, ...caches: number[]): number {
  const { graph, bindings } = build(pair);
  const whole = runGraph(graph, bindings, threads, 2 ** 40);
  expect(whole.reasons).toEqual([]);
  expect(depthwiseSteps(whole.kernels)).toBe(1);
  for (const cache of caches) {
    const cut = runGraph(graph, bindings, threads, cache);
    expect(cut.results).toEqual(whole.results);
    if (depthwiseSteps(cut.kernels) > 1) return depthwiseSteps(cut.kernels);
  }
  return 1;
}

/** Runs with caches of several sizes beside the map's, whose bytes depend on its layout: one of them has it cut. */
function expectCut(pair: Pair, threads = 1): void {
  const [images, , h, w] = pair.dims;
  const bytes = (images * h * w * pair.channels * 4) / threads;
  const caches = [2, 3, 1.3, 4.5].map((factor) => factor * bytes);
  expect(compare(pair, threads, ...caches)).toBeGreaterThan(1);
}

const shape = { dims: [1, 8, 17, 19], channels: 40, kernel: 3, stride: 1, density: 1 };

test.each([
  [1, 3],
  [2, 3],
  [1, 5],
  [2, 5],
  [1, 7],
  [2, 1],
])('stride %i and a window of %i give the same in blocks', (stride, kernel) => {
  for (const density of [1, 0.1]) {
    expectCut({ dims: [1, 8, 40, 36], channels: 40, kernel, stride, density });
    // Here the stride may want another layout between the two, which leaves them whole.
    for (const [h, w] of stride === 1
      ? [[17, 19]]
      : [
          [17, 19],
          [1, 40],
        ]) {
      compare({ dims: [1, 8, h, w], channels: 40, kernel, stride, density }, 1, 150_000);
    }
  }
});

test.each([1, 2, 3, 16, 17])('a batch of %i', (images) => {
  for (const threads of [1, 2, 3]) expectCut({ ...shape, dims: [images, 8, 9, 19] }, threads);
});

test.each([25, 36, 37, 61, 96])('%i channels, which blocks need not divide', (channels) => {
  for (const density of [1, 0.1]) {
    expectCut({ dims: [1, 9, 40, 40], channels, kernel: 3, stride: 2, density }, 2);
  }
});

test('the first may have a window, and weights may lie anywhere', () => {
  expectCut({ ...shape, first: 3 });
  expectCut({ ...shape, unaligned: true });
  expectCut({ ...shape, unaligned: true, density: 0.1 });
});

test('nothing is cut where others read the map, where it fits the cache, or where a few channels do not', () => {
  expect(compare({ ...shape, seen: true }, 1, 150_000)).toBe(1);
  expect(compare(shape, 1, 150_000)).toBeGreaterThan(1);
  expect(compare(shape, 1, 2 ** 20)).toBe(1);
  expect(compare(shape, 1, 2 ** 12)).toBe(1);
});

/** Plans for other shapes, made with what earlier plans found out: the same as those made from nothing. */

import { describe, expect, test } from 'vitest';
import { Session, Tensor } from '../../lib/index.ts';
import { allocate, type HostTensor, type HostValue, toNumbers } from '../../lib/ir/tensor.ts';
import { loadModel } from '../../lib/onnx/load.ts';
import { interpret } from '../../lib/ops/interpret.ts';
import type { Stage } from '../../lib/plan/stage.ts';
import { CompiledModel } from '../../lib/runtime/compiled.ts';
import { openModelFile } from '../../lib/runtime/model-file.ts';
import { attribute, floats, graph, longs, model, node, port } from '../models/onnx-writer.ts';

const HEADS = 2;
const WIDTH = 4;

/** Positions as exporters compute them: from shapes, with constants of every node's own. */
function maskNodes(layer: number, keys: string) {
  const name = (text: string) => `${text}${layer}`;
  const axis0 = { attributes: [attribute.int('axis', 0)] };
  return [
    node('Shape', [keys], [name('shape')]),
    node('Gather', [name('shape'), name('two')], [name('total')], axis0),
    node('Range', [name('zero'), name('total'), name('one')], [name('positions')]),
    node('Cast', [name('positions')], [name('floats')], { attributes: [attribute.int('to', 1)] }),
    node('Mul', [name('floats'), name('slope')], [name('bias')]),
    node('Unsqueeze', [name('total'), name('axes')], [name('count')]),
    node('Concat', [name('ones'), name('count')], [name('dims')], axis0),
    node('Expand', [name('bias'), name('dims')], [name('mask')]),
  ];
}

/** One layer of attention over a cache that grows, with weights of its own. */
function layerNodes(layer: number, x: string, y: string) {
  const name = (text: string) => `${text}${layer}`;
  const grow = { attributes: [attribute.int('axis', 2)] };
  return [
    node('Reshape', [x, name('split')], [name('heads')]),
    node('Concat', [`past${layer}`, name('heads')], [`present${layer}`], grow),
    ...maskNodes(layer, `present${layer}`),
    node('Transpose', [`present${layer}`], [name('keys')], { attributes: [attribute.ints('perm', [0, 1, 3, 2])] }),
    node('MatMul', [name('heads'), name('keys')], [name('scores')]),
    node('Add', [name('scores'), name('mask')], [name('masked')]),
    node('Softmax', [name('masked')], [name('weights')], { attributes: [attribute.int('axis', -1)] }),
    node('MatMul', [name('weights'), `present${layer}`], [name('mixed')]),
    node('Reshape', [name('mixed'), name('join')], [name('joined')]),
    node('MatMul', [name('joined'), name('w')], [name('product')]),
    node('Add', [name('product'), x], [y]),
  ];
}

function layerConstants(layer: number) {
  const name = (text: string) => `${text}${layer}`;
  const size = HEADS * WIDTH;
  const weights = Array.from({ length: size * size }, (_, i) => Math.sin(i * (layer + 1)) / 4);
  return [
    floats(name('w'), weights, [size, size]),
    floats(name('slope'), [0.125 * (layer + 1)], []),
    longs(name('split'), [1, HEADS, 1, WIDTH]),
    longs(name('join'), [1, 1, size]),
    ...[longs(name('zero'), [0], []), longs(name('one'), [1], []), longs(name('two'), [2], [])],
    ...[longs(name('axes'), [0]), longs(name('ones'), [1, 1, 1])],
  ];
}

function decoder(layers: number): Uint8Array {
  const all = Array.from({ length: layers }, (_, i) => i);
  const size = HEADS * WIDTH;
  return model({
    nodes: all.flatMap((i) => layerNodes(i, i === 0 ? 'x' : `x${i}`, i === layers - 1 ? 'y' : `x${i + 1}`)),
    inputs: [
      port('x', 'float32', [1, 1, size]),
      ...all.map((i) => port(`past${i}`, 'float32', [1, HEADS, 'past', WIDTH])),
    ],
    outputs: [
      port('y', 'float32', [1, 1, size]),
      ...all.map((i) => port(`present${i}`, 'float32', [1, HEADS, 'total', WIDTH])),
    ],
    initializers: all.flatMap(layerConstants),
  });
}

const wave = (dims: readonly number[], seed: number): HostTensor => {
  const data = allocate(
    'float32',
    dims.reduce((a, b) => a * b, 1),
  ) as Float32Array;
  for (let i = 0; i < data.length; i++) data[i] = Math.cos(seed + i * 1.7);
  return { kind: 'tensor', dtype: 'float32', dims, data };
};
const decoderFeeds = (layers: number, past: number): HostTensor[] => [
  wave([1, 1, HEADS * WIDTH], past),
  ...Array.from({ length: layers }, (_, i) => wave([1, HEADS, past, WIDTH], i + past)),
];

/** All that a plan says. */
const contentsOf = ({ sections, shapes, known }: Stage) => ({
  sections: sections.map((section) =>
    section.kind === 'reference'
      ? { node: section.node.name, reason: section.reason }
      : {
          numbers: section.plan.numbers,
          steps: section.plan.steps.map(({ kernel, node: { name } }) => `${kernel} ${name}`),
          constants: section.plan.constants.map((constant) =>
            constant.kind === 'tensor' ? constant.tensor.data : [constant.packer, constant.numbers],
          ),
          values: [...section.inputs, ...section.outputs].map(({ name }) => name),
        },
  ),
  shapes: [...shapes].map(([{ name }, dims]) => [name, dims]),
  known: [...known].map(([{ name }, { dims, data }]) => [name, dims, data]),
});

function expectClose(got: readonly HostValue[], want: readonly HostValue[]): void {
  expect(got.length).toBe(want.length);
  for (const [i, value] of want.entries()) {
    const [a, b] = [got[i] as HostTensor, value as HostTensor];
    expect(a.dims).toEqual(b.dims);
    const wanted = toNumbers(b);
    for (const [k, number] of toNumbers(a).entries()) expect(number).toBeCloseTo(wanted[k], 5);
  }
}

const lengths = [0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 3, 64, 0, 7];

describe.each([1, 3])('a decoder of %i layers whose caches grow', (layers) => {
  const bytes = decoder(layers);

  test('plans are those made from nothing', async () => {
    const warm = CompiledModel.openSync(bytes, { threads: 2 });
    for (const past of lengths) {
      const fresh = CompiledModel.openSync(bytes, { threads: 2 });
      const feeds = decoderFeeds(layers, past);
      expect(contentsOf(await warm.prepare(feeds))).toEqual(contentsOf(await fresh.prepare(feeds)));
      fresh.dispose();
    }
    warm.dispose();
  });

  test('results are those of the reference', async () => {
    const { graph: loaded } = loadModel(bytes, { files: openModelFile });
    const compiled = CompiledModel.openSync(bytes);
    for (const past of lengths) {
      const feeds = decoderFeeds(layers, past);
      expectClose(compiled.runSync(feeds), interpret(loaded, feeds));
      expectClose(await compiled.run(feeds), interpret(loaded, feeds));
    }
    compiled.dispose();
  });

  test('with state, beyond the plans that are kept', async () => {
    const { graph: loaded } = loadModel(bytes, { files: openModelFile });
    await using session = await Session.load(bytes, { planCacheSize: 4 });
    const pasts = Array.from({ length: layers }, (_, i) => i);
    const empty = new Tensor('float32', [], [1, HEADS, 0, WIDTH]);
    const state = session.withState(
      Object.fromEntries(pasts.map((i) => [`past${i}`, `present${i}`])),
      Object.fromEntries(pasts.map((i) => [`past${i}`, empty])),
    );
    let caches: HostValue[] = pasts.map(() => wave([1, HEADS, 0, WIDTH], 0));
    for (let step = 0; step < 40; step++) {
      const x = wave([1, 1, HEADS * WIDTH], step);
      const { y } = await state.run({ x: { type: 'float32', dims: x.dims, data: x.data } });
      const [want, ...present] = interpret(loaded, [x, ...caches]);
      const { dims, data } = y as Tensor;
      expectClose([{ kind: 'tensor', dtype: 'float32', dims, data: data as Float32Array }], [want]);
      caches = present;
    }
  });
});

test('branches that are taken in turns are planned as from nothing', async () => {
  // In the first branch "n" is read once, so that the sum may take its memory; in the second it is read again.
  const once = graph({
    nodes: [node('Add', ['n', 'n2'], ['sum'])],
    outputs: [port('sum', 'float32', ['length'])],
  });
  const twice = graph({
    nodes: [node('Add', ['n', 'n2'], ['part']), node('Mul', ['part', 'n'], ['product'])],
    outputs: [port('product', 'float32', ['length'])],
  });
  const bytes = model({
    nodes: [
      node('Neg', ['x'], ['n']),
      node('Exp', ['x'], ['n2']),
      node('If', ['flag'], ['y'], {
        attributes: [attribute.graph('then_branch', once), attribute.graph('else_branch', twice)],
      }),
    ],
    inputs: [port('x', 'float32', ['length']), port('flag', 'bool', [1])],
    outputs: [port('y', 'float32', ['length'])],
  });
  const { graph: loaded } = loadModel(bytes, { files: openModelFile });
  const warm = CompiledModel.openSync(bytes, { threads: 1 });
  for (const [length, flag] of [
    [4, 1],
    [4, 0],
    [5, 0],
    [5, 1],
    [6, 1],
    [6, 0],
    [7, 1],
    [4, 1],
  ]) {
    const feeds: HostTensor[] = [
      wave([length], length),
      { kind: 'tensor', dtype: 'bool', dims: [1], data: Uint8Array.of(flag) },
    ];
    const fresh = CompiledModel.openSync(bytes, { threads: 1 });
    expect(contentsOf(await warm.prepare(feeds))).toEqual(contentsOf(await fresh.prepare(feeds)));
    expectClose(warm.runSync(feeds), interpret(loaded, feeds));
    fresh.dispose();
  }
  warm.dispose();
});

test('plans that are kept do not grow in number', async () => {
  const compiled = CompiledModel.openSync(decoder(1), { planCacheSize: 4 });
  for (let past = 0; past < 20; past++) compiled.runSync(decoderFeeds(1, past));
  expect(compiled.stages.length).toBe(4);
  compiled.dispose();
});

describe('what types do not tell', () => {
  const vector = (values: readonly number[]): HostTensor => ({
    ...{ kind: 'tensor', dtype: 'float32', dims: [values.length] },
    data: Float32Array.from(values),
  });
  const indices = (...values: number[]): HostTensor => ({
    ...{ kind: 'tensor', dtype: 'int64', dims: [values.length] },
    data: BigInt64Array.from(values, BigInt),
  });

  test('shapes that are fed', () => {
    const bytes = model({
      nodes: [
        node('Identity', ['shape'], ['same']),
        node('Reshape', ['x', 'same'], ['a']),
        node('Neg', ['a'], ['b']),
        node('ReduceSum', ['b', 'axes'], ['y'], { attributes: [attribute.int('keepdims', 0)] }),
      ],
      inputs: [port('x', 'float32', [6]), port('shape', 'int64', [2])],
      outputs: [port('y', 'float32')],
      initializers: [longs('axes', [0])],
    });
    const compiled = CompiledModel.openSync(bytes);
    const x = vector([1, 2, 3, 4, 5, 6]);
    const sums = (...dims: number[]) => [...toNumbers(compiled.runSync([x, indices(...dims)])[0] as HostTensor)];
    for (let round = 0; round < 2; round++) {
      expect(sums(2, 3)).toEqual([-5, -7, -9]);
      expect(sums(3, 2)).toEqual([-9, -12]);
      expect(sums(1, 6)).toEqual([-1, -2, -3, -4, -5, -6]);
    }
    compiled.dispose();
  });

  test('whose memory an operand is', () => {
    // Of an empty half, the joined vector may be the other half's memory: a feed, which nothing may write to.
    const bytes = model({
      nodes: [
        node('Concat', ['a', 'b'], ['joined'], { attributes: [attribute.int('axis', 0)] }),
        node('Neg', ['joined'], ['negative']),
        node('Add', ['negative', 'one'], ['y']),
      ],
      inputs: [port('a', 'float32', ['n']), port('b', 'float32', ['m'])],
      outputs: [port('y', 'float32', ['k'])],
      initializers: [floats('one', [1])],
    });
    const compiled = CompiledModel.openSync(bytes, { optimization: 'none' });
    const all = [1, 2, 3, 4];
    for (const at of [2, 0, 4, 1, 0, 3, 4]) {
      const [a, b] = [vector(all.slice(0, at)), vector(all.slice(at))];
      expect([...toNumbers(compiled.runSync([a, b])[0] as HostTensor)]).toEqual([0, -1, -2, -3]);
      expect([...toNumbers(a), ...toNumbers(b)]).toEqual(all);
    }
    compiled.dispose();
  });

  test('attributes and constants of nodes that are alike otherwise', () => {
    const gather = (axis: number, index: string, out: string) =>
      node('Gather', ['x', index], [out], { attributes: [attribute.int('axis', axis)] });
    const bytes = model({
      nodes: [
        gather(0, 'first', 'a'),
        gather(1, 'first', 'b'),
        gather(1, 'second', 'c'),
        node('Concat', ['a', 'b', 'c'], ['y'], { attributes: [attribute.int('axis', 0)] }),
      ],
      inputs: [port('x', 'float32', ['n', 'n'])],
      outputs: [port('y', 'float32', ['k'])],
      initializers: [longs('first', [0], []), longs('second', [1], [])],
    });
    const compiled = CompiledModel.openSync(bytes);
    for (const n of [2, 3, 2, 4]) {
      const x = Array.from({ length: n * n }, (_, i) => i);
      const got = compiled.runSync([{ kind: 'tensor', dtype: 'float32', dims: [n, n], data: Float32Array.from(x) }]);
      const column = (k: number) => Array.from({ length: n }, (_, i) => i * n + k);
      expect([...toNumbers(got[0] as HostTensor)]).toEqual([...x.slice(0, n), ...column(0), ...column(1)]);
    }
    compiled.dispose();
  });
});

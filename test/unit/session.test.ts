import { describe, expect, test } from 'vitest';
import { InputError, OptionError, RunError } from '../../lib/errors.ts';
import { type RunValues, Session, Tensor } from '../../lib/index.ts';
import { floats, longs, model, node, port, rawTensor } from '../models/onnx-writer.ts';

type Run = (session: Session, feeds: RunValues) => Promise<Record<string, unknown>>;
const ways: [string, Run][] = [
  ['run', (session, feeds) => session.run(feeds)],
  ['runSync', async (session, feeds) => session.runSync(feeds)],
];

const tensor = (values: number[], dims = [values.length]) => new Tensor('float32', Float32Array.from(values), dims);

describe.each(ways)('%s', (_, run) => {
  /** Runs twice, writing over everything that is returned in between. */
  async function runTwice(session: Session, feeds: RunValues): Promise<number[][][]> {
    const seen: number[][][] = [];
    for (let i = 0; i < 2; i++) {
      const results = Object.values(await run(session, feeds)) as Tensor[];
      seen.push(results.map(({ data }) => [...(data as Float32Array)]));
      for (const [k, { data, dims }] of results.entries()) {
        (data as Float32Array).fill(1000 + k);
        (dims as number[]).push(7);
      }
      // Each result is memory of its own.
      expect(results.map(({ data }) => (data as Float32Array)[0])).toEqual(results.map((_, k) => 1000 + k));
    }
    return seen;
  }

  test('results share memory neither with weights, feeds nor one another', async () => {
    const session = await Session.load(
      model({
        nodes: [node('Identity', ['w'], ['weight']), node('Identity', ['x'], ['same']), node('Relu', ['x'], ['relu'])],
        inputs: [port('x', 'float32', ['n'])],
        outputs: ['weight', 'same', 'relu', 'relu', 'x', 'w'].map((name) => port(name, 'float32')),
        initializers: [floats('w', [5, 6])],
      }),
    );
    const x = tensor([1, -2, 3]);
    const [first, second] = await runTwice(session, { x });
    expect(first).toEqual([
      [5, 6],
      [1, -2, 3],
      [1, 0, 3],
      [1, -2, 3],
      [5, 6],
    ]);
    expect(second).toEqual(first);
    expect([...x.data]).toEqual([1, -2, 3]);
  });

  test('results survive later runs', async () => {
    const session = await Session.load(
      model({
        nodes: [node('Relu', ['x'], ['y'])],
        inputs: [port('x', 'float32', ['n'])],
        outputs: [port('y', 'float32', ['n'])],
      }),
    );
    const results = await Promise.all([1, 2, 3, 4].map((value) => run(session, { x: tensor([value, -1]) })));
    expect(results.map(({ y }) => [...((y as Tensor).data as Float32Array)])).toEqual([
      [1, 0],
      [2, 0],
      [3, 0],
      [4, 0],
    ]);
  });

  test('a feed whose content decides shapes may be changed between runs', async () => {
    const session = await Session.load(
      model({
        nodes: [node('Reshape', ['x', 'shape'], ['y'])],
        inputs: [port('x', 'float32', [6]), port('shape', 'int64', [2])],
        outputs: [port('y', 'float32')],
      }),
    );
    const shape = new Tensor('int64', BigInt64Array.of(2n, 3n), [2]);
    const feeds = { x: tensor([1, 2, 3, 4, 5, 6]), shape };
    expect(((await run(session, feeds)).y as Tensor).dims).toEqual([2, 3]);
    (shape.data as BigInt64Array).set([3n, 2n]);
    expect(((await run(session, feeds)).y as Tensor).dims).toEqual([3, 2]);
  });

  test('feeds of no elements are ordinary', async () => {
    const session = await Session.load(
      model({
        nodes: [node('Add', ['past', 'x'], ['y'])],
        inputs: [port('past', 'float32', ['n', 2]), port('x', 'float32', ['n', 2])],
        outputs: [port('y', 'float32', ['n', 2])],
      }),
    );
    const { y } = (await run(session, { past: tensor([], [0, 2]), x: tensor([], [0, 2]) })) as { y: Tensor };
    expect([y.dims, y.data.length]).toEqual([[0, 2], 0]);
  });

  test('wrong feeds are refused by name', async () => {
    const session = await Session.load(
      model({
        nodes: [node('Add', ['a', 'b'], ['y'])],
        inputs: [port('a', 'float32', ['n', 2]), port('b', 'float32', ['n', 2])],
        outputs: [port('y', 'float32', ['n', 2])],
      }),
    );
    const a = tensor([1, 2], [1, 2]);
    const attempt = (feeds: RunValues) => run(session, feeds).then(() => 'ran');
    await expect(attempt({ a })).rejects.toThrow(/^input "b" is missing$/);
    await expect(attempt({ a, b: a, c: a })).rejects.toThrow(/no input "c"; it has a, b/);
    await expect(attempt({ a, b: tensor([1, 2]) })).rejects.toThrow(/"b": expected rank 2/);
    await expect(attempt({ a, b: tensor([1, 2, 3, 4], [2, 2]) })).rejects.toThrow(/dimension 0 \("n"\) is 2/);
    await expect(attempt({ a, b: new Tensor('float64', [1, 2], [1, 2]) })).rejects.toThrow(/of float32, got float64/);
    await expect(attempt({ a, b: { ...a, dims: [1, 2], type: 'float32', data: [1, 2] } })).rejects.toThrow(InputError);
  });

  test('a disposed session is refused', async () => {
    const session = await Session.load(
      model({
        nodes: [node('Relu', ['x'], ['y'])],
        inputs: [port('x', 'float32', ['n'])],
        outputs: [port('y', 'float32', ['n'])],
      }),
    );
    await session.dispose();
    await session.dispose();
    await expect(run(session, { x: tensor([1]) }).then(() => 'ran')).rejects.toThrow(RunError);
  });
});

test('strings go through, anything else among them is refused', async () => {
  const session = await Session.load(
    model({
      nodes: [node('Identity', ['x'], ['y'])],
      inputs: [port('x', 'string', ['n'])],
      outputs: [port('y', 'string', ['n'])],
    }),
  );
  const { y } = (await session.run({ x: new Tensor('string', ['a', 'é'], [2]) })) as { y: Tensor };
  expect(y.data).toEqual(['a', 'é']);
  const mixed = new Tensor('string', ['a', 3 as unknown as string], [2]);
  await expect(session.run({ x: mixed })).rejects.toThrow(/array of 2 strings/);
});

test('unknown options and outputs are refused', async () => {
  const bytes = model({
    nodes: [node('Relu', ['x'], ['y'])],
    inputs: [port('x', 'float32', ['n'])],
    outputs: [port('y', 'float32', ['n'])],
  });
  await expect(Session.load(bytes, { thread: 2 } as object)).rejects.toThrow(OptionError);
  await expect(Session.load(bytes, { threads: 0 })).rejects.toThrow(/at least 1/);
  const session = await Session.load(bytes);
  await expect(session.run({ x: tensor([1]) }, { outputs: ['z'] })).rejects.toThrow(/no output "z"; it has y/);
});

test.each([0, 1, 2, 3, 5])('a model in a Buffer %i bytes past an aligned address', async (offset) => {
  const bytes = model({
    nodes: [node('Add', ['x', 'w'], ['sum']), node('Reshape', ['sum', 'shape'], ['y'])],
    inputs: [port('x', 'float32', [4])],
    outputs: [port('y', 'float32')],
    initializers: [floats('w', [1, 2, 3, 4]), longs('shape', [2, 2])],
  });
  const buffer = Buffer.alloc(bytes.length + offset).subarray(offset);
  buffer.set(bytes);
  const session = await Session.load(buffer);
  const { y } = await session.run({ x: tensor([10, 20, 30, 40]) });
  expect([...((y as Tensor).data as Float32Array)]).toEqual([11, 22, 33, 44]);
  expect((y as Tensor).dims).toEqual([2, 2]);
});

test('large weights that are not aligned, packed and used as they are', async () => {
  const [rows, columns] = [130, 200];
  const w = Float32Array.from({ length: rows * columns }, (_, i) => (i % 7) - 3);
  const bytes = model({
    nodes: [node('MatMul', ['x', 'w'], ['product']), node('Gather', ['w', 'at'], ['row'])],
    inputs: [port('x', 'float32', [1, rows]), port('at', 'int64', [1])],
    outputs: [port('product', 'float32'), port('row', 'float32')],
    initializers: [rawTensor('w', 'float32', [rows, columns], w)],
  });
  const want = Array.from({ length: columns }, (_, n) => w.reduce((s, v, i) => (i % columns === n ? s + v : s), 0));
  for (let offset = 0; offset < 4; offset++) {
    const shifted = new Uint8Array(bytes.length + offset).subarray(offset);
    shifted.set(bytes);
    const session = await Session.load(shifted);
    const feeds = {
      x: new Tensor('float32', new Float32Array(rows).fill(1), [1, rows]),
      at: new Tensor('int64', BigInt64Array.of(3n), [1]),
    };
    const { product, row } = await session.run(feeds);
    expect([...((product as Tensor).data as Float32Array)]).toEqual(want);
    expect((row as Tensor).data).toEqual(w.subarray(3 * columns, 4 * columns));
  }
});

test('a batch of an 8-bit network, cut into panels: feeds are taken at the call, results are those of one run', async () => {
  const quantize = (from: string, to: string) => node('QuantizeLinear', [from, 's', 'z'], [to]);
  const dequantize = (from: string, to: string) => node('DequantizeLinear', [from, 's', 'z'], [to]);
  const weights = Int8Array.from({ length: 8 * 4 * 9 }, (_, i) => ((i * 37) % 200) - 100);
  await using session = await Session.load(
    model({
      nodes: [
        quantize('x', 'a'),
        dequantize('a', 'b'),
        node('DequantizeLinear', ['w', 'ws', 'wz'], ['v']),
        node('Conv', ['b', 'v'], ['c']),
        quantize('c', 'd'),
        dequantize('d', 'y'),
      ],
      inputs: [port('x', 'float32', ['n', 4, 6, 6])],
      outputs: [port('y', 'float32')],
      initializers: [
        ...[floats('s', [0.05], []), rawTensor('z', 'uint8', [], Uint8Array.of(128))],
        ...[floats('ws', [0.01], []), rawTensor('wz', 'int8', [], Int8Array.of(0))],
        rawTensor('w', 'int8', [8, 4, 3, 3], weights),
      ],
    }),
    { threads: 2 },
  );
  for (const batch of [16, 17, 40]) {
    const x = Float32Array.from({ length: batch * 144 }, (_, i) => Math.sin(i) * 5);
    const feeds = { x: new Tensor('float32', x, [batch, 4, 6, 6]) };
    const want = (session.runSync(feeds).y as Tensor).data;
    expect(new Set(want as Float32Array).size).toBeGreaterThan(50);
    for (let i = 0; i < 2; i++) {
      const copy = new Tensor('float32', x.slice(), [batch, 4, 6, 6]);
      const running = session.run({ x: copy });
      (copy.data as Float32Array).fill(0);
      expect(((await running).y as Tensor).data).toEqual(want);
    }
  }
});

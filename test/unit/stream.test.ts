import { setTimeout } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { InputError, OptionError, QueueFullError, RunError } from '../../lib/errors.ts';
import { Batcher, Session, Tensor } from '../../lib/index.ts';
import type { Runner, Values } from '../../lib/runtime/batching.ts';
import { streamResults } from '../../lib/runtime/stream.ts';
import { model, node, port } from '../models/onnx-writer.ts';

const row = (...values: number[]) => new Tensor('float32', Float32Array.from(values), [1, values.length]);
const valuesOf = (results: Values) => [...((results.y as Tensor).data as Float32Array)];

const negate = () =>
  Session.load(
    model({
      nodes: [node('Neg', ['x'], ['y'])],
      inputs: [port('x', 'float32', ['n', 'm'])],
      outputs: [port('y', 'float32', ['n', 'm'])],
    }),
  );

/** A runner that counts rows of every call and answers with the feeds, the first request last. */
function echo() {
  const calls: number[] = [];
  let active = 0;
  const seen = { calls, most: 0 };
  const run: Runner = async ({ x }) => {
    const tensor = x as Tensor;
    calls.push(tensor.dims[0]);
    seen.most = Math.max(seen.most, ++active);
    await setTimeout((tensor.data as Float32Array)[0] === 0 ? 30 : 1);
    active--;
    if ((tensor.data as Float32Array).includes(13)) throw new RunError('thirteen');
    return { y: tensor };
  };
  return { run, seen };
}

async function* requests(count: number) {
  for (let i = 0; i < count; i++) yield { x: row(i, -i) };
}

async function collect(stream: AsyncIterable<Values>): Promise<number[]> {
  const found: number[] = [];
  for await (const results of stream) found.push(valuesOf(results)[0]);
  return found;
}

describe('stream', () => {
  test.each([1, 3, 8])('a session, batches of %i', async (batch) => {
    const session = await negate();
    const found = await collect(session.stream(requests(10), { batch, concurrency: 3 }));
    expect(found).toEqual([-0, -1, -2, -3, -4, -5, -6, -7, -8, -9]);
  });

  test('joins what fits together, and takes plain iterables', async () => {
    const { run, seen } = echo();
    const source = [row(1), row(2), row(3), row(4, 4), row(5, 5), row(6)].map((x) => ({ x }));
    expect(await collect(streamResults(run, source, { batch: 2 }))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(seen.calls).toEqual([2, 1, 2, 1]);
  });

  test('order and concurrency', async () => {
    const { run, seen } = echo();
    expect(await collect(streamResults(run, requests(6), { concurrency: 2 }))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(seen.most).toBe(2);
    const loose = await collect(streamResults(echo().run, requests(6), { concurrency: 2, ordered: false }));
    expect(loose[0]).not.toBe(0);
    expect(loose.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('reads ahead no further than asked', async () => {
    let read = 0;
    async function* source() {
      for (;;) yield { x: row(++read) };
    }
    const stream = streamResults(echo().run, source(), { batch: 2, concurrency: 3 });
    await stream.next();
    await stream.return();
    expect(read).toBeLessThanOrEqual(10);
  });

  test('an error of a request, of the source, or of an option ends it', async () => {
    const found: number[] = [];
    const failing = (async () => {
      for await (const results of streamResults(echo().run, requests(20), { batch: 4 }))
        found.push(valuesOf(results)[0]);
    })();
    await expect(failing).rejects.toThrow('thirteen');
    expect(found).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    async function* broken() {
      yield { x: row(1) };
      throw new Error('source');
    }
    await expect(collect(streamResults(echo().run, broken()))).rejects.toThrow('source');
    await expect(collect(streamResults(echo().run, requests(1), { batch: 0 }))).rejects.toThrow(OptionError);
  });
});

describe('batcher', () => {
  test('a session', async () => {
    const batcher = (await negate()).batcher({ maxBatch: 4 });
    const results = await Promise.all(Array.from({ length: 10 }, (_, i) => batcher.run({ x: row(i + 1, 0) })));
    expect(results.map((each) => valuesOf(each)[0])).toEqual([-1, -2, -3, -4, -5, -6, -7, -8, -9, -10]);
    expect((results[0].y as Tensor).dims).toEqual([1, 2]);
  });

  test('full batches run at once, others after the delay, shapes apart', async () => {
    const { run, seen } = echo();
    const batcher = new Batcher(run, { maxBatch: 3, maxDelayMs: 5 });
    const all = [row(1), row(2), row(3, 3), row(4), row(5)].map((x) => batcher.run({ x }));
    expect([batcher.queued, seen.calls]).toEqual([2, [3]]);
    expect((await Promise.all(all)).map((each) => valuesOf(each)[0])).toEqual([1, 2, 3, 4, 5]);
    expect(seen.calls.sort()).toEqual([1, 1, 3]);
    expect(batcher.queued).toBe(0);
  });

  test('a request waits no longer than its deadline, and a full queue takes more once it has moved on', async () => {
    const { run, seen } = echo();
    const batcher = new Batcher(run, { maxBatch: 8, maxDelayMs: 40, maxQueue: 2 });
    const start = performance.now();
    const first = [1, 2].map((value) => batcher.run({ x: row(value) }));
    await expect(batcher.run({ x: row(3) })).rejects.toMatchObject({
      code: 'ERR_QUEUE_FULL',
      details: { maxQueue: 2 },
    });
    await setTimeout(20);
    expect(seen.calls).toEqual([]);
    await Promise.all(first);
    const waited = performance.now() - start;
    expect(waited).toBeGreaterThan(35);
    expect(waited).toBeLessThan(1000);
    expect(seen.calls).toEqual([2]);
    expect(valuesOf(await batcher.run({ x: row(4) }))).toEqual([4]);
  });

  test('under load batches wait and grow, and the queue fills', async () => {
    const { run, seen } = echo();
    const batcher = new Batcher(run, { maxBatch: 4, maxDelayMs: 0, maxQueue: 6, concurrency: 1 });
    const all = Array.from({ length: 12 }, (_, i) => batcher.run({ x: row(i) }));
    // Four run, six wait, two are too many.
    expect(batcher.queued).toBe(6);
    const settled = await Promise.allSettled(all);
    expect(settled.filter(({ status }) => status === 'rejected')).toHaveLength(2);
    expect(seen).toMatchObject({ calls: [4, 4, 2], most: 1 });
    expect(batcher.queued).toBe(0);
  });

  test('a batch whose time has come is joined until it runs', async () => {
    const { run, seen } = echo();
    const batcher = new Batcher(run, { maxBatch: 8, maxDelayMs: 0, concurrency: 1 });
    const all = [batcher.run({ x: row(0) })];
    while (seen.calls.length === 0) await setTimeout(1);
    for (let i = 1; i <= 3; i++) {
      all.push(batcher.run({ x: row(i) }));
      await setTimeout(3);
    }
    batcher.close();
    expect((await Promise.all(all)).map((each) => valuesOf(each)[0])).toEqual([0, 1, 2, 3]);
    expect(seen.calls).toEqual([1, 3]);
  });

  test('the deadline is that of the first request', async () => {
    const { run, seen } = echo();
    const batcher = new Batcher(run, { maxBatch: 100, maxDelayMs: 50 });
    const all: Promise<Values>[] = [];
    const end = performance.now() + 300;
    while (performance.now() < end) {
      all.push(batcher.run({ x: row(1) }));
      await setTimeout(10);
    }
    expect(seen.calls.length).toBeGreaterThanOrEqual(2);
    await Promise.all(all);
  });

  test('close resolves when every request has been answered', async () => {
    const { run, seen } = echo();
    const batcher = new Batcher(run, { maxBatch: 2, maxQueue: 3, concurrency: 1, maxDelayMs: 1000 });
    const answered: number[] = [];
    const all = [1, 2, 3, 4, 5].map((value) => batcher.run({ x: row(value) }).then(() => answered.push(value)));
    await expect(batcher.run({ x: row(6) })).rejects.toMatchObject({
      code: 'ERR_QUEUE_FULL',
      details: { maxQueue: 3 },
    });
    await batcher.close();
    await batcher.close();
    await Promise.resolve();
    expect([batcher.queued, seen.calls, answered]).toEqual([0, [2, 2, 1], [1, 2, 3, 4, 5]]);
    await Promise.all(all);
  });

  test('a request that fails fails alone', async () => {
    const batcher = new Batcher(echo().run, { maxBatch: 3 });
    const all = await Promise.allSettled([1, 13, 3].map((value) => batcher.run({ x: row(value) })));
    expect(all.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  test('a full queue, a closed batcher, and feeds without a batch are refused', async () => {
    const batcher = new Batcher(echo().run, { maxQueue: 1, maxDelayMs: 1000 });
    const first = batcher.run({ x: row(1) });
    await expect(batcher.run({ x: row(2) })).rejects.toThrow(QueueFullError);
    const closed = batcher.close();
    expect(valuesOf(await first)).toEqual([1]);
    await closed;
    await expect(batcher.run({ x: row(3) })).rejects.toThrow(/closed/);
    const open = new Batcher(echo().run);
    await expect(open.run({ x: new Tensor('float32', [1], []) })).rejects.toThrow(InputError);
    await expect(open.run({ x: row(1), z: new Tensor('float32', [1, 2], [2, 1]) })).rejects.toThrow(/agree on axis 0/);
    await expect(open.run({ x: { type: 'float32', dims: [2, 1], data: new Float32Array(1) } })).rejects.toThrow(
      /needs 2/,
    );
    expect(() => new Batcher(echo().run, { maxBatch: 0 })).toThrow(OptionError);
  });
});

test('an output that does not follow the batch is computed request by request', async () => {
  const session = await Session.load(
    model({
      nodes: [node('Shape', ['x'], ['y'])],
      inputs: [port('x', 'float32', ['n', 2])],
      outputs: [port('y', 'int64', [2])],
    }),
  );
  const batcher = session.batcher({ maxBatch: 2 });
  const all = await Promise.all([1, 2].map((value) => batcher.run({ x: row(value, value) })));
  for (const { y } of all) expect([...((y as Tensor).data as BigInt64Array)]).toEqual([1n, 2n]);
});

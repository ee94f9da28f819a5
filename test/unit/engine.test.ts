import { constants } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { type NativeBlob, type NativePlan, native } from '../../lib/runtime/native.ts';
import { copyPlan, PlanNumbers } from './plan-numbers.ts';

const engine = native();
const load = (numbers: PlanNumbers, blobs: NativeBlob[] = []) => engine.plan(numbers.isa, numbers.encode(), blobs);
const bytes = (n: number, seed = 0) => Uint8Array.from({ length: n }, (_, i) => (i * 13 + (i >> 8) + seed) & 255);
const same = (a: ArrayBufferView | ArrayBuffer | undefined, b: Uint8Array) =>
  a !== undefined &&
  Buffer.compare(ArrayBuffer.isView(a) ? Buffer.from(a.buffer, a.byteOffset, a.byteLength) : Buffer.from(a), b) === 0;

/** Fills its output over and over: seconds of work. */
function endlessPlan(): PlanNumbers {
  const plan = new PlanNumbers();
  const size = 1 << 20;
  plan.outputs = [size];
  const y = plan.buffer('output', size);
  return plan.loop(1 << 20, false, () => plan.step('fill.bytes', [y], { bytes: size, pattern: [1] }));
}

test('the instruction set in use is one of the machine', () => {
  expect(engine.kernels(engine.isa()).length).toBeGreaterThan(0);
  expect(() => engine.kernels('sse9')).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }));
  expect(() => engine.kernels('sse9')).toThrow(/this CPU has portable/);
});

describe.each([0, 1, 1000, 65_536, 65_537, 3_000_000])('a plan over %i bytes', (size) => {
  const x = bytes(size);
  const plan = load(copyPlan(size));

  test('runs on this thread and on the pool', async () => {
    expect(same(engine.runSync(plan, [x], [null])[0], x)).toBe(true);
    expect(same((await engine.run(plan, [x], [null]))[0], x)).toBe(true);
    for (const threads of [1, 2, 64]) {
      expect(same(engine.runSync(plan, [x], [null], { threads })[0], x)).toBe(true);
      expect(same((await engine.run(plan, [x], [null], { threads }))[0], x)).toBe(true);
    }
  });

  test('writes to outputs of the caller and returns them', async () => {
    const y = new Uint8Array(size + 8).subarray(3, 3 + size);
    expect(engine.runSync(plan, [x], [y])[0]).toBe(y);
    expect(same(y, x)).toBe(true);
    const z = new Uint8Array(new SharedArrayBuffer(size));
    expect((await engine.run(plan, [x], [z]))[0]).toBe(z);
    expect(same(z, x)).toBe(true);
    const w = new Uint8Array(size);
    expect((await engine.run(plan, [x], [w]))[0]).toBe(w);
    expect(same(w, x)).toBe(true);
  });
});

test('results survive later runs', async () => {
  const size = 1 << 20;
  const plan = load(copyPlan(size));
  const inputs = [1, 2, 3, 4].map((seed) => bytes(size, seed));
  const results = await Promise.all(inputs.map((x) => engine.run(plan, [x], [null])));
  for (const [i, x] of inputs.entries()) expect(same(results[i]![0], x)).toBe(true);
});

// Later engines have buffers as large as the address space.
test.skipIf(constants.MAX_LENGTH > 2 ** 33)('a result that no buffer can hold is an error', async () => {
  const plan = copyPlan(100);
  // Only what is written is ever backed by memory.
  plan.outputs = [constants.MAX_LENGTH + 4096];
  const loaded = load(plan);
  const attempt = async () => engine.run(loaded, [bytes(100)], [null]);
  await expect(attempt()).rejects.toMatchObject({ code: 'ERR_MEMORY' });
  expect(() => engine.runSync(loaded, [bytes(100)], [null])).toThrow(/more than a buffer can hold/);
  const [fits] = await engine.run(load(copyPlan(100)), [bytes(100)], [null]);
  expect(fits!.byteLength).toBe(100);
});

test('an input may be transferred while the run lasts', async () => {
  const size = 8 << 20;
  const x = bytes(size);
  const expected = x.slice();
  const promise = engine.run(load(copyPlan(size)), [x], [null]);
  structuredClone(x, { transfer: [x.buffer] });
  expect(x.length).toBe(0);
  expect(same((await promise)[0], expected)).toBe(true);
});

test('an output that is transferred while the run lasts is reported', async () => {
  const size = 1 << 20;
  const y = new Uint8Array(size);
  const promise = engine.run(load(copyPlan(size)), [bytes(size)], [y]);
  structuredClone(y, { transfer: [y.buffer] });
  await expect(promise).rejects.toMatchObject({ code: 'ERR_INPUT' });
});

describe('loops', () => {
  /** Copies rows of a matrix in reverse order of rows, with an inner loop over halves of a row. */
  function reversal(rows: number, row: number, parallel: boolean): PlanNumbers {
    const plan = new PlanNumbers();
    plan.inputs = [rows * row];
    plan.outputs = [rows * row];
    plan.arenaBytes = 64 + row;
    const half = row / 2;
    const x = plan.buffer('input', half, { offset: (rows - 1) * row, strides: [-row, half] });
    const t = plan.buffer('arena', half, { offset: 64, strides: [0, half] });
    const y = plan.buffer('output', half, { strides: [row, half] });
    return plan.loop(rows, parallel, () => {
      plan.loop(2, false, () => plan.step('copy.bytes', [x, t], { bytes: half }));
      plan.loop(2, false, () => plan.step('copy.bytes', [t, y], { bytes: half }));
    });
  }

  test.each([false, true])('parallel %s: counters move buffers, threads have arenas of their own', async (parallel) => {
    const [rows, row] = [200, 20_000];
    const plan = load(reversal(rows, row, parallel));
    const x = bytes(rows * row);
    const expected = new Uint8Array(rows * row);
    for (let i = 0; i < rows; i++) expected.set(x.subarray((rows - 1 - i) * row, (rows - i) * row), i * row);
    for (let i = 0; i < 5; i++) {
      expect(same(engine.runSync(plan, [x], [null])[0], expected)).toBe(true);
      expect(same((await engine.run(plan, [x], [null]))[0], expected)).toBe(true);
    }
    expect(engine.planInfo(plan).threadArenaBytes).toBe(parallel ? Math.ceil(row / 64) * 64 : 0);
  });

  test('a count of 0 runs nothing', () => {
    const plan = new PlanNumbers();
    plan.outputs = [4];
    const y = plan.buffer('output', 4);
    plan.step('fill.bytes', [y], { bytes: 4, pattern: [7] });
    plan.loop(0, false, () => plan.step('fill.bytes', [y], { bytes: 4, pattern: [9] }));
    const y4 = new Uint8Array(4);
    engine.runSync(load(plan), [], [y4]);
    expect([...y4]).toEqual([7, 7, 7, 7]);
  });
});

describe('constants', () => {
  function constantPlan(size: number): PlanNumbers {
    const plan = new PlanNumbers();
    plan.constants = 1;
    plan.outputs = [size];
    return plan.step('copy.bytes', [plan.buffer('constant', size), plan.buffer('output', size)], { bytes: size });
  }

  test.each([0, 100, 65_536, 65_537, 1_000_000])('of %i bytes are read', async (size) => {
    const data = bytes(size + 1).subarray(1);
    const blob = engine.constant(data);
    expect(engine.blobBytes(blob)).toBe(size);
    const plan = load(constantPlan(size), [blob]);
    engine.release(blob);
    expect(same((await engine.run(plan, [], [null]))[0], data)).toBe(true);
    expect(same(engine.runSync(plan, [], [null])[0], data)).toBe(true);
  });

  test('a large one in a transferred or shrunk ArrayBuffer stops the run', () => {
    const data = bytes(100_000);
    const plan = load(constantPlan(100_000), [engine.constant(data)]);
    structuredClone(data, { transfer: [data.buffer] });
    expect(() => engine.runSync(plan, [], [null])).toThrow(expect.objectContaining({ code: 'ERR_INPUT' }));
  });

  test('a small one is a copy', () => {
    const data = bytes(100);
    const expected = data.slice();
    const plan = load(constantPlan(100), [engine.constant(data)]);
    structuredClone(data, { transfer: [data.buffer] });
    expect(same(engine.runSync(plan, [], [null])[0], expected)).toBe(true);
  });
});

describe('abort', () => {
  test('stops a run between steps, and the next one works', async () => {
    const plan = load(endlessPlan());
    const token = engine.abortToken();
    const promise = engine.run(plan, [], [null], { token });
    setTimeout(() => engine.abort(token), 20);
    await expect(promise).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    const x = bytes(1000);
    expect(same((await engine.run(load(copyPlan(1000)), [x], [null]))[0], x)).toBe(true);
  });

  test('takes queued runs out of the queue at once', async () => {
    const plan = load(endlessPlan());
    const [busy, queued] = [engine.abortToken(), engine.abortToken()];
    const cores = engine.hardware().cores;
    const running = Array.from({ length: cores + 1 }, () => engine.run(plan, [], [null], { threads: 1, token: busy }));
    const waiting = Array.from({ length: 5 }, () => engine.run(plan, [], [null], { token: queued, priority: -1 }));
    const aborted = async (runs: Promise<unknown>[]) =>
      (await Promise.allSettled(runs)).every((r) => r.status === 'rejected' && r.reason.code === 'ERR_ABORTED');
    const queuedAborted = aborted(waiting);
    const runningAborted = aborted(running);
    engine.abort(queued);
    expect(await queuedAborted).toBe(true);
    engine.abort(busy);
    expect(await runningAborted).toBe(true);
  });

  test('a token that is set already stops a run at its start', async () => {
    const token = engine.abortToken();
    engine.abort(token);
    const plan = load(copyPlan(8));
    await expect(engine.run(plan, [bytes(8)], [null], { token })).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    expect(() => engine.runSync(plan, [bytes(8)], [null], { token })).toThrow(
      expect.objectContaining({ code: 'ERR_ABORTED' }),
    );
  });
});

test('higher priorities run first', async () => {
  const busy = engine.abortToken();
  const endless = load(endlessPlan());
  const blockers = Array.from({ length: engine.hardware().cores + 1 }, () =>
    engine.run(endless, [], [null], { threads: 1, token: busy, priority: 9 }).catch(() => undefined),
  );
  const plan = load(copyPlan(64));
  const order: number[] = [];
  const runs = [0, 1, 0, 2].map((priority, i) =>
    engine.run(plan, [bytes(64)], [null], { priority, threads: 1 }).then(() => order.push(i)),
  );
  engine.abort(busy);
  await Promise.all([...blockers, ...runs]);
  if (engine.hardware().cores === 1) expect(order).toEqual([3, 1, 0, 2]);
  expect(order.indexOf(3)).toBeLessThan(order.indexOf(2));
});

test('concurrent runs of one plan do not share memory', async () => {
  const size = 200_000;
  const plan = load(copyPlan(size));
  const runs = Array.from({ length: 60 }, async (_, i) => {
    const x = bytes(size, i);
    const options = { threads: 1 + (i % 3) };
    return same((await engine.run(plan, [x], [null], options))[0], x);
  });
  expect(await Promise.all(runs)).toEqual(runs.map(() => true));
});

test('plans share an arena pool, and trimming frees it', async () => {
  const arenaPool = engine.arenaPool();
  const sizes = [1000, 4_000_000, 20, 300_000];
  const plans = sizes.map((size) => {
    const numbers = copyPlan(size);
    return engine.plan(numbers.isa, numbers.encode(), [], { arenaPool });
  });
  for (let round = 0; round < 3; round++) {
    for (const [i, size] of sizes.entries()) {
      const x = bytes(size, round);
      expect(same((await engine.run(plans[i]!, [x], [null]))[0], x)).toBe(true);
    }
    engine.trim(round === 0 ? arenaPool : plans[1]!);
  }
});

test('a profile tells start and elapsed time of each instruction', async () => {
  const size = 1_000_000;
  const plan = load(copyPlan(size));
  const profile = new Float64Array(4).fill(-1);
  await engine.run(plan, [bytes(size)], [null], { profile });
  expect(Math.min(...profile)).toBeGreaterThanOrEqual(0);
  expect(profile[2]!).toBeGreaterThanOrEqual(profile[0]! + profile[1]!);
  engine.runSync(plan, [bytes(size)], [null], { profile: profile.fill(-1) });
  expect(profile[3]!).toBeGreaterThan(0);
  expect(() => engine.runSync(plan, [bytes(size)], [null], { profile: new Float64Array(3) })).toThrow(/two numbers/);
});

test('planInfo', () => {
  const info = engine.planInfo(load(copyPlan(200_000)));
  expect(info).toMatchObject({ arenaBytes: 200_000, steps: 2, scratchBytes: 0 });
  expect([...info.units]).toEqual([4, 4]);
  expect(Math.min(...info.costs)).toBeGreaterThan(0);
});

describe('wrong arguments of runs', () => {
  const plan = load(copyPlan(8));
  const wrong: [string, RegExp, () => unknown][] = [
    ['an input too short', /input 0 has 7 bytes, expected 8/, () => engine.runSync(plan, [bytes(7)], [null])],
    ['an input of another size', /input 0 has 64 bytes/, () => engine.runSync(plan, [new Float64Array(8)], [null])],
    ['no inputs', /takes 1 inputs/, () => engine.runSync(plan, [], [null])],
    ['no outputs', /takes 1 outputs/, () => engine.runSync(plan, [bytes(8)], [])],
    ['an output too long', /output 0 has 9 bytes/, () => engine.runSync(plan, [bytes(8)], [bytes(9)])],
    ['an array', /input 0 is no typed array/, () => engine.runSync(plan, [[1, 2] as never], [null])],
    ['no threads', /threads must be/, () => engine.runSync(plan, [bytes(8)], [null], { threads: 0 })],
    ['another handle', /expected a plan/, () => engine.runSync(engine.constant(bytes(4)) as never, [], [])],
    ['no plan', /expected a plan/, () => engine.runSync({} as NativePlan, [], [])],
    [
      'a foreign token',
      /expected an abort token/,
      () => engine.run(plan, [bytes(8)], [null], { token: plan as never }),
    ],
  ];
  test.each(wrong)('%s', (_, message, call) => expect(call).toThrow(message));

  test('a released plan', async () => {
    const released = load(copyPlan(8));
    const promise = engine.run(released, [bytes(8)], [null]);
    engine.release(released);
    expect(same((await promise)[0], bytes(8))).toBe(true);
    expect(() => engine.runSync(released, [bytes(8)], [null])).toThrow(/a plan was released/);
  });
});

import { describe, expect, test } from 'vitest';
import { native } from '../../lib/runtime/native.ts';
import { copyPlan, type PlanNumbers } from './plan-numbers.ts';

const engine = native();
const load = (numbers: PlanNumbers) => engine.plan(numbers.isa, numbers.encode(), []);
const bytes = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 13 + (i >> 8)) & 255);
const same = (a: ArrayBufferView | ArrayBuffer, b: Uint8Array) =>
  Buffer.compare(ArrayBuffer.isView(a) ? Buffer.from(a.buffer, a.byteOffset, a.byteLength) : Buffer.from(a), b) === 0;

test('the instruction set in use is one of the machine', () => {
  expect(engine.kernels(engine.isa()).length).toBeGreaterThan(0);
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
    await engine.run(plan, [x], [w]);
    expect(same(w, x)).toBe(true);
  });
});

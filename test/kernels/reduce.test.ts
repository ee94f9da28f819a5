import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

const reductions: readonly ((v: readonly number[]) => number)[] = [
  (v) => v.reduce((a, b) => a + b, 0),
  (v) => v.reduce((a, b) => a + b, 0) / v.length,
  (v) => Math.max(...v),
  (v) => Math.min(...v),
  (v) => v.reduce((a, b) => a * b, 1),
  (v) => v.reduce((a, b) => a + Math.abs(b), 0),
  (v) => Math.sqrt(v.reduce((a, b) => a + b * b, 0)),
  (v) => v.reduce((a, b) => a + b * b, 0),
  (v) => Math.log(v.reduce((a, b) => a + b, 0)),
  (v) => Math.log(v.reduce((a, b) => a + Math.exp(b), 0)),
];

interface Axes {
  readonly kept: readonly number[];
  readonly kept_strides: readonly number[];
  readonly reduced: readonly number[];
  readonly reduced_strides: readonly number[];
}

const shapes: Record<string, Axes> = {
  all: { kept: [], kept_strides: [], reduced: [1037], reduced_strides: [1] },
  one: { kept: [3], kept_strides: [1], reduced: [1], reduced_strides: [3] },
  last: { kept: [9], kept_strides: [17], reduced: [17], reduced_strides: [1] },
  'short rows': { kept: [701], kept_strides: [3], reduced: [3], reduced_strides: [1] },
  first: { kept: [131], kept_strides: [1], reduced: [37], reduced_strides: [131] },
  middle: { kept: [3, 70], kept_strides: [70 * 5, 1], reduced: [5], reduced_strides: [70] },
  'outer and inner': { kept: [7], kept_strides: [33], reduced: [4, 33], reduced_strides: [231, 1] },
  'two of four': { kept: [3, 5], kept_strides: [60, 1], reduced: [4, 3], reduced_strides: [5, 20] },
  'neither contiguous': { kept: [4], kept_strides: [6], reduced: [3], reduced_strides: [2] },
};

function offsets(dims: readonly number[], strides: readonly number[]): number[] {
  let list = [0];
  dims.forEach((dim, axis) => {
    list = list.flatMap((base) => Array.from({ length: dim }, (_, i) => base + i * strides[axis]));
  });
  return list;
}

function groups(axes: Axes): number[][] {
  const inner = offsets(axes.reduced, axes.reduced_strides);
  return offsets(axes.kept, axes.kept_strides).map((base) => inner.map((o) => base + o));
}

const near = (got: number, want: number, scale = 1): void => {
  expect(Math.abs(got - want)).toBeLessThanOrEqual(2e-6 * Math.max(Math.abs(want), scale));
};

describe.each(isas)('%s', (isa) => {
  test.each(Object.keys(shapes))('reduce.f32 %s', (name) => {
    const axes = shapes[name];
    const at = groups(axes);
    const x = random(Math.max(...at.flat()) + 1, 3);
    for (const op of reductions.keys()) {
      const data = op === 8 ? x.map(Math.abs) : x;
      for (const parts of [1, 3]) {
        const y = new Float32Array(at.length + 1).fill(77);
        run(isa, 'reduce.f32', [data, y], { op, ...axes }, parts);
        at.forEach((list, i) => {
          near(y[i], reductions[op](list.map((o) => data[o])), 1);
        });
        expect(y[at.length]).toBe(77);
      }
    }
  });

  test('empty reductions, NaN, large exponents', () => {
    const empty = { kept: [2], kept_strides: [0], reduced: [0], reduced_strides: [1] };
    const want = [0, Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 1, 0, 0, 0];
    want.forEach((value, op) => {
      const y = new Float32Array(2);
      run(isa, 'reduce.f32', [new Float32Array(0), y], { op, ...empty });
      expect([...y]).toEqual([value, value]);
    });
    const x = random(50);
    x[20] = Number.NaN;
    const y = new Float32Array(1);
    for (const op of reductions.keys()) {
      run(isa, 'reduce.f32', [x, y], { op, kept: [], kept_strides: [], reduced: [50], reduced_strides: [1] });
      expect(y[0], String(op)).toBe(Number.NaN);
    }
    const three = { op: 9, kept: [], kept_strides: [], reduced: [3], reduced_strides: [1] };
    run(isa, 'reduce.f32', [Float32Array.of(1000, 1000, -1000), y], three);
    near(y[0], 1000 + Math.log(2));
    run(isa, 'reduce.f32', [new Float32Array(3).fill(Number.NEGATIVE_INFINITY), y], three);
    expect(y[0]).toBe(Number.NEGATIVE_INFINITY);
  });

  test('reductions of integers and doubles', () => {
    for (const axes of [shapes.last, shapes.first, shapes['two of four']]) {
      const at = groups(axes);
      const x = Int32Array.from(random(Math.max(...at.flat()) + 1, 3), (v) => v * 3);
      for (let op = 0; op < 5; op++) {
        const want = at.map((list) => reductions[op](list.map((o) => x[o])));
        const y = new Int32Array(at.length);
        run(isa, 'reduce.i32', [x, y], { op, ...axes }, 2);
        expect([...y]).toEqual(want.map((v) => Math.trunc(v) | 0));
        const wide = new BigInt64Array(at.length);
        run(isa, 'reduce.i64', [BigInt64Array.from(x, BigInt), wide], { op, ...axes });
        expect([...wide]).toEqual(want.map((v) => BigInt(Math.trunc(v))));
        const double = new Float64Array(at.length);
        run(isa, 'reduce.f64', [Float64Array.from(x), double], { op, ...axes });
        double.forEach((v, i) => {
          expect(v).toBeCloseTo(want[i], 9);
        });
      }
    }
    const y = new Int32Array(1);
    const one = { kept: [], kept_strides: [], reduced: [2], reduced_strides: [1] };
    run(isa, 'reduce.i32', [Int32Array.of(2147483647, 2147483647), y], { op: 1, ...one });
    expect(y[0]).toBe(2147483647);
  });

  test('positions of extremes', () => {
    for (const [outer, axis, inner] of [
      [3, 17, 1],
      [2, 5, 7],
      [1, 1, 4],
      [0, 3, 2],
    ]) {
      const x = Float32Array.from(random(outer * axis * inner, 4), (v) => Math.round(v * 4));
      for (const least of [false, true]) {
        for (const last of [false, true]) {
          const y = new BigInt64Array(outer * inner);
          run(isa, 'arg.f32', [x, y], { least, last, outer, axis, inner }, 2);
          y.forEach((got, i) => {
            const base = Math.floor(i / inner) * axis * inner + (i % inner);
            const list = Array.from({ length: axis }, (_, k) => x[base + k * inner]);
            const value = least ? Math.min(...list) : Math.max(...list);
            expect(Number(got)).toBe(last ? list.lastIndexOf(value) : list.indexOf(value));
          });
        }
      }
    }
    const y = new BigInt64Array(1);
    const params = { least: false, last: false, outer: 1, axis: 4, inner: 1 };
    run(isa, 'arg.f32', [Float32Array.of(1, Number.NaN, 9, Number.NaN), y], params);
    expect(y[0]).toBe(1n);
    run(isa, 'arg.i64', [BigInt64Array.of(1n, 2n ** 60n, 5n, 2n ** 60n), y], { ...params, last: true });
    expect(y[0]).toBe(3n);
    expect(() => run(isa, 'arg.f32', [new Float32Array(0), y], { ...params, axis: 0 })).toThrow(/empty/);
  });

  test('wrong calls are refused', () => {
    const x = new Float32Array(6);
    const base = { op: 0, kept: [2], kept_strides: [3], reduced: [3], reduced_strides: [1] };
    const bad = (change: object, y = new Float32Array(2)) => run(isa, 'reduce.f32', [x, y], { ...base, ...change });
    expect(() => bad({ kept_strides: [4] })).toThrow(/leave x/);
    expect(() => bad({ kept: [3], kept_strides: [0] })).toThrow(/y holds/);
    expect(() => bad({ op: 10 })).toThrow(/no reduction/);
    expect(() => bad({ kept_strides: [] })).toThrow(/needs a stride/);
    const badInt = (change: object) =>
      run(isa, 'reduce.i32', [new Int32Array(6), new Int32Array(2)], { ...base, ...change });
    expect(() => badInt({ reduced_strides: [2] })).toThrow(/leave x/);
    expect(() => badInt({ reduced_strides: [-1] })).toThrow(/leave x/);
    expect(() => badInt({ op: 2, reduced: [0] })).toThrow(/nothing/);
  });
});

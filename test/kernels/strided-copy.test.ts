import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

type Bits = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

interface Case {
  readonly dims: readonly number[];
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly xOffset?: number;
  readonly yOffset?: number;
}

/** Visits every position of `dims` with its offsets in x and y. */
function walk(c: Case, visit: (x: number, y: number) => void): void {
  const step = (axis: number, x: number, y: number): void => {
    if (axis === c.dims.length) visit(x, y);
    else for (let i = 0; i < c.dims[axis]; i++) step(axis + 1, x + i * c.x[axis], y + i * c.y[axis]);
  };
  step(0, c.xOffset ?? 0, c.yOffset ?? 0);
}

const cases: Record<string, Case> = {
  scalar: { dims: [], x: [], y: [] },
  nothing: { dims: [3, 0], x: [1, 1], y: [1, 1] },
  run: { dims: [20_011], x: [1], y: [1] },
  repeat: { dims: [7, 33], x: [1, 0], y: [33, 1] },
  transpose: { dims: [131, 67], x: [1, 131], y: [67, 1] },
  'transpose of odd sizes': { dims: [3, 5], x: [1, 3], y: [5, 1] },
  'batched transpose': { dims: [3, 2, 68, 9], x: [2 * 68 * 9, 68 * 9, 1, 68], y: [2 * 68 * 9, 68 * 9, 9, 1] },
  'heads forward': { dims: [2, 3, 5, 64], x: [5 * 192, 64, 192, 1], y: [960, 320, 64, 1] },
  'outer axis inward': { dims: [9, 4, 5], x: [1, 45, 9], y: [20, 5, 1] },
  flip: { dims: [6, 17], x: [-17, -1], y: [17, 1], xOffset: 6 * 17 - 1 },
  'steps into a part': { dims: [3, 40], x: [200, 3], y: [101, 2], xOffset: 5, yOffset: 7 },
  'eight dimensions': {
    dims: [2, 1, 3, 2, 1, 2, 2, 3],
    x: [1, 2, 2, 6, 12, 12, 24, 48],
    y: [72, 72, 24, 12, 12, 6, 3, 1],
  },
};

const widths: Record<number, (n: number) => Bits> = {
  1: (n) => Uint8Array.from({ length: n }, (_, i) => i * 37 + 11),
  2: (n) => Uint16Array.from({ length: n }, (_, i) => i * 257 + 11),
  4: (n) => Uint32Array.from({ length: n }, (_, i) => i + 1),
  8: (n) => BigUint64Array.from({ length: n }, (_, i) => BigInt(i + 1) << 20n),
};

describe.each(isas)('strided.copy %s', (isa) => {
  test.each(Object.keys(cases))('%s', (name) => {
    const c = cases[name];
    let nx = 0;
    let ny = 0;
    walk(c, (x, y) => {
      nx = Math.max(nx, x + 1);
      ny = Math.max(ny, y + 1);
    });
    for (const width of [1, 2, 4, 8]) {
      const x = widths[width](nx).reverse();
      for (const parts of [1, 3]) {
        const y = widths[width](ny + 1);
        const expected = y.slice();
        walk(c, (from, to) => {
          expected[to] = x[from];
        });
        const params = { width, x_offset: c.xOffset ?? 0, y_offset: c.yOffset ?? 0 };
        run(isa, 'strided.copy', [x, y], { ...params, dims: c.dims, x_strides: c.x, y_strides: c.y }, parts);
        expect(y).toEqual(expected);
      }
    }
  });

  test('16-byte elements', () => {
    const x = Float64Array.from(random(2 * 15));
    const y = new Float64Array(2 * 15);
    const params = { width: 16, x_offset: 0, y_offset: 0, dims: [3, 5], x_strides: [1, 3], y_strides: [5, 1] };
    run(isa, 'strided.copy', [x, y], params);
    for (let r = 0; r < 3; r++) {
      for (let c = 0; c < 5; c++) {
        expect(y[2 * (r * 5 + c) + 1]).toBe(x[2 * (c * 3 + r) + 1]);
      }
    }
  });

  test('what leaves the operands is refused', () => {
    const x = new Float32Array(12);
    const base = { width: 4, x_offset: 0, y_offset: 0, dims: [3, 4], x_strides: [4, 1], y_strides: [4, 1] };
    const bad = (change: object) => run(isa, 'strided.copy', [x, x.slice()], { ...base, ...change });
    expect(() => bad({ x_strides: [5, 1] })).toThrow(/leave x/);
    expect(() => bad({ x_strides: [-4, 1] })).toThrow(/leave x/);
    expect(() => bad({ y_offset: 1 })).toThrow(/leave y/);
    expect(() => bad({ y_offset: -1 })).toThrow(/leave y/);
    expect(() => bad({ y_strides: [2 ** 52, 2 ** 52] })).toThrow(/leave y/);
    expect(() => bad({ y_strides: [1] })).toThrow(/leave y/);
    expect(() => bad({ width: 3 })).toThrow(/bytes/);
    expect(() => bad({ dims: [3, -4] })).toThrow(/negative/);
    expect(() => bad({ dims: [2 ** 40, 2 ** 40] })).toThrow(/counted/);
  });
});

import { describe, expect, test } from 'vitest';
import { extremeWeights } from './byte-check.ts';
import { isas, pack, random, run } from './harness.ts';

interface Case {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  readonly signed?: boolean;
  readonly perColumn?: boolean;
  readonly zeros?: boolean;
  readonly extras?: boolean;
  /** Inputs and weights whose products in pairs lie around the bounds of 16 bits. */
  readonly extreme?: boolean;
}

const cases: Case[] = [
  ...[1, 2, 5, 11, 12, 13, 25].flatMap((rows) =>
    [1, 15, 16, 17, 33].map((columns) => ({ rows, depth: 9, columns, signed: columns % 2 === 0 })),
  ),
  ...[1, 3, 4, 5, 15, 16, 17, 64, 300].map((depth) => ({ rows: 3, depth, columns: 20, signed: true, perColumn: true })),
  // Tiles are of 16 rows and 64 bytes of depth.
  ...[3, 16, 17, 31, 32, 33, 50, 64].flatMap((rows) =>
    [63, 64, 65, 130].map((depth) => ({
      rows,
      depth,
      columns: 33,
      signed: depth % 2 === 0,
      zeros: true,
      extras: true,
    })),
  ),
  { rows: 7, depth: 40, columns: 35, zeros: true },
  { rows: 7, depth: 40, columns: 35, zeros: true, perColumn: true, extras: true },
  { rows: 7, depth: 40, columns: 35, signed: true, zeros: true, extras: true },
  ...[1, 4, 7].map((rows) => ({ rows, depth: 70, columns: 35, signed: true, extreme: true })),
  { rows: 0, depth: 3, columns: 4 },
  { rows: 2, depth: 0, columns: 4, extras: true },
];

const rowBytes = (rows: number, depth: number): number =>
  Math.ceil((rows * Math.ceil(depth / 4) * 4) / 64) * 64 + 16 * rows;

/** x as its bytes mean it. */
function quantized(x: Float32Array): Float64Array {
  const [low, high] = [x.reduce((a, b) => Math.min(a, b), 0), x.reduce((a, b) => Math.max(a, b), 0)];
  const scale = high > low ? Math.fround(Math.fround(high - low) / 255) : 1;
  const even = (v: number): number => {
    const r = Math.round(v);
    return r - v === 0.5 && r % 2 !== 0 ? r - 1 : r;
  };
  const zero = even(Math.min(255, Math.fround(-low / scale)));
  const level = (v: number): number => Math.min(255, Math.max(0, even(Math.fround(v / scale)) + zero));
  return Float64Array.from(x, (v) => scale * (level(v) - zero));
}

describe.each(isas)('matmul.bytes on %s', (isa) => {
  test.each(cases)('%j', (c) => {
    const { rows, depth, columns } = c;
    const x = random(rows * depth, 1).map((v, i) =>
      c.extreme ? Number(v < 0.7) : v * (1 + (i % 5)) + (i < depth ? 3 : 0),
    );
    const picked = (v: number): number => extremeWeights[Math.floor(((v + 1) / 2) * extremeWeights.length)] as number;
    const bytes = random(depth * columns, 2).map((v) =>
      c.extreme ? picked(v) : Math.round(v * 127) + (c.signed ? 0 : 128),
    );
    const weights = c.signed ? Int8Array.from(bytes) : Uint8Array.from(bytes);
    const count = c.perColumn ? columns : 1;
    const scale = random(count, 3).map((v) => 0.01 * (1.5 + v));
    const zeroNumbers = random(count, 4).map((v) => Math.round(v * 100) + (c.signed ? 0 : 128));
    const zero = c.zeros ? (c.signed ? Int8Array.from(zeroNumbers) : Uint8Array.from(zeroNumbers)) : null;
    const bias = c.extras ? random(columns, 5) : null;
    const residual = c.extras ? random(rows * columns, 6) : null;
    const b = pack(isa, 'pack.matmul.bytes', [weights, scale, zero], {
      ...{ depth, columns, signed: Number(c.signed ?? false), scales: count, zeros: zero ? count : 0 },
    });
    const all = quantized(x);
    for (const parts of [1, 3]) {
      const q = new Uint8Array(rowBytes(rows, depth));
      const ranges = new Float32Array(2 * rows);
      run(isa, 'range.rows', [x, ranges], { rows, depth }, parts);
      run(isa, 'quantize.rows', [x, ranges, q], { rows, depth }, parts);
      const y = new Float32Array(rows * columns).fill(Number.NaN);
      const params = { rows, depth, columns, activation: 1, alpha: 0, beta: 0 };
      run(isa, 'matmul.bytes', [q, b, bias, residual, y], params, parts);
      for (let r = 0; r < rows; r++) {
        const row = all.subarray(r * depth, (r + 1) * depth);
        for (let n = 0; n < columns; n++) {
          const at = c.perColumn ? n : 0;
          let sum = 0;
          row.forEach((v, k) => {
            sum += v * (weights[k * columns + n] - (zero?.[at] ?? 0)) * scale[at];
          });
          const want = Math.max(0, sum + (bias?.[n] ?? 0) + (residual?.[r * columns + n] ?? 0));
          expect(y[r * columns + n], `row ${r}, column ${n}`).toBeCloseTo(want, 3);
        }
      }
    }
  });

  test('a row of one value, and refusals', () => {
    for (const value of [0, 2.5, -2.5]) {
      const q = new Uint8Array(rowBytes(1, 5));
      const x = new Float32Array(5).fill(value);
      run(isa, 'quantize.rows', [x, Float32Array.of(Math.min(value, 0), Math.max(value, 0)), q], { rows: 1, depth: 5 });
      const [scale] = new Float32Array(q.buffer, 64, 1);
      const [, zero] = new Int32Array(q.buffer, 64, 2);
      expect(scale * (q[4] - zero)).toBeCloseTo(value, 6);
    }
    expect(() =>
      run(isa, 'quantize.rows', [new Float32Array(4), new Float32Array(2), new Uint8Array(79)], { rows: 1, depth: 4 }),
    ).toThrow(/y is smaller/);
    const call = { rows: 1, depth: 4, columns: 2, activation: 0, alpha: 0, beta: 0 };
    const b = pack(isa, 'pack.matmul.bytes', [new Uint8Array(8), Float32Array.of(1), null], {
      ...{ depth: 4, columns: 2, signed: 0, scales: 1, zeros: 0 },
    });
    const operands = [new Uint8Array(80), b, null, null, new Float32Array(2)];
    expect(() => run(isa, 'matmul.bytes', operands, { ...call, columns: 200 })).toThrow(/weights are smaller/);
    expect(() => run(isa, 'matmul.bytes', operands, { ...call, rows: 2 })).toThrow(/x is smaller/);
    expect(() => run(isa, 'matmul.bytes', operands, { ...call, depth: -1 })).toThrow(/out of range/);
  });
});

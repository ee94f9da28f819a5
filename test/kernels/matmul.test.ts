import { describe, expect, test } from 'vitest';
import { isas, pack, random, run } from './harness.ts';

interface Case {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  readonly matrices?: number;
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly alpha?: number;
}

const sizes = [1, 2, 13, 14, 15, 29];
const cases: Case[] = [
  ...sizes.flatMap((rows) => [1, 15, 16, 17, 31, 32, 33, 70].map((columns) => ({ rows, depth: 7, columns }))),
  { rows: 0, depth: 3, columns: 5 },
  { rows: 3, depth: 0, columns: 5, bias: true },
  { rows: 3, depth: 4, columns: 0 },
  { rows: 20, depth: 130, columns: 40, matrices: 3, bias: true, residual: true, alpha: 0.5 },
  // Around stretches of the depth, chunks of rows, slabs with rows whose addresses alias, and groups of panels.
  ...[223, 224, 225, 449].map((depth) => ({ rows: 30, depth, columns: 40, matrices: 2, bias: true, residual: true })),
  { rows: 14, depth: 449, columns: 33 },
  { rows: 253, depth: 226, columns: 33, residual: true, alpha: 0.5 },
  { rows: 507, depth: 1024, columns: 17, bias: true },
  { rows: 200, depth: 2048, columns: 71, bias: true, residual: true },
  { rows: 252, depth: 800, columns: 540, residual: true },
];

/** The largest difference, in units of what sums of this depth may be off by. */
function worst(y: Float32Array, expected: Float64Array, depth: number): number {
  const unit = 5e-5 * Math.max(1, depth / 256);
  return y.reduce((most, value, i) => {
    const off = Math.abs(value - expected[i]) / unit;
    return off <= most ? most : Number.isNaN(off) ? Number.POSITIVE_INFINITY : off;
  }, 0);
}

function reference(c: Case, a: Float32Array, b: Float32Array, bias: Float32Array | null, z: Float32Array | null) {
  const { rows, depth, columns, matrices = 1, alpha = 1 } = c;
  return Float64Array.from({ length: matrices * rows * columns }, (_, at) => {
    const i = Math.floor(at / (rows * columns));
    const r = Math.floor(at / columns) % rows;
    let sum = 0;
    for (let k = 0; k < depth; k++)
      sum += a[(i * rows + r) * depth + k] * b[(i * depth + k) * columns + (at % columns)];
    const value = alpha * sum + (bias?.[at % columns] ?? 0) + (z?.[at] ?? 0);
    return Math.max(0, value);
  });
}

describe.each(isas)('matmul.f32 on %s', (isa) => {
  test.each(cases)('$rows x $depth x $columns', (c) => {
    const { rows, depth, columns, matrices = 1 } = c;
    const a = random(matrices * rows * depth, 1);
    const b = random(matrices * depth * columns, 2);
    const bias = c.bias ? random(columns, 3) : null;
    const z = c.residual ? random(matrices * rows * columns, 4) : null;
    const expected = reference(c, a, b, bias, z);
    const offsets = (size: number): number[] => Array.from({ length: matrices }, (_, i) => i * size);
    const params = {
      ...{ rows, depth, columns, stride_a: depth, stride_b: columns, packed_b: 0, alpha: c.alpha ?? 1 },
      ...{ activation: 1, activation_alpha: 0, activation_beta: 0 },
      a_offsets: offsets(rows * depth),
      b_offsets: offsets(depth * columns),
    };
    for (const parts of [1, 3]) {
      const y = new Float32Array(expected.length).fill(Number.NaN);
      run(isa, 'matmul.f32', [a, b, bias, z, y], params, parts);
      expect(worst(y, expected, depth)).toBeLessThan(1);
    }
    if (matrices > 1) return;
    for (const transposed of [0, 1]) {
      const source = transposed
        ? Float32Array.from({ length: b.length }, (_, i) => b[(i % depth) * columns + Math.floor(i / depth)])
        : b;
      const packing = pack(isa, 'pack.matmul.f32', [source], { depth, columns, transposed, type: 1 });
      const y = new Float32Array(expected.length).fill(Number.NaN);
      run(isa, 'matmul.f32', [a, packing, bias, z, y], { ...params, packed_b: 1 }, 2);
      expect(worst(y, expected, depth)).toBeLessThan(1);
    }
  });
});

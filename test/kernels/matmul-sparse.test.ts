import { describe, expect, test } from 'vitest';
import { isas, pack, random, run, sparseWeights } from './harness.ts';

interface Case {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  readonly density: number;
  readonly bias?: boolean;
  readonly residual?: boolean;
}

const sizes = [1, 2, 7, 15, 16, 17, 33];
const cases: Case[] = [
  ...sizes.flatMap((rows) => [1, 15, 16, 17, 40].map((columns) => ({ rows, depth: 23, columns, density: 0.3 }))),
  ...[0, 1, 2, 3, 4, 5, 9].map((depth) => ({ rows: 1, depth, columns: 18, density: 1, bias: true })),
  { rows: 0, depth: 3, columns: 5, density: 1 },
  { rows: 3, depth: 4, columns: 0, density: 1 },
  { rows: 1, depth: 50, columns: 20, density: 0, bias: true },
  { rows: 1, depth: 200, columns: 70, density: 0.1, bias: true, residual: true },
  { rows: 5, depth: 200, columns: 70, density: 0.1, bias: true, residual: true },
  // Columns need more than 16 bits.
  { rows: 1, depth: 70_000, columns: 3, density: 0.01 },
  { rows: 2, depth: 70_000, columns: 3, density: 0.01 },
];

function reference(c: Case, x: Float32Array, w: Float32Array, bias: Float32Array | null, z: Float32Array | null) {
  const { rows, depth, columns } = c;
  return Float64Array.from({ length: rows * columns }, (_, at) => {
    const [r, column] = [Math.floor(at / columns), at % columns];
    let sum = bias?.[column] ?? 0;
    for (let k = 0; k < depth; k++) sum += x[r * depth + k] * w[k * columns + column];
    return Math.max(0, sum + (z?.[at] ?? 0));
  });
}

describe.each(isas)('matmul.sparse.f32 on %s', (isa) => {
  test.each(cases)('$rows x $depth x $columns, density $density', (c) => {
    const { rows, depth, columns, density } = c;
    const x = random(rows * depth, 1);
    const w = sparseWeights(depth * columns, density, 2);
    const bias = c.bias ? random(columns, 3) : null;
    const z = c.residual ? random(rows * columns, 4) : null;
    const expected = reference(c, x, w, bias, z);
    const turned = Float32Array.from({ length: w.length }, (_, i) => w[(i % depth) * columns + Math.floor(i / depth)]);
    for (const transposed of [0, 1]) {
      const packing = pack(isa, 'pack.matmul.sparse.f32', [transposed ? turned : w], { depth, columns, transposed });
      for (const parts of [1, 3]) {
        const y = new Float32Array(expected.length).fill(Number.NaN);
        const params = { rows, depth, columns, activation: 1, alpha: 0, beta: 0, density };
        run(isa, 'matmul.sparse.f32', [x, packing, bias, z, y], params, parts);
        y.forEach((value, i) => {
          expect(value).toBeCloseTo(expected[i], 4);
        });
      }
    }
  });

  test('refuses the packing of another product', () => {
    const packing = pack(isa, 'pack.matmul.sparse.f32', [random(12)], { depth: 3, columns: 4, transposed: 0 });
    const params = { rows: 1, depth: 4, columns: 3, activation: 0, alpha: 0, beta: 0, density: 1 };
    expect(() => run(isa, 'matmul.sparse.f32', [random(4), packing, null, null, new Float32Array(3)], params)).toThrow(
      /another product/,
    );
  });
});

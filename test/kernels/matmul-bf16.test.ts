import { describe, expect, test } from 'vitest';
import { floatEncoder } from '../../lib/ir/float.ts';
import { bf16Isas, roundToBf16 } from './bf16.ts';
import { pack, random, run } from './harness.ts';
import { difference } from './segment-maps.ts';

interface Case {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  readonly matrices?: number;
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly alpha?: number;
}

const cases: Case[] = [
  ...[1, 2, 13, 14, 15, 16, 17, 29, 31, 32, 33, 65].flatMap((rows) =>
    [1, 15, 16, 17, 31, 32, 33, 70].map((columns) => ({ rows, depth: 7, columns })),
  ),
  ...[1, 2, 31, 32, 33, 63, 64, 65, 300].map((depth) => ({ rows: 18, depth, columns: 40, bias: true })),
  { rows: 0, depth: 3, columns: 5 },
  { rows: 3, depth: 0, columns: 5, bias: true },
  { rows: 3, depth: 4, columns: 0 },
  { rows: 20, depth: 130, columns: 40, matrices: 3, bias: true, residual: true, alpha: 0.5 },
  { rows: 5, depth: 33, columns: 33, matrices: 4, residual: true },
];

const toBf16 = floatEncoder('bfloat16')!;

const words = (depth: number): number => Math.ceil(depth / 32) * 16;

function reference(c: Case, a: Float32Array, b: Float32Array, bias: Float32Array | null, z: Float32Array | null) {
  const { rows, depth, columns, matrices = 1, alpha = 1 } = c;
  return Float64Array.from({ length: matrices * rows * columns }, (_, at) => {
    const i = Math.floor(at / (rows * columns));
    const r = Math.floor(at / columns) % rows;
    // Matrices of b are taken in the opposite order.
    const from = (matrices - 1 - i) * depth * columns + (at % columns);
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += a[(i * rows + r) * depth + k]! * b[from + k * columns]!;
    return Math.max(0, alpha * sum + (bias?.[at % columns] ?? 0) + (z?.[at] ?? 0));
  });
}

/** Rows of pairs as the kernel reads them; what lies behind them is no number. */
function pairRows(isa: string, x: Float32Array, rows: number, depth: number, parts: number): Uint32Array {
  const y = new Uint32Array((rows + 15) * words(depth)).fill(0x7fc07fc0);
  run(isa, 'rows.bf16', [x, y], { rows, depth }, parts);
  return y;
}

test.skipIf(bf16Isas.length > 0)('no instruction set here has products of bfloat16', () => {
  expect(() => run('portable', 'matmul.bf16', [], {})).toThrow('matmul.bf16');
});

describe.each(bf16Isas)('matmul.bf16 on %s', (isa) => {
  test.each(cases)('%j', (c) => {
    const { rows, depth, columns, matrices = 1 } = c;
    const a = random(matrices * rows * depth, 1);
    const b = random(matrices * depth * columns, 2);
    const bias = c.bias ? random(columns, 3) : null;
    const z = c.residual ? random(matrices * rows * columns, 4) : null;
    const expected = reference(c, roundToBf16(a), roundToBf16(b), bias, z);
    const order = Array.from({ length: matrices }, (_, i) => i);
    const params = {
      ...{ rows, depth, columns, alpha: c.alpha ?? 1, activation: 1, activation_alpha: 0, activation_beta: 0 },
      ...{ a_matrices: order, b_matrices: order.toReversed() },
    };
    // Sums of `depth` terms below 1, rounded to float32 after each.
    const tolerance = Math.max(1e-6, depth * 2 ** -24 * 4);
    for (const parts of [1, 3]) {
      const pairs = pairRows(isa, a, matrices * rows, depth, parts);
      const panels = new Uint32Array(matrices * Math.ceil(columns / 32) * words(depth) * 32).fill(0x7fc07fc0);
      run(isa, 'panels.bf16', [b, panels], { matrices, depth, columns }, parts);
      const y = new Float32Array(expected.length).fill(Number.NaN);
      run(isa, 'matmul.bf16', [pairs, panels, bias, z, y], params, parts);
      expect(difference(y, expected, tolerance)).toBeUndefined();
    }
    if (matrices > 1) return;
    const pairs = pairRows(isa, a, rows, depth, 1);
    for (const transposed of [0, 1]) {
      const source = transposed
        ? Float32Array.from({ length: b.length }, (_, i) => b[(i % depth) * columns + Math.floor(i / depth)]!)
        : b;
      const packing = pack(isa, 'pack.matmul.bf16', [source], { depth, columns, transposed, type: 1 });
      const y = new Float32Array(expected.length).fill(Number.NaN);
      run(isa, 'matmul.bf16', [pairs, packing, bias, z, y], params, 2);
      expect(difference(y, expected, tolerance)).toBeUndefined();
    }
  });

  test('weights of bfloat16 are taken as they are', () => {
    const bits = Uint16Array.from(random(5 * 3, 2), toBf16);
    const packing = pack(isa, 'pack.matmul.bf16', [bits], { depth: 5, columns: 3, transposed: 0, type: 16 });
    const y = new Float32Array(3);
    const pairs = pairRows(isa, Float32Array.of(0, 0, 0, 1, 0), 1, 5, 1);
    const sizes = { rows: 1, depth: 5, columns: 3, alpha: 1, activation: 0, activation_alpha: 0, activation_beta: 0 };
    run(isa, 'matmul.bf16', [pairs, packing, null, null, y], { ...sizes, a_matrices: [0], b_matrices: [0] });
    expect([...y].map(toBf16)).toEqual([...bits.subarray(9, 12)]);
  });

  test('rounds to nearest even, keeps infinities and what is no number, and takes denormals for zeros', () => {
    const [tie, odd] = [1 + 2 ** -8, 1 + 3 * 2 ** -8];
    const x = Float32Array.of(tie, odd, -tie, 1 + 2 ** -8 + 2 ** -20, Infinity, -Infinity, NaN, 1e-40, -0, 3.4e38);
    const pairs = pairRows(isa, x, 1, x.length, 1);
    const seen = new Uint16Array(pairs.buffer, 0, x.length);
    const wanted = [0x3f80, 0x3f82, 0xbf80, 0x3f81, 0x7f80, 0xff80, 0x7fc0, 0, 0x8000, 0x7f80];
    expect([...seen]).toEqual(wanted);
    expect([...new Uint16Array(pairs.buffer, 2 * x.length, 32 - x.length)].every((bits) => bits === 0)).toBe(true);
  });

  test('refuses operands that are too small', () => {
    const sizes = { rows: 2, depth: 3, columns: 4, alpha: 1, activation: 0, activation_alpha: 0, activation_beta: 0 };
    const call = { ...sizes, a_matrices: [0], b_matrices: [0] };
    const [a, b, y] = [new Uint32Array(17 * 16), new Uint32Array(16 * 32), new Float32Array(8)];
    run(isa, 'matmul.bf16', [a, b, null, null, y], call);
    expect(() => run(isa, 'matmul.bf16', [a, b, null, null, y], { ...call, rows: 3 })).toThrow(/a is smaller/);
    expect(() => run(isa, 'matmul.bf16', [a, b, null, null, y], { ...call, b_matrices: [1] })).toThrow(/b is smaller/);
    expect(() => run(isa, 'matmul.bf16', [a, b, null, null, y.subarray(1)], call)).toThrow(/y is smaller/);
    expect(() => run(isa, 'matmul.bf16', [a, b, new Float32Array(3), null, y], call)).toThrow(/bias is smaller/);
    expect(() => run(isa, 'matmul.bf16', [a, b, null, null, y], { ...call, a_matrices: [0, 0] })).toThrow(/as many/);
    expect(() => run(isa, 'matmul.bf16', [a, b, null, null, y], { ...call, depth: -1 })).toThrow(/out of range/);
    expect(() => run(isa, 'rows.bf16', [y, a], { rows: 3, depth: 3 })).toThrow(/x is smaller/);
    expect(() => run(isa, 'panels.bf16', [y, b], { matrices: 2, depth: 2, columns: 2 })).toThrow(/y is smaller/);
  });
});

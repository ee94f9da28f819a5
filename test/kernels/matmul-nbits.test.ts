import { describe, expect, test } from 'vitest';
import { roundHalfEven } from '../../lib/ops/special-functions.ts';
import { isas, pack, random, run } from './harness.ts';

interface Case {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly bits: 2 | 4 | 8;
  readonly block: number;
  /** 0 half the range, 1 packed, 2 floats. */
  readonly zeros: 0 | 1 | 2;
}

const cases: Case[] = [
  ...[1, 2, 3, 4, 5, 8, 9].map((rows): Case => ({ rows, columns: 37, depth: 40, bits: 4, block: 16, zeros: 1 })),
  ...[1, 7, 8, 9, 16, 17, 31, 33].map((columns): Case => {
    return { rows: 1, columns, depth: 32, bits: 8, block: 32, zeros: 0 };
  }),
  ...[1, 5, 8, 11, 17, 64, 65].flatMap((depth): Case[] => [
    { rows: 1, columns: 18, depth, bits: 4, block: 32, zeros: 0 },
    { rows: 2, columns: 18, depth, bits: 8, block: 16, zeros: 1 },
  ]),
  { rows: 1, columns: 19, depth: 40, bits: 4, block: 16, zeros: 2 },
  { rows: 1, columns: 19, depth: 40, bits: 2, block: 16, zeros: 1 },
  { rows: 3, columns: 19, depth: 90, bits: 2, block: 64, zeros: 0 },
  { rows: 3, columns: 70, depth: 260, bits: 8, block: 128, zeros: 1 },
  { rows: 2, columns: 19, depth: 40, bits: 8, block: 16, zeros: 2 },
  // More rows than stay cached while all panels pass.
  { rows: 70, columns: 33, depth: 4000, bits: 4, block: 32, zeros: 1 },
  // Tiles of rows: their edges, and depths that end within a word, a block and a chunk.
  ...[32, 63, 64, 65, 131].flatMap((rows): Case[] => [
    { rows, columns: 37, depth: 133, bits: 4, block: 32, zeros: 1 },
    { rows, columns: 5, depth: 128, bits: 8, block: 256, zeros: 0 },
    { rows, columns: 33, depth: 17, bits: 2, block: 16, zeros: 2 },
  ]),
  { rows: 0, columns: 4, depth: 16, bits: 4, block: 16, zeros: 0 },
];

/** Levels of one row's block of 8 bits. */
function rounded(x: Float32Array): { scale: number; levels: number[] } {
  const most = x.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const scale = Math.fround(most / 127);
  const inverse = Math.fround(127 / most);
  return { scale, levels: Array.from(x, (value) => (scale ? roundHalfEven(Math.fround(value * inverse)) : 0)) };
}

/** Rows as the products see them: as they are, or with their blocks rounded to 8 bits. */
function seen(x: Float32Array, { depth, block }: Case, kind: string): Float64Array {
  const out = Float64Array.from(x);
  if (kind === 'f32') return out;
  for (let at = 0; at < x.length; at += block - Math.max(0, (at % depth) + block - depth)) {
    const end = Math.min(at + block, at - (at % depth) + depth);
    const { scale, levels } = rounded(x.subarray(at, end));
    out.set(
      levels.map((level) => level * scale),
      at,
    );
  }
  return out;
}

/** The table of levels, which only float32 rows have. */
const noTable = (kind: 'f32' | 's8'): Readonly<Record<string, number>> => (kind === 'f32' ? { table: 0 } : {});

function check(isa: string, kind: 'f32' | 's8', c: Case): void {
  const { rows, columns, depth, bits, block, zeros } = c;
  const blocks = Math.ceil(depth / block);
  const byte = (x: number): number => Math.floor((x + 1) * 128);
  const levels = Uint8Array.from(random((columns * blocks * block * bits) / 8, 2), byte);
  const scales = random(columns * blocks, 3);
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const packedPoints = Uint8Array.from(random(columns * zeroBytes, 4), byte);
  const floatPoints = random(columns * blocks, 4).map((p) => p * 2 ** bits);
  const points = [null, packedPoints, floatPoints][zeros];
  const x = random(rows * depth, 1);
  const bias = random(columns, 5);
  const field = (from: Uint8Array, at: number, i: number): number =>
    (from[at + Math.floor((i * bits) / 8)] >> ((i * bits) % 8)) & (2 ** bits - 1);
  const sizes = { columns, depth, bits, block, zeros };
  const packing = pack(isa, `pack.matmul.nbits.${kind}`, [levels, scales, points], {
    ...sizes,
    ...noTable(kind),
    scale_type: 1,
  });
  const stored = kind === 'f32' ? x : new Uint8Array(rows * blocks * (block + 8));
  const xs = seen(x, c, kind);
  // The weights, and how large the numbers are that make them.
  const [weights, sizesOf] = [new Float64Array(columns * depth), new Float64Array(columns * depth)];
  for (let i = 0; i < weights.length; i++) {
    const [n, k] = [Math.floor(i / depth), i % depth];
    const b = Math.floor(k / block);
    const level = field(levels, (n * blocks * block * bits) / 8, k);
    const zero = [2 ** (bits - 1), field(packedPoints, n * zeroBytes, b), floatPoints[n * blocks + b]][zeros];
    weights[i] = (level - zero) * scales[n * blocks + b];
    sizesOf[i] = (level + Math.abs(zero)) * Math.abs(scales[n * blocks + b]);
  }
  const [want, bound] = [new Float64Array(rows * columns), new Float64Array(rows * columns)];
  for (let i = 0; i < want.length; i++) {
    const [row, n] = [Math.floor(i / columns), i % columns];
    let [sum, size] = [bias[n], 1];
    for (let k = 0; k < depth; k++) {
      sum += xs[row * depth + k] * weights[n * depth + k];
      size += Math.abs(xs[row * depth + k]) * sizesOf[n * depth + k];
    }
    want[i] = sum;
    bound[i] = 1e-6 * size;
  }
  for (const parts of [1, 3]) {
    if (kind === 's8') run(isa, 'quantize.blocks.s8', [x, stored], { rows, depth, block }, parts);
    const y = new Float32Array(rows * columns).fill(77);
    run(isa, `matmul.nbits.${kind}`, [stored, packing, bias, y], { rows, ...sizes, ...noTable(kind) }, parts);
    const wrong = y.findIndex((value, i) => !(Math.abs(value - want[i]) < bound[i]));
    expect(wrong, `${kind} ${JSON.stringify(c)}: ${y[wrong]} is not ${want[wrong]}`).toBe(-1);
  }
}

describe.each(isas)('weights in blocks on %s', (isa) => {
  test('products', () => {
    for (const c of cases) for (const kind of ['f32', 's8'] as const) check(isa, kind, c);
  });

  test('rows of a table', () => {
    const [rows, lines, length, block] = [3, 2, 20, 16];
    const levels = Uint8Array.from(random((rows * lines * length) / 2, 1), (v) => (v + 1) * 128);
    const scales = random(rows * lines * 2, 2);
    const zeros = Uint8Array.from(random((rows * lines * 4) / 2, 3), (v) => (v + 1) * 128);
    const indices = Int32Array.of(2, -3, 3, 0, 1);
    const params = {
      ...{ rows, lines, length, count: 5, index_bytes: 4, bits: 4, signed: 0, block, scale_type: 1 },
      ...{ centre: 8, zero_fields: 4 },
    };
    const nibble = (x: Uint8Array, i: number): number => (x[i >> 1] >> ((i % 2) * 4)) & 15;
    for (const parts of [1, 3]) {
      const y = new Float32Array(5 * lines * length).fill(77);
      run(isa, 'gather.nbits.f32', [levels, indices, scales, zeros, y], params, parts);
      y.forEach((value, i) => {
        const index = indices[Math.floor(i / (lines * length))];
        const line = ((index + rows) % rows) * lines + (Math.floor(i / length) % lines);
        const [k, b] = [i % length, Math.floor((i % length) / block)];
        const real = (nibble(levels, line * length + k) - nibble(zeros, line * 4 + b)) * scales[line * 2 + b];
        expect(value).toBeCloseTo(index >= rows ? 0 : real, 5);
      });
    }
    const refuses = (change: object, text: RegExp): void => {
      const y = new Float32Array(5 * lines * length);
      const operands = [levels, indices, scales, zeros, y];
      expect(() => run(isa, 'gather.nbits.f32', operands, { ...params, ...change })).toThrow(text);
    };
    refuses({ count: 6 }, /indices are fewer/);
    refuses({ length: 22 }, /levels are fewer/);
    refuses({ zero_fields: 1 }, /fewer zero points/);
    refuses({ zero_fields: 6 }, /zero points are fewer/);
    refuses({ length: 19 }, /whole number of bytes/);
    refuses({ block: 2 ** 52 }, /out of range/);
  });

  test('levels that a table gives meaning', () => {
    const levels = Uint8Array.from({ length: 8 }, (_, i) => 2 * i * 16 + 2 * i + 1);
    const scale = Float32Array.of(2);
    const sizes = { columns: 1, depth: 16, bits: 4, block: 16, zeros: 0 };
    const fp4 = [0, 0.005208333, 2 / 3, 1, 1 / 3, 0.5, 1 / 6, 0.25];
    for (const [table, first, last] of [
      [1, fp4[0], -fp4[7]],
      [2, -1, 1],
    ]) {
      const packing = pack(isa, 'pack.matmul.nbits.f32', [levels, scale, null], { ...sizes, table, scale_type: 1 });
      const weights = Array.from({ length: 16 }, (_, k) => {
        const y = new Float32Array(1);
        const x = Float32Array.from({ length: 16 }, (_, i) => (i === k ? 1 : 0));
        run(isa, 'matmul.nbits.f32', [x, packing, null, y], { rows: 1, ...sizes, table });
        return y[0];
      });
      expect([weights[0], weights[15]]).toEqual([2 * first, 2 * last]);
      const signed = [...fp4, ...fp4.map((value) => -value)].map((value) => 2 * value);
      const want = table === 1 ? signed : weights.toSorted((a, b) => a - b);
      expect(weights.every((w, k) => Math.abs(w - want[k]) < 1e-5)).toBe(true);
    }
  });

  test('blocks rounded to 8 bits', () => {
    for (const depth of [1, 16, 37]) {
      const blocks = Math.ceil(depth / 16);
      const x = random(4 * depth, 7);
      x.fill(0, 0, 16);
      x[x.length - 1] = Number.NaN;
      const y = new Uint8Array(4 * blocks * 24).fill(77);
      run(isa, 'quantize.blocks.s8', [x, y], { rows: 4, depth, block: 16 }, 2);
      const view = new DataView(y.buffer);
      for (let i = 0; i < 4 * blocks; i++) {
        const at = Math.floor(i / blocks) * depth + (i % blocks) * 16;
        const length = Math.min(16, depth - (i % blocks) * 16);
        const { scale, levels } = rounded(x.subarray(at, at + length));
        const stored = Array.from({ length: 16 }, (_, j) => view.getInt8(i * 24 + 8 + j));
        const spoiled = i === 4 * blocks - 1;
        expect(view.getFloat32(i * 24, true)).toBe(spoiled ? Number.NaN : scale);
        expect(stored).toEqual(Array.from({ length: 16 }, (_, j) => (spoiled ? 0 : (levels[j] ?? 0))));
        expect(view.getInt32(i * 24 + 4, true)).toBe(stored.reduce((sum, level) => sum + level, 0));
      }
    }
  });

  test('refuses what does not fit', () => {
    const sizes = { rows: 1, columns: 4, depth: 16, bits: 4, block: 16, zeros: 0 };
    const refuses = (change: object, text: RegExp): void => {
      for (const [kind, x] of [
        ['f32', random(16)],
        ['s8', new Uint8Array(24)],
      ] as const) {
        const operands = [x, new Uint8Array(4096), null, new Float32Array(4)];
        expect(() => run(isa, `matmul.nbits.${kind}`, operands, { ...sizes, ...noTable(kind), ...change })).toThrow(
          text,
        );
      }
    };
    refuses({ block: 24 }, /power of two/);
    refuses({ bits: 5 }, /2, 4 or 8/);
    refuses({ zeros: 3 }, /zeros is/);
    refuses({ rows: 2 }, /x is smaller/);
    refuses({ columns: 5 }, /y is smaller/);
    refuses({ depth: 2 ** 40 }, /out of range/);
  });
});

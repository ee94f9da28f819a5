import { describe, expect, test } from 'vitest';
import { isas, pack, random, run } from './harness.ts';

interface Case {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly bits: 4 | 8;
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
  { rows: 2, columns: 19, depth: 40, bits: 8, block: 16, zeros: 2 },
  { rows: 0, columns: 4, depth: 16, bits: 4, block: 16, zeros: 0 },
];

function check(isa: string, c: Case): void {
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
    bits === 8 ? from[at + i] : (from[at + (i >> 1)] >> ((i % 2) * 4)) & 15;
  const packing = pack(isa, 'pack.matmul.nbits.f32', [levels, scales, points], {
    ...{ columns, depth, bits, block, zeros },
    scale_type: 1,
  });
  for (const parts of [1, 3]) {
    const y = new Float32Array(rows * columns).fill(77);
    run(isa, 'matmul.nbits.f32', [x, packing, bias, y], { rows, columns, depth, bits, block, zeros }, parts);
    y.forEach((value, i) => {
      const [row, n] = [Math.floor(i / columns), i % columns];
      let [sum, size] = [bias[n], 1];
      for (let k = 0; k < depth; k++) {
        const b = Math.floor(k / block);
        const level = field(levels, (n * blocks * block * bits) / 8, k);
        const zero = [2 ** (bits - 1), field(packedPoints, n * zeroBytes, b), floatPoints[n * blocks + b]][zeros];
        const term = x[row * depth + k] * scales[n * blocks + b] * (level - zero);
        sum += term;
        size += Math.abs(term);
      }
      expect(Math.abs(value - sum), `${JSON.stringify(c)}: element ${i}`).toBeLessThan(2e-6 * size);
    });
  }
}

describe.each(isas)('matmul.nbits.f32 on %s', (isa) => {
  test('products', () => {
    for (const c of cases) check(isa, c);
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

  test('rounds blocks to 8 bits', () => {
    for (const depth of [1, 16, 37]) {
      const x = random(3 * depth, 7);
      x.fill(0, 0, 16);
      const y = new Float32Array(x.length).fill(77);
      run(isa, 'round.blocks.f32', [x, y], { rows: 3, depth, block: 16 }, 2);
      y.forEach((value, i) => {
        const start = i - ((i % depth) % 16);
        const end = Math.min(start + 16, i - (i % depth) + depth);
        const most = Math.max(...x.subarray(start, end).map(Math.abs));
        const levels = most ? (value / most) * 127 : 0;
        expect(Math.abs(levels - Math.round(levels))).toBeLessThan(1e-4);
        expect(Math.abs(value - x[i])).toBeLessThanOrEqual(most / 253.9);
      });
    }
  });

  test('refuses what does not fit', () => {
    const sizes = { rows: 1, columns: 4, depth: 16, bits: 4, block: 16, zeros: 0 };
    const refuses = (change: object, text: RegExp): void => {
      const operands = [random(16), new Uint8Array(4096), null, new Float32Array(4)];
      expect(() => run(isa, 'matmul.nbits.f32', operands, { ...sizes, ...change })).toThrow(text);
    };
    refuses({ block: 24 }, /power of two/);
    refuses({ bits: 5 }, /4 or 8/);
    refuses({ zeros: 3 }, /zeros is/);
    refuses({ rows: 2 }, /x is smaller/);
    refuses({ columns: 5 }, /y is smaller/);
    refuses({ depth: 2 ** 40 }, /out of range/);
  });
});

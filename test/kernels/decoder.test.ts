import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

function rotaryCase(headSize: number, half: number, interleaved: number) {
  const [batch, heads, length, rows] = [2, 3, 4, 9];
  const [x, cos, sin] = [
    random(batch * length * heads * headSize + 1, 1),
    random(rows * half, 2),
    random(rows * half, 3),
  ];
  const positions = BigInt64Array.from([5n, 0n, 1n, 2n, 3n, 4n, 0n, 5n]);
  const params = {
    ...{ batch, heads, length, head_size: headSize, half, interleaved, rows, type: 1 },
    ...{ base: 1, per_batch: -1, per_token: 1, wide: 1, position_batch: length, position_token: 1 },
    x: [length * heads * headSize, headSize, heads * headSize, 1],
    y: [heads * length * headSize, length * headSize, headSize, 0],
  };
  const want = new Float64Array(batch * heads * length * headSize);
  for (let i = 0; i < want.length; i++) {
    const [d, t] = [i % headSize, Math.floor(i / headSize) % length];
    const h = Math.floor(i / headSize / length) % heads;
    const b = Math.floor(i / headSize / length / heads);
    const at = 1 + ((b * length + t) * heads + h) * headSize;
    const row = 1 - b + t + Number(positions[b * length + t]);
    const first = interleaved ? d % 2 === 0 : d < half;
    const pair = interleaved ? d >> 1 : d % half;
    const other = interleaved ? (first ? d + 1 : d - 1) : first ? d + half : d - half;
    const [c, s] = [cos[row * half + pair], sin[row * half + pair]];
    want[i] = d >= 2 * half ? x[at + d] : x[at + d] * c + (first ? -s : s) * x[at + other];
  }
  return { x, cos, sin, positions, params, want };
}

function appendCase(lengths: readonly number[], length: number, prompt: boolean) {
  const [batch, heads, capacity, kept, row] = [lengths.length, 2, 7, 9, 3];
  const bytes = (count: number, seed: number): Uint8Array => Uint8Array.from(random(count, seed), (v) => (v + 1) * 127);
  const past = bytes(batch * heads * capacity * row, 1);
  const fresh = bytes(batch * length * heads * row, 2);
  const params = {
    ...{ batch, heads, capacity, length, kept, row_bytes: row, total: 8, prompt },
    fresh: [length * heads * row, row, heads * row, 0],
  };
  const want = new Uint8Array(batch * heads * kept * row);
  for (let i = 0; i < want.length; i++) {
    const [at, j] = [i % row, Math.floor(i / row) % kept];
    const bh = Math.floor(i / row / kept);
    const [b, h] = [Math.floor(bh / heads), bh % heads];
    const seen = prompt ? 0 : lengths[b] - length;
    if (j < seen) want[i] = past[(bh * capacity + j) * row + at];
    else if (j < seen + length) want[i] = fresh[((b * length + j - seen) * heads + h) * row + at];
  }
  return { past, fresh, last: Int32Array.from(lengths, (n) => n - 1), params, want };
}

describe.each(isas)('a decoder step on %s', (isa) => {
  test('rotary.f32', () => {
    for (const half of [0, 1, 3, 4, 5, 8, 15, 16, 17, 33]) {
      for (const interleaved of [0, 1]) {
        const { x, cos, sin, positions, params, want } = rotaryCase(2 * half + (half % 2), half, interleaved);
        for (const parts of [1, 3]) {
          const y = new Float32Array(want.length).fill(77);
          run(isa, 'rotary.f32', [x, cos, sin, positions, y], params, parts);
          y.forEach((value, i) => {
            expect(Math.abs(value - want[i]), `half ${half}, element ${i}`).toBeLessThan(1e-6);
          });
        }
      }
    }
  });

  test('rotary.f32 refuses what does not fit', () => {
    const { x, cos, sin, positions, params, want } = rotaryCase(8, 4, 0);
    const refuses = (change: object, text: RegExp): void => {
      const y = new Float32Array(want.length);
      expect(() => run(isa, 'rotary.f32', [x, cos, sin, positions, y], { ...params, ...change })).toThrow(text);
    };
    refuses({ half: 5 }, /more pairs/);
    refuses({ rows: 10 }, /cosines are fewer/);
    refuses({ rows: 8 }, /outside the caches/);
    refuses({ base: -4 }, /outside the caches/);
    refuses({ position_batch: 2 ** 52 }, /positions are fewer/);
    refuses({ type: 11 }, /no such type/);
    refuses({ x: [96, 8, 24, 2] }, /x is smaller/);
    refuses({ batch: 2 ** 40 }, /out of range/);
  });

  test('kv.append', () => {
    const cases = [
      appendCase([8], 1, false),
      appendCase([4, 8, 2], 2, false),
      appendCase([3, 5], 5, true),
      appendCase([1], 1, false),
    ];
    for (const { past, fresh, last, params, want } of cases) {
      for (const parts of [1, 3]) {
        const y = new Uint8Array(want.length).fill(77);
        run(isa, 'kv.append', [past, fresh, last, y], params, parts);
        expect(y).toEqual(want);
      }
    }
  });

  test('kv.append refuses what does not fit', () => {
    const { past, fresh, params, want } = appendCase([8], 1, false);
    const refuses = (last: number, change: object, text: RegExp): void => {
      const operands = [past, fresh, Int32Array.of(last), new Uint8Array(want.length)];
      expect(() => run(isa, 'kv.append', operands, { ...params, ...change })).toThrow(text);
    };
    refuses(8, {}, /does not fit/);
    refuses(-1, {}, /does not fit/);
    refuses(-(2 ** 31), { prompt: 1 }, /does not fit/);
    refuses(7, { kept: 6 }, /shorter/);
    refuses(7, { length: 4 }, /fresh rows are fewer/);
    refuses(7, { fresh: [1, 2 ** 52, 2 ** 52, 0] }, /fresh rows are fewer/);
  });
});

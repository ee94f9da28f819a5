import { describe, expect, test } from 'vitest';
import { place } from './attention-places.ts';
import { isas, random, run } from './harness.ts';

type Bytes = Uint8Array | Int8Array;

interface Case {
  readonly batch?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly queries: number;
  readonly keys: number;
  readonly headSize: number;
  readonly valueSize?: number;
  /** Orders of the axes in memory of q, k, v, y. */
  readonly layouts?: readonly [string, string, string, string];
  /** Which of q, k, v, weights and y are signed. */
  readonly signed?: readonly [number, number, number, number, number];
  /** Axes b, h, q, k along which the mask varies. */
  readonly mask?: string;
  /** Share of mask entries of -Infinity. */
  readonly holes?: number;
}

const turned = ['bshd', 'bshd', 'bshd', 'bshd'] as const;
const scattered = ['bhds', 'bhds', 'bhds', 'bhds'] as const;
const cases: Case[] = [
  ...[1, 2, 15, 16, 17, 31, 32, 33, 128, 130].flatMap((queries): Case[] => [
    { queries, keys: 5, headSize: 3 },
    { queries, keys: 40, headSize: 64, heads: 2, layouts: turned, mask: 'bk', holes: 0.3, batch: 2 },
    { queries, keys: 18, headSize: 33, valueSize: 70, kvHeads: 1, heads: 3, signed: [1, 1, 1, 1, 1], mask: 'hqk' },
  ]),
  ...[1, 3, 4, 5, 15, 16, 17, 63, 64, 65].flatMap((size): Case[] => [
    { queries: 18, keys: size, headSize: 9, layouts: scattered, mask: 'qk', signed: [1, 0, 1, 0, 1] },
    { queries: 18, keys: 7, headSize: size, valueSize: 12, signed: [0, 1, 0, 1, 0] },
    { queries: 3, keys: 9, headSize: 4, valueSize: size, heads: 4, kvHeads: 2, layouts: turned, mask: 'q' },
  ]),
  { queries: 20, keys: 300, headSize: 20, mask: 'qk', holes: 0.95 },
  { queries: 5, keys: 0, headSize: 4 },
  { queries: 0, keys: 3, headSize: 4 },
  { queries: 6, keys: 7, headSize: 0 },
];

function bytes(count: number, signed: number, seed: number): Bytes {
  const values = Array.from(random(count, seed), (x) => Math.floor((x + 1) * 128));
  return signed ? Int8Array.from(values, (x) => x - 128) : Uint8Array.from(values);
}

function problem(c: Case) {
  const { batch = 1, heads = 1, kvHeads = heads, queries, keys, headSize, valueSize = headSize } = c;
  const [lq, lk, lv, ly] = c.layouts ?? (['bhsd', 'bhsd', 'bhsd', 'bhsd'] as const);
  const [q, k, v, y] = [
    place([batch, heads, queries, headSize], lq),
    place([batch, kvHeads, keys, headSize], lk),
    place([batch, kvHeads, keys, valueSize], lv),
    place([batch, heads, queries, valueSize], ly),
  ];
  const varies = [...'bhqk'].map((axis, i) => (c.mask?.includes(axis) ? [batch, heads, queries, keys][i] : 1));
  const mask = place(varies, 'bhsd');
  mask.at = mask.at.map((stride, i) => (varies[i] === 1 ? 0 : stride));
  const holes = random(mask.count, 9);
  const numbers = random(mask.count, 5).map((x, i) =>
    (holes[i] + 1) / 2 < (c.holes ?? 0) ? Number.NEGATIVE_INFINITY : x,
  );
  const signed = c.signed ?? [0, 0, 0, 0, 0];
  const zeros = [117, 131, 122, 3, 128].map((z, i) => (signed[i] ? z - 128 : z));
  const low = (i: number): number => (signed[i] ? -128 : 0) - zeros[i];
  const params = {
    ...{ batch, heads, kv_heads: kvHeads, queries, keys, head_size: headSize, value_size: valueSize },
    ...{ q_signed: signed[0], k_signed: signed[1], v_signed: signed[2] },
    ...{ weights_signed: signed[3], y_signed: signed[4] },
    ...{ q_zero: zeros[0], k_zero: zeros[1], v_zero: zeros[2], weights_zero: zeros[3], y_zero: zeros[4] },
    ...{ score_factor: Math.fround(0.013 / Math.sqrt(headSize + 1)), score_low: -128, score_high: 127 },
    score_scale: Math.fround(0.031),
    ...{ weight_factor: 250, weight_low: low(3), weight_high: low(3) + 255 },
    ...{ value_factor: Math.fround(0.0051), y_low: low(4), y_high: low(4) + 255 },
    ...{ q: q.at, k: k.at, v: v.at, y: y.at, mask: mask.at },
  };
  const data = [bytes(q.count, signed[0], 1), bytes(k.count, signed[1], 2), bytes(v.count, signed[2], 3)];
  return { params, data, mask: c.mask ? numbers : null, count: y.count, signed: signed[4] };
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

const bounded = (x: number, low: number, high: number): number =>
  Number.isNaN(x) ? 0 : Math.min(high, Math.max(low, roundHalfEven(x)));

/** Results before they are rounded, and how far each may be off because a weight lies between two bytes. */
function reference(made: ReturnType<typeof problem>): { y: Float64Array; slack: Float64Array } {
  const { params: p, data, mask, count } = made;
  const [q, k, v] = data;
  const [y, slack] = [new Float64Array(count), new Float64Array(count)];
  const at = (stride: readonly number[], ...index: readonly number[]): number =>
    index.reduce((sum, i, axis) => sum + i * stride[axis], 0);
  for (let row = 0; row < p.batch * p.heads * p.queries; row++) {
    const i = row % p.queries;
    const h = Math.floor(row / p.queries) % p.heads;
    const b = Math.floor(row / p.queries / p.heads);
    const kv = Math.floor(h / (p.heads / p.kv_heads));
    const scores = Array.from({ length: p.keys }, (_, j) => {
      let sum = 0;
      for (let d = 0; d < p.head_size; d++)
        sum += (q[at(p.q, b, h, i, d)] - p.q_zero) * (k[at(p.k, b, kv, j, d)] - p.k_zero);
      const score = bounded(Math.fround(sum * p.score_factor), p.score_low, p.score_high) * p.score_scale;
      return score + (mask ? mask[at(p.mask, b, h, i, j)] : 0);
    });
    const most = Math.max(...scores);
    const raw = scores.map((score) => Math.exp(score - most));
    const total = raw.reduce((a, x) => a + x, 0);
    const scaled = raw.map((x) => (x / total) * p.weight_factor);
    const between = scaled.map((x) => Math.abs(x - Math.floor(x) - 0.5) < 1e-4);
    for (let d = 0; d < p.value_size; d++) {
      const to = at(p.y, b, h, i, d);
      scaled.forEach((x, j) => {
        const value = v[at(p.v, b, kv, j, d)] - p.v_zero;
        y[to] += bounded(x, p.weight_low, p.weight_high) * value * p.value_factor;
        if (between[j]) slack[to] += Math.abs(value) * p.value_factor;
      });
    }
  }
  return { y, slack };
}

describe.each(isas)('attention.u8 on %s', (isa) => {
  test('cases', () => {
    for (const c of cases) {
      const made = problem(c);
      const { y: want, slack } = reference(made);
      const { y_low, y_high, y_zero } = made.params;
      for (const parts of [1, 3]) {
        const y = made.signed ? new Int8Array(made.count) : new Uint8Array(made.count);
        run(isa, 'attention.u8', [...made.data, made.mask, y], made.params, parts);
        const misfit = y.findIndex((value, i) => {
          const off = slack[i] + 1e-4;
          const [low, high] = [want[i] - off, want[i] + off].map((x) => bounded(x, y_low, y_high) + y_zero);
          return !(value >= low && value <= high);
        });
        expect(misfit, `${JSON.stringify(c)}: ${y[misfit]}, not ${want[misfit]}`).toBe(-1);
      }
    }
  });

  test('a row of hidden keys alone has weights of the zero point', () => {
    const made = problem({ queries: 3, keys: 5, headSize: 4, mask: 'qk' });
    (made.mask as Float32Array).fill(Number.NEGATIVE_INFINITY, 5, 10);
    const y = new Uint8Array(made.count);
    run(isa, 'attention.u8', [...made.data, made.mask, y], made.params);
    expect([...y.subarray(4, 8)]).toEqual([128, 128, 128, 128]);
    expect([...y.subarray(0, 4)]).not.toEqual([128, 128, 128, 128]);
  });

  test('refuses zero points, factors, bounds and sizes that are none', () => {
    const made = problem({ queries: 3, keys: 5, headSize: 4 });
    const y = new Uint8Array(made.count);
    const broken = (params: Record<string, number>): (() => void) => {
      return () => run(isa, 'attention.u8', [...made.data, null, y], { ...made.params, ...params });
    };
    expect(broken({ v_zero: 256 })).toThrow(/zero point/);
    expect(broken({ score_factor: Number.NaN })).toThrow(/factor/);
    expect(broken({ y_low: 10, y_high: 3 })).toThrow(/bounds/);
    expect(broken({ keys: 6 })).toThrow(/smaller/);
    expect(broken({ keys: 1 << 20 })).toThrow(/range/);
    expect(broken({ heads: 3, kv_heads: 2 })).toThrow(/multiple/);
  });
});

import { describe, expect, test } from 'vitest';
import { place } from './attention-places.ts';
import { isas, random, run } from './harness.ts';

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
  readonly softcap?: number;
  /** Axes b, h, q, k along which the mask varies. */
  readonly mask?: string;
  readonly kind?: 'float' | 'bool' | 'int32';
  /** Share of mask entries of -Infinity. */
  readonly holes?: number;
  readonly causal?: number;
  readonly undefinedRows?: 0 | 1 | 2;
  readonly window?: number;
  /** Keys of each batch entry. */
  readonly lengths?: readonly number[];
  /** The last query sees an entry's last key. */
  readonly trailing?: boolean;
  readonly sinks?: ArrayLike<number>;
}

const bhsd = ['bhsd', 'bhsd', 'bhsd', 'bhsd'] as const;
const turned = ['bshd', 'bhds', 'bshd', 'bshd'] as const;
const cases: Case[] = [
  ...[1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33].flatMap((queries): Case[] => [
    { queries, keys: 5, headSize: 3 },
    { queries, keys: 19, headSize: 17, valueSize: 33, batch: 2, heads: 3, layouts: turned, mask: 'bhqk' },
    { queries, keys: queries + 2, headSize: 8, heads: 4, kvHeads: 2, causal: 2 },
    { queries, keys: 300, headSize: 16, causal: -1, undefinedRows: 2, mask: 'k', kind: 'int32' },
    { queries, keys: 290, headSize: 5, causal: 258, window: 9, sinks: [-1] },
    { queries, keys: 40, headSize: 6, heads: 2, batch: 2, causal: 0, window: 3, lengths: [34, 40], trailing: true },
    { queries, keys: 40, headSize: 6, causal: 0, lengths: [7], undefinedRows: 2, sinks: [2], mask: 'k' },
  ]),
  { queries: 1, keys: 1, headSize: 1 },
  ...[1, 3, 4, 5, 16, 33].flatMap((headSize): Case[] => [
    { queries: 1, keys: 7, headSize, heads: 10, kvHeads: 2, batch: 2, mask: 'hk', valueSize: 70, sinks: random(10) },
    {
      queries: 2,
      keys: 6,
      headSize,
      heads: 14,
      kvHeads: 2,
      causal: 3,
      window: 2,
      layouts: ['bshd', 'bshd', 'bshd', 'bshd'],
    },
  ]),
  { queries: 5, keys: 9, headSize: 4, heads: 2, batch: 3, lengths: [0, 9, 4], undefinedRows: 2, sinks: [0, 90] },
  { queries: 1, keys: 9, headSize: 4, heads: 2, batch: 3, lengths: [0, 9, 4], undefinedRows: 2, sinks: [0, 90] },
  { queries: 2, keys: 300, headSize: 70, valueSize: 65, mask: 'bk', batch: 2, kind: 'bool' },
  { queries: 40, keys: 600, headSize: 12, mask: 'qk', holes: 0.5, heads: 2, layouts: ['bshd', 'bshd', 'bshd', 'bhsd'] },
  ...[15, 16, 17, 40].flatMap((queries): Case[] => [
    { queries, keys: 17, headSize: 18, valueSize: 15, mask: 'hqk', heads: 2, kind: 'bool' },
    { queries, keys: 33, headSize: 16, valueSize: 16, mask: 'bqk', batch: 2, kind: 'int32' },
    { queries, keys: 31, headSize: 17, valueSize: 33, mask: 'q', layouts: ['bhds', 'bhds', 'bhds', 'bhds'] },
  ]),
  { queries: 9, keys: 520, headSize: 4, mask: 'qk', holes: 0.995, undefinedRows: 1 },
  { queries: 9, keys: 4, headSize: 4, mask: 'qk', holes: 0.8, undefinedRows: 0 },
  { queries: 2, keys: 4, headSize: 4, mask: 'bk', batch: 9, holes: 0.8, undefinedRows: 2 },
  { queries: 6, keys: 7, headSize: 5, softcap: 0.7 },
  { queries: 2, keys: 7, headSize: 5, softcap: 0.7 },
  { queries: 5, keys: 0, headSize: 4, undefinedRows: 2 },
  { queries: 0, keys: 3, headSize: 4 },
  { queries: 6, keys: 7, headSize: 0 },
];

function problem(c: Case) {
  const { batch = 1, heads = 1, kvHeads = heads, queries, keys, headSize, valueSize = headSize } = c;
  const [lq, lk, lv, ly] = c.layouts ?? bhsd;
  const q = place([batch, heads, queries, headSize], lq);
  const k = place([batch, kvHeads, keys, headSize], lk);
  const v = place([batch, kvHeads, keys, valueSize], lv);
  const y = place([batch, heads, queries, valueSize], ly);
  const varies = [...'bhqk'].map((axis, i) => (c.mask?.includes(axis) ? [batch, heads, queries, keys][i] : 1));
  const mask = place(varies, 'bhsd');
  mask.at = mask.at.map((stride, i) => (varies[i] === 1 ? 0 : stride));
  const kind = ['float', 'bool', 'int32'].indexOf(c.kind ?? 'float');
  const holes = random(mask.count, 9);
  const open = random(mask.count, 5);
  const numbers = open.map((x, i) => ((holes[i] + 1) / 2 < (c.holes ?? 0) ? Number.NEGATIVE_INFINITY : x));
  const stored = kind === 1 ? Uint8Array.from(open, (x) => (x > 0 ? 1 : 0)) : Int32Array.from(open, Math.sign);
  const params = {
    ...{ batch, heads, kv_heads: kvHeads, queries, keys, head_size: headSize, value_size: valueSize },
    ...{ causal: c.causal === undefined ? 0 : 1, causal_offset: c.causal ?? 0, mask_kind: kind },
    ...{ trailing: c.trailing ?? false, window: c.window ?? 0 },
    ...{ undefined_rows: c.undefinedRows ?? 0, scale: 1.5, softcap: c.softcap ?? 0, hidden: -3 },
    ...{ q: q.at, k: k.at, v: v.at, y: y.at, mask: mask.at },
  };
  const added = kind === 0 ? numbers : Float32Array.from(stored, (x) => (x > 0 ? 0 : -3));
  const data = { q: random(q.count, 1), k: random(k.count, 2), v: random(v.count, 3) };
  const last = c.lengths ? Int32Array.from(c.lengths, (n) => n - 1) : null;
  const sinks = c.sinks ? Float32Array.from(c.sinks) : null;
  return { params, ...data, mask: c.mask ? (kind === 0 ? numbers : stored) : null, added, last, sinks, count: y.count };
}

function reference(made: ReturnType<typeof problem>): Float64Array {
  const { params: p, q, k, v, mask, added, last, sinks, count } = made;
  const y = new Float64Array(count);
  const at = (stride: readonly number[], ...index: readonly number[]): number =>
    index.reduce((sum, i, axis) => sum + i * stride[axis], 0);
  for (let row = 0; row < p.batch * p.heads * p.queries; row++) {
    const i = row % p.queries;
    const h = Math.floor(row / p.queries) % p.heads;
    const b = Math.floor(row / p.queries / p.heads);
    const kv = Math.floor(h / (p.heads / p.kv_heads));
    const length = last ? last[b] + 1 : p.keys;
    const diagonal = i + (p.trailing ? length - p.queries : p.causal_offset);
    const sees = (j: number): boolean =>
      j < length && (!p.causal || j <= diagonal) && (!p.window || j > diagonal - p.window);
    const scores = Array.from({ length: p.keys }, (_, j) => {
      if (!sees(j)) return Number.NEGATIVE_INFINITY;
      let sum = 0;
      for (let d = 0; d < p.head_size; d++) sum += q[at(p.q, b, h, i, d)] * k[at(p.k, b, kv, j, d)];
      const score = p.scale * sum;
      return (
        (p.softcap ? p.softcap * Math.tanh(score / p.softcap) : score) + (mask ? added[at(p.mask, b, h, i, j)] : 0)
      );
    });
    const most = Math.max(...scores);
    const hidden = most === Number.NEGATIVE_INFINITY;
    const weights = scores.map((score) => Math.exp(score - most));
    const total = weights.reduce((a, w) => a + w, sinks ? Math.exp(sinks[h] - most) : 0);
    for (let d = 0; d < p.value_size; d++) {
      const sum = weights.reduce((a, w, j) => a + w * v[at(p.v, b, kv, j, d)], 0);
      y[at(p.y, b, h, i, d)] = hidden ? (p.undefined_rows ? 0 : Number.NaN) : sum / total;
    }
  }
  return y;
}

describe.each(isas)('attention.f32 on %s', (isa) => {
  test('cases', () => {
    for (const c of cases) {
      const made = problem(c);
      const want = reference(made);
      for (const parts of [1, 3]) {
        const y = new Float32Array(made.count).fill(77);
        run(isa, 'attention.f32', [made.q, made.k, made.v, made.mask, made.last, made.sinks, y], made.params, parts);
        y.forEach((value, i) => {
          const fits = Number.isNaN(want[i]) ? Number.isNaN(value) : Math.abs(value - want[i]) < 3e-6;
          expect(fits, `${JSON.stringify(c)}: element ${i} is ${value}, not ${want[i]}`).toBe(true);
        });
      }
    }
  });

  test('weights too small to count', () => {
    for (const queries of [2, 20]) {
      const made = problem({ queries, keys: 40, headSize: 4, mask: 'qk' });
      made.added.forEach((x, i) => {
        made.added[i] = x - (i % 3) * 50;
      });
      const want = reference(made);
      const y = new Float32Array(made.count);
      run(isa, 'attention.f32', [made.q, made.k, made.v, made.mask, made.last, made.sinks, y], made.params);
      y.forEach((value, i) => {
        expect(Math.abs(value - want[i])).toBeLessThan(3e-6);
      });
    }
  });

  test('a score that is not a number spoils its row only', () => {
    for (const queries of [2, 20]) {
      const made = problem({ queries, keys: 5, headSize: 4, mask: 'qk', undefinedRows: 2 });
      (made.mask as Float32Array)[7] = Number.NaN;
      const y = new Float32Array(made.count);
      run(isa, 'attention.f32', [made.q, made.k, made.v, made.mask, made.last, made.sinks, y], made.params);
      y.forEach((value, i) => {
        expect(Number.isNaN(value)).toBe(i >= 4 && i < 8);
      });
    }
  });

  test('refuses lengths beyond the keys', () => {
    const made = problem({ queries: 2, keys: 5, headSize: 4, lengths: [6] });
    const y = new Float32Array(made.count);
    expect(() => run(isa, 'attention.f32', [made.q, made.k, made.v, null, made.last, null, y], made.params)).toThrow(
      /outside the keys/,
    );
  });

  test('refuses what does not fit', () => {
    const { params, q, k, v } = problem({ queries: 4, keys: 5, headSize: 4 });
    const y = new Float32Array(16);
    const refuses = (change: object, text: RegExp): void => {
      expect(() => run(isa, 'attention.f32', [q, k, v, null, null, null, y], { ...params, ...change })).toThrow(text);
    };
    refuses({ keys: 6 }, /k is smaller/);
    refuses({ q: [16, 16, 4, 1, 1] }, /q is smaller/);
    refuses({ y: [16, 16, 2 ** 52, 1, 0] }, /y is smaller/);
    refuses({ kv_heads: 0 }, /multiple/);
    refuses({ window: 3 }, /causal/);
    refuses({ v: [1, 2, 3, 4] }, /four strides/);
  });
});

import { describe, expect, test } from 'vitest';
import { isas, pack, random, run } from './harness.ts';

interface Trees {
  readonly splits: Float32Array | Float64Array;
  readonly links: Int32Array;
  readonly roots: Int32Array;
  readonly branches: number;
  readonly leaves: number;
}

const MISSING = -0x80000000;

/** Trees of `depth` full levels, branches of all trees first, then their leaves. */
function full(trees: number, depth: number, features: number, wide: boolean): Trees {
  const [inner, outer] = [2 ** depth - 1, 2 ** depth];
  const [branches, leaves] = [trees * inner, trees * outer];
  const numbers = random(branches + leaves, 5);
  const links = new Int32Array(3 * branches);
  for (let tree = 0; tree < trees; tree++) {
    for (let i = 0; i < inner; i++) {
      const child = (k: number): number => (k < inner ? tree * inner + k : branches + tree * outer + k - inner);
      const at = tree * inner + i;
      const feature = (at * 7) % features;
      links.set([at % 3 ? feature : feature + MISSING, child(2 * i + 1), child(2 * i + 2)], 3 * at);
    }
  }
  const roots = Int32Array.from({ length: trees }, (_, tree) => (depth ? tree * inner : branches + tree));
  return { splits: wide ? Float64Array.from(numbers) : numbers, links, roots, branches, leaves };
}

function leafOf(t: Trees, root: number, x: ArrayLike<number>): number {
  let at = root;
  while (at < t.branches) {
    const feature = t.links[3 * at] as number;
    const value = x[feature & 0x7fffffff] as number;
    const below = value <= (t.splits[at] as number) || (Number.isNaN(value) && feature < 0);
    at = t.links[3 * at + (below ? 1 : 2)] as number;
  }
  return at;
}

const sizes = [0, 1, 7, 8, 9, 32, 33];

describe.each(isas)('trees on %s', (isa) => {
  test.each(['f32', 'f64'])('one vote a leaf, %s', (type) => {
    const features = 5;
    for (const [trees, depth] of [
      [1, 0],
      [1, 3],
      [7, 2],
      [8, 4],
      [9, 3],
      [25, 5],
    ] as const) {
      const t = full(trees, depth, features, type === 'f64');
      const { branches, leaves } = t;
      const counts = { branches, leaves, trees, features, targets: 1, votes: 0 };
      const packed = pack(isa, `pack.trees.${type}`, [t.splits, t.links, t.roots, null, null, null], counts);
      for (const rows of sizes) {
        const x = random(rows * features, rows + 2).map((value, i) => (i % 11 === 3 ? Number.NaN : value));
        for (const parts of new Set([1, Math.ceil(trees / 8)])) {
          const sums = new Float64Array(parts * rows).fill(7);
          const params = { rows, features, targets: 1, trees, parts, aggregate: 0, row_cost: 10 };
          run(isa, `trees.${type}`, [type === 'f64' ? Float64Array.from(x) : x, packed, sums], params, 2);
          for (let row = 0; row < rows; row++) {
            const one = x.subarray(row * features, (row + 1) * features);
            let want = 0;
            for (const root of t.roots) want += t.splits[leafOf(t, root, one)] as number;
            let got = 0;
            for (let part = 0; part < parts; part++) got += sums[part * rows + row] as number;
            expect(got).toBeCloseTo(want, 12);
          }
        }
      }
    }
  });

  test.each([0, 1, 2])('votes for several targets, aggregate %i', (aggregate) => {
    const [features, targets, trees, rows] = [3, 4, 11, 37];
    const t = full(trees, 3, features, false);
    const { branches, leaves } = t;
    const firsts = Int32Array.from({ length: leaves + 1 }, (_, leaf) => Math.floor((leaf * 5) / 3));
    const votes = firsts[leaves] as number;
    const targetsOf = Int32Array.from({ length: votes }, (_, i) => (i * 3) % (targets - 1));
    const weights = Float64Array.from(random(votes, 9));
    const counts = { branches, leaves, trees, features, targets, votes };
    const packed = pack(isa, 'pack.trees.f32', [t.splits, t.links, t.roots, firsts, targetsOf, weights], counts);
    const x = random(rows * features, 4);
    const sums = new Float64Array(rows * targets);
    run(isa, 'trees.f32', [x, packed, sums], { rows, features, targets, trees, parts: 1, aggregate, row_cost: 10 });
    const unset = [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][aggregate] as number;
    const join = [(a: number, b: number) => a + b, Math.min, Math.max][aggregate] as (a: number, b: number) => number;
    for (let row = 0; row < rows; row++) {
      const want = new Float64Array(targets).fill(unset);
      for (const root of t.roots) {
        const leaf = leafOf(t, root, x.subarray(row * features, (row + 1) * features)) - branches;
        for (let v = firsts[leaf] as number; v < (firsts[leaf + 1] as number); v++) {
          const target = targetsOf[v] as number;
          want[target] = join(want[target] as number, weights[v] as number);
        }
      }
      expect(sums.subarray(row * targets, (row + 1) * targets)).toEqual(want);
    }
  });

  test('refuses nodes that lead backwards, nowhere, or to no feature', () => {
    const t = full(1, 2, 2, false);
    const counts = { branches: 3, leaves: 4, trees: 1, features: 2, targets: 1, votes: 0 };
    const attempt = (at: number, value: number) => () => {
      const links = t.links.slice();
      links[at] = value;
      return pack(isa, 'pack.trees.f32', [t.splits, links, t.roots, null, null, null], counts);
    };
    expect(attempt(4, 1)).toThrow('backwards');
    expect(attempt(1, 7)).toThrow('nowhere');
    expect(attempt(2, -1)).toThrow('backwards');
    expect(attempt(0, 2)).toThrow('feature');
    const root = Int32Array.of(7);
    expect(() => pack(isa, 'pack.trees.f32', [t.splits, t.links, root, null, null, null], counts)).toThrow('root');
  });

  test('refuses trees that were packed for others', () => {
    const t = full(1, 2, 2, false);
    const counts = { branches: 3, leaves: 4, trees: 1, features: 2, targets: 1, votes: 0 };
    const packed = pack(isa, 'pack.trees.f32', [t.splits, t.links, t.roots, null, null, null], counts);
    const params = { rows: 1, features: 2, targets: 1, trees: 1, parts: 1, aggregate: 0, row_cost: 1 };
    const sums = new Float64Array(4);
    const on = (kernel: string, x: Float32Array | Float64Array, changed: Partial<typeof params>) => () =>
      run(isa, kernel, [x, packed, sums], { ...params, ...changed });
    expect(on('trees.f32', new Float32Array(0), { features: 0 })).toThrow('at least one feature');
    expect(on('trees.f64', new Float64Array(2), {})).toThrow('another ensemble');
    expect(on('trees.f32', new Float32Array(2), { features: 1 })).toThrow('another ensemble');
    expect(on('trees.f32', new Float32Array(2), { targets: 2 })).toThrow('another ensemble');
    expect(on('trees.f32', new Float32Array(2), { trees: 2 })).toThrow('another ensemble');
  });
});

import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

const counts = [0, 1, 15, 16, 17, 63, 64, 65, 130];

/** Vectors [count, features] as the kernel reads them. */
function turned(vectors: Float32Array, count: number, features: number, padded: number): Float32Array {
  const out = new Float32Array(features * padded);
  for (let v = 0; v < count; v++) {
    for (let f = 0; f < features; f++) out[f * padded + v] = vectors[v * features + f] as number;
  }
  return out;
}

const functions: readonly ((dot: number, square: number, degree: number) => number)[] = [
  (dot) => dot,
  (dot, _, degree) => (0.3 * dot + 2) ** degree,
  (_, square) => Math.exp(-0.3 * square),
  (dot) => Math.tanh(0.3 * dot + 2),
];

describe.each(isas)('support vectors on %s', (isa) => {
  test.each([0, 1, 2, 3])('similarities of kind %i', (kind) => {
    for (const count of counts) {
      for (const [rows, features] of [
        [1, 3],
        [5, 7],
        [2, 0],
      ] as const) {
        for (const degree of kind === 1 ? [1, 2, 3, 2.5] : [0]) {
          const padded = Math.ceil(count / 64) * 64;
          const x = random(rows * features, 2);
          const vectors = random(count * features, 3);
          const y = new Float32Array(rows * count);
          const params = { rows, features, count, padded, kind, gamma: 0.3, offset: 2, degree };
          run(isa, 'similarity.f32', [x, turned(vectors, count, features, padded), y], params, 2);
          y.forEach((value, i) => {
            let [dot, square] = [0, 0];
            for (let f = 0; f < features; f++) {
              const a = x[Math.floor(i / count) * features + f] as number;
              const b = vectors[(i % count) * features + f] as number;
              dot += a * b;
              square += (a - b) ** 2;
            }
            const want = functions[kind]?.(dot, square, degree) as number;
            expect(Math.abs(value - want)).toBeLessThanOrEqual(4e-6 * Math.max(1, Math.abs(want)));
          });
        }
      }
    }
  });

  test.each([0, 1, 7, 300])('votes of %i rows', (rows) => {
    for (const classes of [2, 3, 6]) {
      const pairs = (classes * (classes - 1)) / 2;
      const decisions = random(rows * pairs, 4);
      const labels = BigInt64Array.from({ length: classes }, (_, i) => BigInt(10 * i + 1));
      const chosen = new BigInt64Array(rows);
      const y = new Float32Array(rows * classes);
      const slopes = new Float64Array(pairs).fill(-2);
      run(isa, 'svm.votes', [decisions, labels, slopes, new Float64Array(pairs), chosen, y], { rows, classes }, 2);
      for (let row = 0; row < rows; row++) {
        const votes = new Array<number>(classes).fill(0);
        let pair = row * pairs;
        for (let i = 0; i < classes; i++) {
          for (let j = i + 1; j < classes; j++) {
            const winner = (decisions[pair++] as number) > 0 ? i : j;
            votes[winner] = (votes[winner] as number) + 1;
          }
        }
        expect(chosen[row]).toBe(labels[votes.indexOf(Math.max(...votes))]);
        const probabilities = y.subarray(row * classes, (row + 1) * classes);
        expect(probabilities.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
        if (classes === 2) {
          const want = 1 / (1 + Math.exp(-2 * (decisions[row] as number)));
          expect(Math.abs((probabilities[0] as number) - want)).toBeLessThan(4e-3);
        }
      }
    }
  });

  test('refuses sizes that do not fit', () => {
    const similar = { rows: 1, features: 2, count: 3, padded: 64, kind: 0, gamma: 0, offset: 0, degree: 0 };
    const attempt = (vectors: number, changed: object) => () =>
      run(isa, 'similarity.f32', [new Float32Array(2), new Float32Array(vectors), new Float32Array(3)], {
        ...similar,
        ...changed,
      });
    expect(attempt(127, {})).toThrow('vectors');
    expect(attempt(128, { padded: 63 })).toThrow('64s');
    expect(attempt(128, { kind: 4 })).toThrow('kind');
    expect(attempt(128, { rows: 2 })).toThrow('x is');
    const chosen = new BigInt64Array(1);
    const votes = (decisions: number, classes: number) => () =>
      run(isa, 'svm.votes', [new Float32Array(decisions), new BigInt64Array(3), null, null, chosen, null], {
        rows: 1,
        classes,
      });
    expect(votes(2, 3)).toThrow('decisions');
    expect(votes(6, 4)).toThrow('labels');
    expect(votes(0, 1)).toThrow('classes');
  });
});

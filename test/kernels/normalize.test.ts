import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

const near = (got: number, want: number, bound = 3e-6): void => {
  expect(Math.abs(got - want)).toBeLessThanOrEqual(bound * Math.max(1, Math.abs(want)));
};

function moments(v: Float32Array): [number, number] {
  const mean = v.reduce((a, b) => a + b, 0) / v.length;
  return [mean, v.reduce((a, b) => a + (b - mean) ** 2, 0) / v.length];
}

describe.each(isas)('%s', (isa) => {
  test('softmax.f32', () => {
    const sizes = [
      [0, 3, 1],
      [2, 0, 1],
      [1, 1, 1],
      [5, 15, 1],
      [3, 16, 1],
      [3, 17, 1],
      [40, 301, 1],
      [2, 5, 3],
      [3, 7, 33],
    ];
    for (const [outer, axis, inner] of sizes) {
      const x = random(outer * axis * inner, 6).map((v) => v * 30);
      for (const log of [false, true]) {
        const y = x.slice();
        run(isa, 'softmax.f32', [y, y], { log, outer, axis, inner }, 3);
        y.forEach((got, i) => {
          const base = Math.floor(i / (axis * inner)) * axis * inner + (i % inner);
          const list = Array.from({ length: axis }, (_, k) => x[base + k * inner]);
          const max = Math.max(...list);
          const sum = list.reduce((a, b) => a + Math.exp(b - max), 0);
          near(got, log ? x[i] - max - Math.log(sum) : Math.exp(x[i] - max) / sum, 1e-6);
        });
      }
    }
    const masked = Float32Array.of(Number.NEGATIVE_INFINITY, 0, 0, Number.NEGATIVE_INFINITY);
    run(isa, 'softmax.f32', [masked, masked], { log: false, outer: 1, axis: 4, inner: 1 });
    expect([...masked]).toEqual([0, 0.5, 0.5, 0]);
  });

  test('layernorm.f32', () => {
    for (const [rows, n] of [
      [0, 4],
      [1, 1],
      [3, 15],
      [5, 16],
      [2, 17],
      [33, 301],
    ]) {
      const x = random(rows * n, 2).map((v) => v + 3);
      const skip = random(rows * n, 3);
      const [bias, gamma, beta] = [4, 5, 6].map((seed) => random(n, seed));
      const y = new Float32Array(rows * n);
      const sum = new Float32Array(rows * n);
      const mean = new Float32Array(rows);
      const inverse = new Float32Array(rows);
      const params = { rms: false, rows, n, epsilon: 1e-5 };
      run(isa, 'layernorm.f32', [x, skip, bias, gamma, beta, y, sum, mean, inverse], params, 2);
      const plain = new Float32Array(rows * n);
      run(isa, 'layernorm.f32', [x, null, null, null, null, plain, null, null, null], { ...params, rms: true }, 2);
      for (let r = 0; r < rows; r++) {
        const s = x.subarray(r * n, r * n + n).map((v, i) => v + skip[r * n + i] + bias[i]);
        const [m, variance] = moments(s);
        const scale = 1 / Math.sqrt(variance + 1e-5);
        near(mean[r], m);
        near(inverse[r], scale, 1e-4);
        const square = x.subarray(r * n, r * n + n).reduce((a, b) => a + b * b, 0) / n;
        for (let i = 0; i < n; i++) {
          near(sum[r * n + i], s[i]);
          near(y[r * n + i], (s[i] - m) * scale * gamma[i] + beta[i], 2e-5);
          near(plain[r * n + i], x[r * n + i] / Math.sqrt(square + 1e-5));
        }
      }
    }
  });

  test('layernorm.segments.f32', () => {
    for (const tiles of [0, 1, 3]) {
      for (const n of [1, 2, 3, 4, 5, 7, 8, 9, 65, 768]) {
        // A row lies in one lane of a tile; those of the last tile are far from zero.
        const x = random(tiles * n * 16, n).map((v, i) => v + (i >= (tiles - 1) * n * 16 ? 3000 : 0));
        const [gamma, beta] = [random(n, 3), random(n, 4)];
        const plain = new Float32Array(x.length).fill(Number.NaN);
        run(isa, 'layernorm.segments.f32', [x, null, null, plain], { tiles, n, epsilon: 1e-3 }, 2);
        const y = x.slice();
        run(isa, 'layernorm.segments.f32', [y, gamma, beta, y], { tiles, n, epsilon: 1e-3 }, 2);
        for (let row = 0; row < tiles * 16; row++) {
          const at = (c: number): number => (Math.floor(row / 16) * n + c) * 16 + (row % 16);
          const [m, variance] = moments(Float32Array.from({ length: n }, (_, c) => x[at(c)]));
          for (let c = 0; c < n; c++) {
            const expected = (x[at(c)] - m) / Math.sqrt(variance + 1e-3);
            near(plain[at(c)], expected, 2e-5);
            near(y[at(c)], expected * gamma[c] + beta[c], 2e-5);
          }
        }
      }
    }
  });

  test('layernorm.f32 of values far from zero', () => {
    const x = random(1000, 9).map((v) => v + 5000);
    const y = new Float32Array(1000);
    const params = { rms: false, rows: 1, n: 1000, epsilon: 0 };
    run(isa, 'layernorm.f32', [x, null, null, null, null, y, null, null, null], params);
    const [m, variance] = moments(x);
    y.forEach((got, i) => {
      near(got, (x[i] - m) / Math.sqrt(variance), 1e-3);
    });
  });

  test('groupnorm.f32 and batchnorm.f32', () => {
    for (const [batch, groups, channels, inner] of [
      [2, 3, 1, 49],
      [1, 2, 4, 5],
      [2, 1, 3, 300],
      [0, 2, 2, 2],
      [1, 1, 1, 1],
    ]) {
      const total = groups * channels;
      const n = channels * inner;
      const x = random(batch * groups * n, 7);
      const [gamma, beta, mean] = [1, 2, 3].map((seed) => random(total, seed));
      const variance = random(total, 8).map((v) => v + 1.5);
      const y = new Float32Array(x.length);
      run(isa, 'groupnorm.f32', [x, gamma, beta, y], { batch, groups, channels, inner, epsilon: 1e-3 }, 2);
      const z = new Float32Array(x.length);
      const params = { batch, channels: total, inner, epsilon: 1e-3 };
      run(isa, 'batchnorm.f32', [x, gamma, beta, mean, variance, z], params, 2);
      x.forEach((v, i) => {
        const row = Math.floor(i / n);
        const c = Math.floor(i / inner) % total;
        const [m, s] = moments(x.subarray(row * n, row * n + n));
        near(y[i], ((v - m) / Math.sqrt(s + 1e-3)) * gamma[c] + beta[c], 1e-5);
        near(z[i], ((v - mean[c]) / Math.sqrt(variance[c] + 1e-3)) * gamma[c] + beta[c], 1e-5);
      });
    }
  });

  test('sizes are checked', () => {
    const x = new Float32Array(12);
    const layer = (n: number, gamma: Float32Array | null = null) =>
      run(isa, 'layernorm.f32', [x, null, null, gamma, null, x.slice(), null, null, null], {
        rms: false,
        rows: 3,
        n,
        epsilon: 0,
      });
    expect(() => layer(5)).toThrow(/x holds/);
    expect(() => layer(0)).toThrow(/at least one/);
    expect(() => layer(4, new Float32Array(3))).toThrow(/shorter than a row/);
    const soft = { log: false, outer: 3, axis: 5, inner: 1 };
    expect(() => run(isa, 'softmax.f32', [x, x.slice()], soft)).toThrow(/x holds/);
    const batch = { batch: 1, channels: 4, inner: 3, epsilon: 0 };
    const short = new Float32Array(3);
    expect(() => run(isa, 'batchnorm.f32', [x, short, short, short, short, x.slice()], batch)).toThrow(/statistic/);
  });
});

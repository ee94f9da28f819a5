import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

describe.each(isas)('%s', (isa) => {
  test('gather along an axis', () => {
    for (const [outer, axis, count, inner] of [
      [1, 5, 7, 1],
      [3, 4, 2, 33],
      [2, 1, 3, 2],
      [1, 9, 0, 4],
      [1, 300, 50, 400],
    ]) {
      const x = random(outer * axis * inner);
      const indices = Int32Array.from(random(count, 3), (v) => Math.trunc(v * axis));
      for (const list of [indices, BigInt64Array.from(indices, BigInt)]) {
        const y = new Float32Array(outer * count * inner);
        const params = { outer, axis, count, slice: inner * 4, index_bytes: list.BYTES_PER_ELEMENT };
        run(isa, 'gather', [x, list, y], params, 3);
        y.forEach((got, i) => {
          const o = Math.floor(i / (count * inner));
          const k = (indices[Math.floor(i / inner) % count] + axis) % axis;
          expect(got).toBe(x[(o * axis + k) * inner + (i % inner)]);
        });
      }
    }
  });

  test('bad indices are an error', () => {
    const x = random(4);
    const params = { outer: 1, axis: 4, count: 1, slice: 4, index_bytes: 4 };
    for (const index of [4, -5, 2147483647]) {
      const call = () => run(isa, 'gather', [x, Int32Array.of(index), new Float32Array(1)], params);
      expect(call).toThrow(/index is out of range/);
    }
    const wide = { ...params, index_bytes: 8 };
    const far = BigInt64Array.of(-(2n ** 63n));
    expect(() => run(isa, 'gather', [x, far, new Float32Array(1)], wide)).toThrow(/out of range/);
    expect(() => run(isa, 'gather', [x, far, new Float32Array(1)], { ...wide, axis: 5 })).toThrow(/x holds/);
    expect(() => run(isa, 'gather', [x, far, new Float32Array(1)], { ...wide, index_bytes: 2 })).toThrow(/4 or 8/);
  });

  test('gather.elements', () => {
    // x [3, 5, 4], indices [2, 6, 3] along axis 1.
    const x = random(60);
    const indices = Int32Array.from(random(36, 5), (v) => Math.trunc(v * 5));
    const y = new Float32Array(36);
    const base = { width: 4, index_bytes: 4, axis: 5, axis_stride: 4, dims: [2, 6, 3], strides: [20, 0, 1] };
    run(isa, 'gather.elements', [x, indices, y], base, 2);
    y.forEach((got, i) => {
      const k = (indices[i] + 5) % 5;
      expect(got).toBe(x[Math.floor(i / 18) * 20 + k * 4 + (i % 3)]);
    });
    indices[7] = 5;
    expect(() => run(isa, 'gather.elements', [x, indices, y], base)).toThrow(/out of range/);
    expect(() => run(isa, 'gather.elements', [x, indices, y], { ...base, axis: 11 })).toThrow(/leave x/);
  });

  test('gather.points', () => {
    // x [2, 3, 4, 5], one batch axis, two indexed ones.
    const x = random(120);
    const indices = BigInt64Array.of(0n, 1n, -1n, -4n, 2n, 3n, 1n, 0n);
    const y = new Float32Array(20);
    const base = { batch: 2, count: 2, slice: 20, index_bytes: 8, dims: [3, 4] };
    run(isa, 'gather.points', [x, indices, y], base, 2);
    y.forEach((got, i) => {
      const row = Math.floor(i / 5);
      const a = (Number(indices[row * 2]) + 3) % 3;
      const b = (Number(indices[row * 2 + 1]) + 4) % 4;
      expect(got).toBe(x[((Math.floor(row / 2) * 3 + a) * 4 + b) * 5 + (i % 5)]);
    });
    indices[3] = -5n;
    expect(() => run(isa, 'gather.points', [x, indices, y], base)).toThrow(/out of range/);
  });
});

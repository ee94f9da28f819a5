import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

describe.each(isas)('%s', (isa) => {
  test('topk', () => {
    for (const [outer, axis, inner, k] of [
      [3, 40, 1, 7],
      [2, 9, 5, 9],
      [1, 1, 1, 1],
      [2, 5, 1, 0],
      [1, 300, 1, 1],
    ]) {
      const x = Float32Array.from(random(outer * axis * inner, 4), (v) => Math.round(v * 9));
      if (axis === 40) x[5] = Number.NaN;
      for (const least of [false, true]) {
        const values = new Float32Array(outer * k * inner);
        const indices = new BigInt64Array(outer * k * inner);
        run(isa, 'topk.f32', [x, values, indices], { least, outer, axis, inner, k }, 2);
        for (let row = 0; row < outer * inner; row++) {
          const base = Math.floor(row / inner) * axis * inner + (row % inner);
          const key = (i: number) => {
            const v = x[base + i * inner];
            return Number.isNaN(v) ? 1e9 : v;
          };
          const order = Array.from({ length: axis }, (_, i) => i);
          order.sort((a, b) => (least ? key(a) - key(b) : key(b) - key(a)) || a - b);
          const to = Math.floor(row / inner) * k * inner + (row % inner);
          for (let i = 0; i < k; i++) {
            expect(Number(indices[to + i * inner])).toBe(order[i]);
            expect(values[to + i * inner]).toBe(x[base + order[i] * inner]);
          }
        }
      }
    }
    const short = [new Float32Array(3), new Float32Array(3), new BigInt64Array(3)];
    const call = { least: false, outer: 1, axis: 3, inner: 1, k: 4 };
    expect(() => run(isa, 'topk.f32', short, call)).toThrow(/greater than the axis/);
    expect(() => run(isa, 'topk.f32', short, { ...call, axis: 4 })).toThrow(/x holds/);
  });

  test('cumsum', () => {
    const [outer, axis, inner] = [3, 37, 2];
    const x = Int32Array.from(random(outer * axis * inner), (v) => v * 100);
    for (const exclusive of [false, true]) {
      for (const reverse of [false, true]) {
        const y = new Int32Array(x.length);
        run(isa, 'cumsum.i32', [x, y], { exclusive, reverse, outer, axis, inner }, 2);
        const f = Float32Array.from(x);
        run(isa, 'cumsum.f32', [f, f], { exclusive, reverse, outer, axis, inner }, 2);
        for (let row = 0; row < outer * inner; row++) {
          let sum = 0;
          for (let i = 0; i < axis; i++) {
            const at = Math.floor(row / inner) * axis * inner + (row % inner) + (reverse ? axis - 1 - i : i) * inner;
            const before = sum;
            sum += x[at];
            expect(y[at]).toBe(exclusive ? before : sum);
            expect(f[at]).toBe(exclusive ? before : sum);
          }
        }
      }
    }
  });

  test('resample.f32', () => {
    for (const [outer, axis, out, inner, taps] of [
      [2, 5, 7, 33, 3],
      [1, 3, 4, 1, 2],
      [0, 3, 4, 5, 1],
    ]) {
      const x = random(outer * axis * inner);
      const indices = Int32Array.from(random(out * taps, 4), (v) => Math.floor(((v + 1) / 2) * axis));
      const weights = random(out * taps, 5);
      const y = new Float32Array(outer * out * inner);
      run(isa, 'resample.f32', [x, indices, weights, y], { outer, axis, out, inner, taps }, 2);
      y.forEach((got, i) => {
        const [o, row, j] = [Math.floor(i / (out * inner)), Math.floor(i / inner) % out, i % inner];
        let sum = 0;
        for (let tap = row * taps; tap < (row + 1) * taps; tap++) {
          sum += weights[tap] * x[(o * axis + indices[tap]) * inner + j];
        }
        expect(got).toBeCloseTo(sum, 5);
      });
    }
    const params = { outer: 1, axis: 3, out: 1, inner: 1, taps: 1 };
    const call = () => run(isa, 'resample.f32', [random(3), Int32Array.of(3), random(1), random(1)], params);
    expect(call).toThrow(/out of range/);
  });

  test('triangle', () => {
    for (const upper of [false, true]) {
      for (const k of [-9, -1, 0, 2, 9]) {
        const x = random(2 * 4 * 5);
        const y = x.slice();
        run(isa, 'triangle', [y, y], { width: 4, upper, batch: 2, rows: 4, columns: 5, k });
        y.forEach((got, i) => {
          const distance = (i % 5) - (Math.floor(i / 5) % 4);
          expect(got).toBe((upper ? distance >= k : distance <= k) ? x[i] : 0);
        });
      }
    }
  });

  test('scatters check their operands', () => {
    const base = { reduction: 0, width: 4, type: 1, index_bytes: 4, count: 2, slice: 1, dims: [3] };
    const go = (change: object, places = Int32Array.of(0, 2)) =>
      run(isa, 'scatter.points', [places, new Float32Array(2), new Float32Array(3)], { ...base, ...change });
    expect(() => go({}, Int32Array.of(0, 3))).toThrow(/out of range/);
    expect(() => go({ count: 3 })).toThrow(/indices is too small/);
    expect(() => go({ dims: [4] })).toThrow(/y holds/);
    expect(() => go({ reduction: 5 })).toThrow(/no reduction/);
    expect(() => go({ reduction: 1, type: 9 })).toThrow(/of this type/);
    expect(() => go({ slice: 2 })).toThrow(/updates is too small/);
    const y = Float32Array.of(1, 2, 3);
    run(isa, 'scatter.points', [Int32Array.of(1, -2), Float32Array.of(10, 20), y], { ...base, reduction: 1 });
    expect([...y]).toEqual([1, 32, 3]);
    const elements = {
      reduction: 0,
      width: 4,
      type: 1,
      index_bytes: 4,
      axis: 3,
      axis_stride: 1,
      dims: [2],
      strides: [0],
    };
    run(isa, 'scatter.elements', [Int32Array.of(1, 1), Float32Array.of(10, 20), y], elements);
    expect([...y]).toEqual([1, 20, 3]);
    const far = { ...elements, axis: 4 };
    expect(() => run(isa, 'scatter.elements', [Int32Array.of(1, 1), Float32Array.of(1, 2), y], far)).toThrow(/leave y/);
  });

  test('quantize.f32 and dequantize.f32', () => {
    for (const [outer, channels, inner] of [
      [2, 3, 65],
      [1, 1, 17],
      [3, 20, 1],
      [0, 2, 2],
    ]) {
      const x = random(outer * channels * inner).map((v) => v * 90);
      const scale = random(channels, 3).map((v) => Math.abs(v) + 0.25);
      const zero = Uint8Array.from(random(channels, 4), (v) => 128 + v * 20);
      const y = new Uint8Array(x.length);
      const walk = { type: 2, dims: [outer, channels, inner], scale_strides: [0, 1, 0] };
      run(isa, 'quantize.f32', [x, scale, zero, y], walk, 2);
      const back = new Float32Array(x.length);
      run(isa, 'dequantize.f32', [y, scale, zero, back], walk, 2);
      y.forEach((got, i) => {
        const c = Math.floor(i / inner) % channels;
        const q = Math.fround(x[i] / scale[c]);
        const low = Math.floor(q);
        const even = q - low === 0.5 ? low + (low % 2 === 0 ? 0 : 1) : Math.round(q);
        expect(got).toBe(Math.min(Math.max(even + zero[c], 0), 255));
        expect(back[i]).toBe(Math.fround((got - zero[c]) * scale[c]));
      });
    }
    const x = new Float32Array(4);
    const bad = { type: 6, dims: [4], scale_strides: [0] };
    expect(() => run(isa, 'quantize.f32', [x, x, null, new Uint8Array(4)], bad)).toThrow(/no quantised type/);
    const nan = Float32Array.of(1, Number.NaN);
    const ask = () => run(isa, 'quantize.range', [nan, new Float32Array(1), new Uint8Array(1)], { count: 2 });
    expect(ask).toThrow(/NaN/);
  });
});

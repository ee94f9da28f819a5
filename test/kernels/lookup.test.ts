import { describe, expect, test } from 'vitest';
import { isas, run } from './harness.ts';

const sizes = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 9000];

describe.each(isas)('lookup on %s', (isa) => {
  test.each([0, 1, 2, 3, 10, 33])('%i keys', (count) => {
    const keys = Array.from({ length: count }, (_, i) => 3 * i - 20);
    const values = Float32Array.from({ length: count + 2 }, (_, i) => i + 0.5);
    for (const size of sizes) {
      const x = Array.from({ length: size }, (_, i) => ((i * 7) % 130) - 25);
      const want = x.map((key) => (keys.includes(key) ? keys.indexOf(key) : count) + 0.5);
      const params = { count: size, keys: count, nan: count + 1, width: 4 };
      const y = new Float32Array(size);
      run(isa, 'lookup.i64', [BigInt64Array.from(x, BigInt), BigInt64Array.from(keys, BigInt), values, y], params, 2);
      expect([...y]).toEqual(want);
      const doubles = Float64Array.from(x, (key, i) => (i % 9 === 4 ? Number.NaN : key));
      run(isa, 'lookup.f64', [doubles, Float64Array.from(keys), values, y], params, 2);
      expect([...y]).toEqual(want.map((value, i) => (i % 9 === 4 ? count + 1.5 : value)));
    }
  });

  test.each([1, 2, 4, 8])('values of %i bytes', (width) => {
    const values = Uint8Array.from({ length: 3 * width }, (_, i) => i + 1);
    const y = new Uint8Array(2 * width);
    const operands = [BigInt64Array.of(5n, 9n), BigInt64Array.of(4n, 5n), values, y];
    run(isa, 'lookup.i64', operands, { count: 2, keys: 2, nan: 0, width });
    expect([...y]).toEqual([...values.subarray(width)]);
  });
});

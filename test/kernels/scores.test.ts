import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

const plain = { divisor: 1, threshold: 0, first: 0, first_factor: 0, second: 0, second_factor: 0 };

describe.each(isas)('scores on %s', (isa) => {
  test.each([0, 1, 15, 16, 17, 1000])('%i rows: parts, base, labels', (rows) => {
    const [columns, parts] = [5, 3];
    const sums = Float64Array.from(random(parts * rows * columns, 3));
    const base = Float64Array.of(1, -1, 0.5, 0, 2);
    const labels = BigInt64Array.of(9n, 8n, 7n, 6n, 5n);
    const scores = new Float64Array(rows * columns);
    const chosen = new BigInt64Array(rows);
    const params = { ...plain, parts, rows, columns, aggregate: 0, transform: 0, pair: 0, divisor: 4 };
    run(isa, 'scores.f64', [sums, base, labels, scores, chosen], params, 2);
    for (let row = 0; row < rows; row++) {
      const want = Array.from({ length: columns }, (_, c) => {
        let sum = 0;
        for (let part = 0; part < parts; part++) sum += sums[(part * rows + row) * columns + c] as number;
        return sum / 4 + (base[c] as number);
      });
      const got = [...scores.subarray(row * columns, (row + 1) * columns)];
      got.forEach((value, c) => {
        expect(value).toBeCloseTo(want[c] as number, 12);
      });
      expect(chosen[row]).toBe(labels[want.indexOf(Math.max(...want))]);
    }
  });

  test('extremes over parts; 0 where no part has one', () => {
    const inf = Number.POSITIVE_INFINITY;
    const y = new Float32Array(3);
    const params = { ...plain, parts: 2, rows: 1, columns: 3, transform: 0, pair: 0 };
    run(isa, 'scores.f64.f32', [Float64Array.of(1, inf, inf, 2, 3, inf), null, null, y, null], {
      ...params,
      aggregate: 1,
    });
    expect([...y]).toEqual([1, 3, 0]);
    run(isa, 'scores.f64.f32', [Float64Array.of(1, -inf, -inf, 2, 3, -inf), null, null, y, null], {
      ...params,
      aggregate: 2,
    });
    expect([...y]).toEqual([2, 3, 0]);
  });

  test('two scores of one sum', () => {
    const y = new Float32Array(6);
    const chosen = new BigInt64Array(3);
    const params = { parts: 1, rows: 3, columns: 1, aggregate: 0, transform: 0, pair: 2, divisor: 1 };
    const pair = { threshold: 0.5, first: 1, first_factor: -1, second: 0, second_factor: 1 };
    run(isa, 'scores.f32', [Float32Array.of(0.25, 0.5, 0.75), null, BigInt64Array.of(4n, 6n), y, chosen], {
      ...params,
      ...pair,
    });
    expect([...y]).toEqual([0.75, 0.25, 0.5, 0.5, 0.25, 0.75]);
    expect([...chosen]).toEqual([4n, 4n, 6n]);
  });

  test('refuses sizes that do not fit', () => {
    const params = { ...plain, parts: 1, rows: 2, columns: 3, aggregate: 0, transform: 0, pair: 0 };
    const attempt = (operands: Parameters<typeof run>[2], changed: object) => () =>
      run(isa, 'scores.f64', operands, { ...params, ...changed });
    const [sums, y] = [new Float64Array(6), new Float64Array(6)];
    expect(attempt([new Float64Array(5), null, null, y, null], {})).toThrow('sums');
    expect(attempt([sums, new Float64Array(2), null, y, null], {})).toThrow('base');
    expect(attempt([sums, null, null, new Float64Array(5), null], {})).toThrow('scores');
    expect(attempt([sums, null, null, y, new BigInt64Array(2)], {})).toThrow('labels');
    expect(attempt([sums, null, null, y, null], { pair: 2 })).toThrow('pair');
    expect(attempt([sums, null, null, y, null], { transform: 5 })).toThrow('transform');
  });
});

import { describe, expect, test } from 'vitest';
import { type DType, dtypeInfo, isBig, type NumericStorage } from '../../lib/ir/dtype.ts';
import { fromBigInts, fromNumbers, tensor, toBigInts, toNumbers } from '../../lib/ir/tensor.ts';
import { bigOf, truncated } from '../../lib/ops/elements.ts';
import { isas, random, run } from './harness.ts';

const integers: readonly DType[] = ['uint8', 'int8', 'uint16', 'int16', 'int32', 'int64', 'uint32', 'uint64'];
const floats: readonly DType[] = ['float32', 'float64', 'float16', 'bfloat16'];

function cast(isa: string, from: DType, to: DType, x: NumericStorage, parts = 1): NumericStorage {
  const y = fromNumbers(to, [x.length], new Array<number>(x.length).fill(0)).data as NumericStorage;
  run(isa, 'cast', [x, y], { from: dtypeInfo(from).onnx, to: dtypeInfo(to).onnx, count: x.length }, parts);
  return y;
}

const storage = (dtype: DType, values: ArrayLike<number>) =>
  fromNumbers(dtype, [values.length], values).data as NumericStorage;
const numbers = (dtype: DType, data: NumericStorage) => toNumbers(tensor(dtype, [data.length], data));

describe.each(isas)('cast %s', (isa) => {
  test('in-range values of every pair', () => {
    const values = Float64Array.from({ length: 1037 }, (_, i) => i % 120);
    for (const from of [...integers, ...floats]) {
      for (const to of [...integers, ...floats]) {
        const y = cast(isa, from, to, storage(from, values), 2);
        expect(numbers(to, y), `${from} to ${to}`).toEqual(values);
      }
    }
  });

  test('nothing, one, many', () => {
    for (const count of [0, 1, 7, 8192, 8193, 20_001]) {
      const x = random(count).map((v) => v * 100);
      expect(cast(isa, 'float32', 'int32', x, 3)).toEqual(Int32Array.from(x));
    }
  });

  test('floats become integers towards zero, and out of range the register of x86 decides', () => {
    const x = [-1e30, -1e10, -129.5, -1.9, -0.5, 0.5, 1.9, 254.9, 300, 3e9, 5e9, 1e19, 1e30, Number.NaN];
    for (const from of ['float32', 'float64'] as const) {
      const source = storage(from, x);
      const exact = numbers(from, source);
      for (const to of integers) {
        const want = Array.from(exact, (v) => {
          if (isBig(to)) return to === 'int64' ? BigInt.asIntN(64, bigOf(v, to)) : BigInt.asUintN(64, bigOf(v, to));
          return BigInt(numbers(to, storage(to, [truncated(to, v)]))[0]);
        });
        const got = [...toBigInts(tensor(to, [x.length], cast(isa, from, to, source)))];
        expect(got, `${from} to ${to}`).toEqual(want);
      }
    }
  });

  test('integers wrap', () => {
    const x = fromBigInts('int64', [4], [-1n, 300n, 2n ** 40n + 5n, -129n]).data as NumericStorage;
    for (const to of integers) {
      const y = tensor(to, [4], cast(isa, 'int64', to, x));
      expect([...toBigInts(y)], to).toEqual([...toBigInts(fromBigInts(to, [4], [-1n, 300n, 2n ** 40n + 5n, -129n]))]);
    }
  });

  test('anything but zero is true, true is one', () => {
    for (const from of [...integers, ...floats]) {
      expect([...cast(isa, from, 'bool', storage(from, [0, 1, 2, 100]))], from).toEqual([0, 1, 1, 1]);
    }
    const odd = Float32Array.of(Number.NaN, -0, 1e-40, Number.NEGATIVE_INFINITY);
    expect([...cast(isa, 'float32', 'bool', odd)]).toEqual([1, 0, 1, 1]);
    expect([...cast(isa, 'bool', 'float32', Uint8Array.of(0, 1))]).toEqual([0, 1]);
  });

  test('all float16 and bfloat16 patterns decode and encode', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    for (const half of ['float16', 'bfloat16'] as const) {
      const wide = cast(isa, half, 'float32', all);
      expect(Float64Array.from(wide as Float32Array)).toEqual(numbers(half, all));
      expect(numbers(half, cast(isa, 'float32', half, wide))).toEqual(numbers(half, all));
    }
  });

  test('rounding to halves is to nearest even', () => {
    const x = random(4001, 7).map((v, i) => v * 2 ** ((i % 44) - 26));
    const edges = [65504, 65519.99, 65520, 1e9, 2 ** -24, 2 ** -25, 2 ** -25 * 1.01, 2049, 2051, -0, Number.NaN];
    const all = Float64Array.from([...x, ...edges]);
    for (const half of ['float16', 'bfloat16'] as const) {
      for (const from of ['float32', 'float64'] as const) {
        const source = storage(from, all);
        const expected = fromNumbers(half, [all.length], numbers(from, source)).data as Uint16Array;
        expect(numbers(half, cast(isa, from, half, source)), `${from} ${half}`).toEqual(numbers(half, expected));
      }
    }
    // Double rounding would give the even neighbour 2048.
    const tie = cast(isa, 'float64', 'float16', Float64Array.of(2049 + 2 ** -40));
    expect(numbers('float16', tie)[0]).toBe(2050);
  });

  test('unknown types and short operands are refused', () => {
    const x = new Float32Array(4);
    expect(() => run(isa, 'cast', [x, x.slice()], { from: 1, to: 8, count: 4 })).toThrow(/no native cast/);
    expect(() => run(isa, 'cast', [x, x.slice()], { from: 1, to: 7, count: 4 })).toThrow(/y holds fewer/);
    expect(() => run(isa, 'cast', [x, x.slice()], { from: 1, to: 1, count: -1 })).toThrow(/x holds fewer/);
  });
});

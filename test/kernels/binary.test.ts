import { describe, expect, test } from 'vitest';
import type { DType, NumericStorage } from '../../lib/ir/dtype.ts';
import { fromNumbers, tensor, toNumbers } from '../../lib/ir/tensor.ts';
import { binaryCodes, compareCodes, unaryCodes } from '../../lib/ops/elementwise-codes.ts';
import { isas, random, run } from './harness.ts';

interface Layout {
  readonly dims: readonly number[];
  readonly a: readonly number[];
  readonly b: readonly number[];
}

const layouts: Record<string, Layout> = {
  scalar: { dims: [], a: [], b: [] },
  nothing: { dims: [0, 5], a: [5, 1], b: [0, 1] },
  one: { dims: [1], a: [1], b: [1] },
  same: { dims: [8195], a: [1], b: [1] },
  'scalar b': { dims: [1037], a: [1], b: [0] },
  'scalar a': { dims: [17], a: [0], b: [1] },
  row: { dims: [37, 129], a: [129, 1], b: [0, 1] },
  'short row': { dims: [301, 4], a: [4, 1], b: [0, 1] },
  column: { dims: [129, 65], a: [65, 1], b: [1, 0] },
  channel: { dims: [2, 19, 49], a: [931, 49, 1], b: [0, 1, 0] },
  outer: { dims: [33, 70], a: [1, 0], b: [0, 1] },
  transposed: { dims: [66, 67], a: [67, 1], b: [1, 66] },
  mixed: { dims: [3, 2, 5, 3, 2], a: [30, 0, 6, 2, 1], b: [0, 15, 3, 1, 0] },
};

function offsets(dims: readonly number[], strides: readonly number[]): number[] {
  let list = [0];
  dims.forEach((dim, axis) => {
    list = list.flatMap((base) => Array.from({ length: dim }, (_, i) => base + i * strides[axis]));
  });
  return list;
}

const suffixes: Partial<Record<DType, string>> = {
  float32: 'f32',
  float64: 'f64',
  float16: 'f16',
  bfloat16: 'bf16',
  int8: 'i8',
  int16: 'i16',
  int32: 'i32',
  int64: 'i64',
  uint8: 'u8',
  uint16: 'u16',
  uint32: 'u32',
  uint64: 'u64',
};

const floorMod = (a: number, b: number) => {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
};

const functions: Record<string, (a: number, b: number) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Max: Math.max,
  Min: Math.min,
  Mod: floorMod,
  Fmod: (a, b) => a % b,
  PRelu: (a, b) => (a < 0 ? a * b : a),
  Equal: (a, b) => Number(a === b),
  Less: (a, b) => Number(a < b),
  LessOrEqual: (a, b) => Number(a <= b),
  Greater: (a, b) => Number(a > b),
  GreaterOrEqual: (a, b) => Number(a >= b),
  And: (a, b) => a & b,
  Or: (a, b) => a | b,
  Xor: (a, b) => a ^ b,
  ShiftLeft: (a, b) => a * 2 ** b,
  ShiftRight: (a, b) => Math.floor(a / 2 ** b),
};
const bitwise = ['And', 'Or', 'Xor', 'ShiftLeft', 'ShiftRight'];
const codes: Record<string, number> = { ...binaryCodes, ...compareCodes };

interface Call extends Layout {
  readonly dtype: DType;
  readonly name: string;
}

const storage = (dtype: DType, values: ArrayLike<number>) =>
  fromNumbers(dtype, [values.length], values).data as NumericStorage;
const numbers = (dtype: DType, data: NumericStorage) => toNumbers(tensor(dtype, [data.length], data));

/** Runs the kernel and the function of the table over the same small whole numbers, on which all types are exact. */
function check(isa: string, call: Call, parts: number): void {
  const { dtype, name, dims } = call;
  const at = offsets(dims, call.a);
  const bt = offsets(dims, call.b);
  const signed = !dtype.startsWith('u') && !bitwise.includes(name);
  const make = (list: readonly number[], seed: number, zero: boolean) =>
    Float64Array.from(
      random(
        list.reduce((m, o) => Math.max(m, o + 1), 0),
        seed,
      ),
      (x) => {
        const whole = Math.round(x * 10);
        return (signed ? whole : Math.abs(whole)) || (zero ? 0 : 1);
      },
    );
  const lift = name === 'Sub' && !signed ? 20 : 0;
  const a = make(at, 3, true).map((x) => x + lift);
  const b = make(bt, 4, false);
  const bool = name in compareCodes;
  const outType: DType = bool ? 'bool' : dtype;
  const y = storage(outType, new Array(at.length + 1).fill(0));
  const params = { op: codes[name], dims, a_strides: call.a, b_strides: call.b };
  run(isa, `binary.${suffixes[dtype]}`, [storage(dtype, a), storage(dtype, b), y], params, parts);
  const float = dtype.includes('float');
  const results = at.map((o, i) => functions[name](a[o], b[bt[i]]));
  const want = storage(outType, [...results.map((r) => (float ? r : Math.trunc(r))), 0]);
  expect(numbers(outType, y), `${dtype} ${name}`).toEqual(numbers(outType, want));
}

describe.each(isas)('binary %s', (isa) => {
  test.each(Object.keys(layouts))('layout %s', (name) => {
    for (const dtype of ['float32', 'float16', 'int64', 'uint8'] as const) {
      for (const op of ['Add', 'Div', 'Less']) check(isa, { ...layouts[name], dtype, name: op }, 3);
    }
  });

  test.each(Object.keys(suffixes) as DType[])('every operation on %s', (dtype) => {
    for (const name of Object.keys(functions)) {
      if (dtype.includes('float') && bitwise.includes(name)) continue;
      check(isa, { ...layouts.channel, dtype, name }, 1);
    }
  });

  test('powers', () => {
    const pow = (a: NumericStorage, b: NumericStorage, suffix: string) => {
      const y = a.slice() as NumericStorage;
      const params = { op: binaryCodes.Pow, dims: [a.length], a_strides: [1], b_strides: [b.length === 1 ? 0 : 1] };
      run(isa, `binary.${suffix}`, [a, b, y], params);
      return y;
    };
    const a = random(500).map((x) => Math.abs(x) * 20 + 1e-3);
    const b = random(500, 5).map((x) => x * 12);
    const y = pow(a, b, 'f32') as Float32Array;
    a.forEach((x, i) => {
      const want = Math.fround(x ** b[i]);
      expect(Math.abs(y[i] - want)).toBeLessThanOrEqual(Math.abs(want) * 1.2e-7 + 1.5e-45);
    });
    for (const e of [0, 1, 2, 3, -1, 0.5, -2.5, 1e9, -1e9]) {
      const got = pow(a, Float32Array.of(e), 'f32') as Float32Array;
      a.forEach((x, i) => {
        const want = Math.fround(x ** Math.fround(e));
        if (got[i] !== want) expect(Math.abs(got[i] - want), `${x}^${e}`).toBeLessThanOrEqual(Math.abs(want) * 2e-7);
      });
    }
    const special = [0, -0, -2, -8, 1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-42];
    for (const e of [0, 0.5, 2, 3, -1, -3, 7.5, Number.POSITIVE_INFINITY]) {
      const got = pow(Float32Array.from(special), Float32Array.of(e), 'f32');
      // JavaScript alone says that 1 to an infinite power is NaN.
      const want = special.map((x) => (x === 1 ? 1 : Math.fround(Math.fround(x) ** e)));
      expect([...numbers('float32', got)], String(e)).toEqual(want);
    }
    expect([...pow(Int32Array.of(2, -3, 0, 7), Int32Array.of(10, 3, 0, 2), 'i32')]).toEqual([1024, -27, 1, 49]);
    expect([...pow(Int32Array.of(2, -1, 1, -1), Int32Array.of(-1, -3, -5, -2), 'i32')]).toEqual([0, -1, 1, 1]);
    expect([...pow(Float64Array.of(2, 9), Float64Array.of(0.5, 0.5), 'f64')]).toEqual([Math.SQRT2, 3]);
  });

  test('edges of the integers', () => {
    const at = (suffix: string, op: number, a: NumericStorage, b: NumericStorage) => {
      const y = a.slice() as NumericStorage;
      run(isa, `binary.${suffix}`, [a, b, y], { op, dims: [a.length], a_strides: [1], b_strides: [1] });
      return [...y];
    };
    const low = Int32Array.of(-2147483648, 7, -7);
    expect(at('i32', binaryCodes.Div, low, Int32Array.of(-1, -2, 2))).toEqual([-2147483648, -3, -3]);
    expect(at('i32', binaryCodes.Mod, low, Int32Array.of(-1, -2, 2))).toEqual([0, -1, 1]);
    expect(at('i32', binaryCodes.Mul, low, Int32Array.of(2, 2, 2))).toEqual([0, 14, -14]);
    expect(at('u16', binaryCodes.Mul, Uint16Array.of(65535), Uint16Array.of(65535))).toEqual([1]);
    expect(() => at('i64', binaryCodes.Div, BigInt64Array.of(1n), BigInt64Array.of(0n))).toThrow(/division by zero/);
    expect(() => at('u8', binaryCodes.Mod, Uint8Array.of(1), Uint8Array.of(0))).toThrow(/division by zero/);
    expect(at('u8', binaryCodes.ShiftLeft, Uint8Array.of(1, 1), Uint8Array.of(7, 8))).toEqual([128, 0]);
  });

  test('NaN passes through Max and Min', () => {
    const a = Float32Array.of(Number.NaN, 1, 2);
    const b = Float32Array.of(1, Number.NaN, 3);
    for (const op of [binaryCodes.Max, binaryCodes.Min]) {
      const y = new Float32Array(3);
      run(isa, 'binary.f32', [a, b, y], { op, dims: [3], a_strides: [1], b_strides: [1] });
      expect([...y.subarray(0, 2)]).toEqual([Number.NaN, Number.NaN]);
    }
  });

  test('in place', () => {
    const a = random(1000);
    const b = random(1000, 8);
    const want = a.map((x, i) => x - b[i]);
    run(isa, 'binary.f32', [a, b, b], { op: binaryCodes.Sub, dims: [1000], a_strides: [1], b_strides: [1] }, 2);
    expect(b).toEqual(want);
  });

  test('wrong calls are refused', () => {
    const x = new Float32Array(6);
    const base = { op: 0, dims: [2, 3], a_strides: [3, 1], b_strides: [3, 1] };
    const bad = (change: object) => run(isa, 'binary.f32', [x, x.slice(), x.slice()], { ...base, ...change });
    expect(() => bad({ a_strides: [4, 1] })).toThrow(/leave a/);
    expect(() => bad({ b_strides: [-1, 0] })).toThrow(/leave b/);
    expect(() => bad({ dims: [2, 4], a_strides: [0, 0], b_strides: [0, 0] })).toThrow(/y holds/);
    expect(() => bad({ op: 40 })).toThrow(/no binary/);
    expect(() => bad({ op: binaryCodes.And })).toThrow(/no such/);
  });

  test('where', () => {
    for (const [name, l] of Object.entries(layouts)) {
      const at = offsets(l.dims, l.a);
      const bt = offsets(l.dims, l.b);
      const size = (list: number[]) => list.reduce((m, o) => Math.max(m, o + 1), 0);
      const c = Uint8Array.from(random(size(bt), 2), (v) => Number(v > 0));
      const a = random(size(at), 3);
      const b = random(size(bt), 4);
      const y = new Float32Array(at.length);
      const params = { width: 4, dims: l.dims, c_strides: l.b, a_strides: l.a, b_strides: l.b };
      run(isa, 'where', [c, a, b, y], params, 2);
      expect(y, name).toEqual(Float32Array.from(at, (o, i) => (c[bt[i]] ? a[o] : b[bt[i]])));
      const y8 = new Float64Array(at.length);
      const wide = { ...params, width: 8 };
      run(isa, 'where', [c, Float64Array.from(a), Float64Array.from(b), y8], wide);
      expect(y8, name).toEqual(Float64Array.from(at, (o, i) => (c[bt[i]] ? a[o] : b[bt[i]])));
    }
  });
});

const bits = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0];

describe.each(isas)('chain.f32 %s', (isa) => {
  const none = new Array<null>(6).fill(null);

  test('a small network of operations, with a broadcast input', () => {
    for (const dims of [
      [0, 7],
      [3, 5],
      [40, 300],
      [301, 4],
    ]) {
      const [rows, cols] = dims;
      const x = random(rows * cols);
      const row = random(cols, 5);
      // (x + row) * tanh(2 x + 1), then 0 replaced by row where negative.
      const program = [
        ...[1, binaryCodes.Add, 8, 0, 1, 0, 0, 0],
        ...[0, unaryCodes.Affine, 9, 0, 0, 0, bits(2), bits(1)],
        ...[0, unaryCodes.Tanh, 9, 9, 0, 0, 0, 0],
        ...[1, binaryCodes.Mul, 8, 8, 9, 0, 0, 0],
        ...[0, unaryCodes.Relu, 9, 8, 0, 0, 0, 0],
        ...[2, 0, 8, 9, 8, 1, 0, 0],
      ];
      const y = new Float32Array(x.length);
      const strides = [cols, 1, 0, 1, ...new Array(12).fill(0)];
      run(isa, 'chain.f32', [x, row, ...none, y], { dims, strides, program }, 2);
      x.forEach((v, i) => {
        const t = (v + row[i % cols]) * Math.tanh(2 * v + 1);
        expect(y[i]).toBeCloseTo(t > 0 ? t : row[i % cols], 5);
      });
    }
  });

  test('bad programs are refused', () => {
    const x = random(4);
    const go = (program: number[]) =>
      run(isa, 'chain.f32', [x, null, ...none, x.slice()], {
        dims: [4],
        strides: [1, 0, 0, 0, 0, 0, 0, 0],
        program,
      });
    expect(() => go([])).toThrow(/1 to 64/);
    expect(() => go([1, 0, 8, 0, 0, 0, 0])).toThrow(/1 to 64/);
    expect(() => go([3, 0, 8, 0, 0, 0, 0, 0])).toThrow(/unknown/);
    expect(() => go([0, 99, 8, 0, 0, 0, 0, 0])).toThrow(/unknown/);
    expect(() => go([0, 0, 3, 0, 0, 0, 0, 0])).toThrow(/no register/);
    expect(() => go([0, 0, 8, 9, 0, 0, 0, 0])).toThrow(/no value/);
    expect(() => go([1, 0, 8, 0, 1, 0, 0, 0])).toThrow(/no value/);
    expect(() => go([1, 0, 8, 0, 16, 0, 0, 0])).toThrow(/out of range/);
    expect(() => go([1, 0, 8, 0, -1, 0, 0, 0])).toThrow(/out of range/);
  });
});

import { describe, expect, test } from 'vitest';
import type { DType, NumericStorage } from '../../lib/ir/dtype.ts';
import { fromNumbers, tensor, toNumbers } from '../../lib/ir/tensor.ts';
import { testCodes, unaryCodes } from '../../lib/ops/elementwise-codes.ts';
import { isas, random, run } from './harness.ts';

type Name = keyof typeof unaryCodes;
interface Spec {
  readonly f: (x: number, alpha: number, beta: number) => number;
  /** Tolerated relative error. */
  readonly bound: number;
  readonly alpha?: number;
  readonly beta?: number;
  /** Moves test values into the domain. */
  readonly domain?: (x: number) => number;
}

/** Error function by its series, or the continued fraction of its complement. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 3) {
    let tail = a;
    for (let n = 60; n > 0; n--) tail = a + n / 2 / tail;
    return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / tail);
  }
  let sum = 0;
  let term = a;
  for (let n = 0; n < 100; n++) {
    sum += term / (2 * n + 1);
    term *= (-a * a) / (n + 1);
  }
  return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
}

function roundEven(x: number): number {
  const floor = Math.floor(x);
  const half = x - floor;
  if (half !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);

const specs: Record<Exclude<Name, 'Not'>, Spec> = {
  Abs: { f: Math.abs, bound: 0 },
  Neg: { f: (x) => -x, bound: 0 },
  Exp: { f: Math.exp, bound: 2e-7 },
  Log: { f: Math.log, bound: 2e-7, domain: Math.abs },
  Sqrt: { f: Math.sqrt, bound: 1e-7, domain: Math.abs },
  Reciprocal: { f: (x) => 1 / x, bound: 1e-7 },
  Sigmoid: { f: sigmoid, bound: 4e-7 },
  Tanh: { f: Math.tanh, bound: 3e-7 },
  Relu: { f: (x) => Math.max(0, x), bound: 0 },
  LeakyRelu: { f: (x, a) => (x < 0 ? a * x : x), bound: 1e-7, alpha: 0.1 },
  Elu: { f: (x, a) => (x < 0 ? a * Math.expm1(x) : x), bound: 1e-6, alpha: 1.5 },
  Selu: { f: (x, a, b) => b * (x > 0 ? x : a * Math.expm1(x)), bound: 1e-6, alpha: 1.67, beta: 1.05 },
  Celu: { f: (x, a) => (x > 0 ? x : a * Math.expm1(x / a)), bound: 1e-6, alpha: 2 },
  HardSigmoid: { f: (x, a, b) => clamp(a * x + b, 0, 1), bound: 1e-6, alpha: 0.2, beta: 0.5 },
  HardSwish: { f: (x) => (x * clamp(x + 3, 0, 6)) / 6, bound: 1e-6 },
  Softplus: { f: softplus, bound: 1e-6 },
  Softsign: { f: (x) => x / (1 + Math.abs(x)), bound: 2e-7 },
  Gelu: { f: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)), bound: 1e-6 },
  GeluTanh: { f: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))), bound: 1e-6 },
  Erf: { f: erf, bound: 3e-7, domain: (x) => x / 4 },
  Sin: { f: Math.sin, bound: 1e-7 },
  Cos: { f: Math.cos, bound: 1e-7 },
  Tan: { f: Math.tan, bound: 3e-7 },
  Asin: { f: Math.asin, bound: 3e-7, domain: (x) => Math.sin(x) },
  Acos: { f: Math.acos, bound: 1e-6, domain: (x) => Math.sin(x) * 0.99 },
  Atan: { f: Math.atan, bound: 3e-7 },
  Sinh: { f: Math.sinh, bound: 3e-7 },
  Cosh: { f: Math.cosh, bound: 3e-7 },
  Asinh: { f: Math.asinh, bound: 3e-7 },
  Acosh: { f: Math.acosh, bound: 1e-6, domain: (x) => 1.1 + Math.abs(x) },
  Atanh: { f: Math.atanh, bound: 1e-6, domain: (x) => Math.sin(x) * 0.99 },
  Floor: { f: Math.floor, bound: 0 },
  Ceil: { f: Math.ceil, bound: 0 },
  Round: { f: roundEven, bound: 0, domain: (x) => Math.round(x * 2) / 2 },
  Sign: { f: Math.sign, bound: 0 },
  Clip: { f: clamp, bound: 0, alpha: -1, beta: 2 },
  ThresholdedRelu: { f: (x, a) => (x > a ? x : 0), bound: 0, alpha: 0.5 },
  Mish: { f: (x) => x * Math.tanh(softplus(x)), bound: 1e-6 },
  Swish: { f: (x, a) => x * sigmoid(a * x), bound: 1e-5, alpha: 1.5 },
  Shrink: { f: (x, a, b) => (x < -a ? x + b : x > a ? x - b : 0), bound: 1e-7, alpha: 1, beta: 0.25 },
  Affine: { f: (x, a, b) => a * x + b, bound: 1e-6, alpha: 2.5, beta: -0.5 },
};

/** Values around 0, large ones, and the numbers that are not. */
const values = [
  ...random(300).map((x) => x * 8),
  ...random(100, 5).map((x) => x * 0.01),
  ...random(100, 9).map((x) => x * 80),
  ...[0, 1, -1, 2, -2, 0.5, 1e-7, 1e-30, -1e-30, 3, -3, 87, -87, 1e5],
];

function compute(isa: string, suffix: string, op: number, x: NumericStorage, spec: Partial<Spec>, parts = 1) {
  const y = x.slice() as NumericStorage;
  const params = { op, alpha: spec.alpha ?? 0, beta: spec.beta ?? 0, count: x.length };
  run(isa, `unary.${suffix}`, [x, y], params, parts);
  return y;
}

/** Doubles read from storage of a type, f applied, compared within a bound relative to the result or `floor`. */
function compare(dtype: DType, x: NumericStorage, y: NumericStorage, spec: Spec, bound: number, floor: number): void {
  const from = toNumbers(tensor(dtype, [x.length], x));
  const got = toNumbers(tensor(dtype, [y.length], y));
  const alpha = dtype === 'float64' ? (spec.alpha ?? 0) : Math.fround(spec.alpha ?? 0);
  const beta = dtype === 'float64' ? (spec.beta ?? 0) : Math.fround(spec.beta ?? 0);
  for (let i = 0; i < from.length; i++) {
    const exact = spec.f(from[i], alpha, beta);
    const [want] = toNumbers(fromNumbers(dtype, [1], [exact]));
    if (Object.is(got[i], want) || got[i] === want) continue;
    // Sums that cancel (Gelu, Softplus far left) lose relative but not absolute precision.
    expect(Math.abs(got[i] - exact), `f(${from[i]}) = ${got[i]}, not ${exact}`).toBeLessThanOrEqual(
      bound * Math.max(Math.abs(exact), floor),
    );
  }
}

describe.each(isas)('unary %s', (isa) => {
  test.each(Object.keys(specs) as (keyof typeof specs)[])('%s', (name) => {
    const spec = specs[name];
    const x = Float32Array.from(values, spec.domain ?? ((v) => v));
    const cancels = ['Gelu', 'GeluTanh', 'Shrink', 'Affine', 'HardSigmoid', 'HardSwish'].includes(name);
    const floor = cancels ? 1 : 1e-30;
    for (const n of [0, 1, 3, 15, 16, 17, x.length]) {
      const part = x.slice(0, n);
      compare('float32', part, compute(isa, 'f32', unaryCodes[name], part, spec, 2), spec, spec.bound, floor);
    }
    const half = fromNumbers('float16', [x.length], x).data as NumericStorage;
    const clean = half.map((h) => ((h as number) & 0x7c00 ? h : 0) as never) as NumericStorage;
    compare('float16', clean, compute(isa, 'f16', unaryCodes[name], clean, spec), spec, 1e-3, cancels ? 1 : 1e-4);
    const bfloat = fromNumbers('bfloat16', [x.length], x).data as NumericStorage;
    // A sigmoid is no smaller than 4.2e-39, which a factor far left multiplies.
    const least = cancels ? 1 : name === 'Swish' ? 1e-30 : 1e-36;
    compare('bfloat16', bfloat, compute(isa, 'bf16', unaryCodes[name], bfloat, spec), spec, 8e-3, least);
    const wide = Float64Array.from(x);
    compare('float64', wide, compute(isa, 'f64', unaryCodes[name], wide, spec), spec, 1e-9, 1);
  });

  test('NaN stays and limits are right', () => {
    const special = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    const at = (name: Name, extra: Partial<Spec> = {}) => [...compute(isa, 'f32', unaryCodes[name], special, extra)];
    const inf = Number.POSITIVE_INFINITY;
    for (const name of Object.keys(specs) as (keyof typeof specs)[]) {
      if (name === 'ThresholdedRelu' || name === 'Shrink') continue;
      expect(at(name, specs[name])[0], name).toBe(Number.NaN);
    }
    expect(at('Exp').slice(1)).toEqual([inf, 0]);
    expect(at('Elu', { alpha: 1 }).slice(1)).toEqual([inf, -1]);
    expect(at('Softplus').slice(1)).toEqual([inf, 0]);
    expect(at('Floor').slice(1)).toEqual([inf, -inf]);
    expect(at('Sin').slice(1)).toEqual([Number.NaN, Number.NaN]);
    expect(at('Round').slice(1)).toEqual([inf, -inf]);
    const large = Float32Array.of(1e9, 4194305.5, 8388609, -4194303.5, 3e9, -0.4);
    expect([...compute(isa, 'f32', unaryCodes.Round, large, {})]).toEqual([1e9, 4194306, 8388609, -4194304, 3e9, -0]);
    expect([...compute(isa, 'f32', unaryCodes.Ceil, large, {})].slice(-2)).toEqual([3e9, -0]);
    const far = Float32Array.of(1e9, 123456.7, 1e20, 2e7);
    compare('float32', far, compute(isa, 'f32', unaryCodes.Sin, far, {}), specs.Sin, 2e-7, 1);
  });

  test('IsNaN and IsInf', () => {
    const inf = Number.POSITIVE_INFINITY;
    const x = [0, Number.NaN, inf, -inf, 1];
    for (const [suffix, dtype] of [
      ['f32', 'float32'],
      ['f64', 'float64'],
      ['f16', 'float16'],
      ['bf16', 'bfloat16'],
    ] as const) {
      const data = fromNumbers(dtype, [5], x).data as NumericStorage;
      const ask = (op: number, alpha: number, beta: number) => {
        const y = new Uint8Array(5);
        run(isa, `unary.${suffix}`, [data, y], { op, alpha, beta, count: 5 });
        return [...y];
      };
      expect(ask(testCodes.IsNaN, 0, 0)).toEqual([0, 1, 0, 0, 0]);
      expect(ask(testCodes.IsInf, 1, 1)).toEqual([0, 0, 1, 1, 0]);
      expect(ask(testCodes.IsInf, 0, 1)).toEqual([0, 0, 1, 0, 0]);
      expect(ask(testCodes.IsInf, 1, 0)).toEqual([0, 0, 0, 1, 0]);
    }
  });

  test('integers', () => {
    const x = Int8Array.of(-128, -1, 0, 5, 127);
    const at = (op: number, spec: Partial<Spec> = {}) => [...compute(isa, 'i8', op, x, spec)];
    expect(at(unaryCodes.Abs)).toEqual([-128, 1, 0, 5, 127]);
    expect(at(unaryCodes.Neg)).toEqual([-128, 1, 0, -5, -127]);
    expect(at(unaryCodes.Sign)).toEqual([-1, -1, 0, 1, 1]);
    expect(at(unaryCodes.Relu)).toEqual([0, 0, 0, 5, 127]);
    expect(at(unaryCodes.Not)).toEqual([127, 0, -1, -6, -128]);
    expect(at(unaryCodes.Clip, { alpha: -1, beta: 5 })).toEqual([-1, -1, 0, 5, 5]);
    expect(at(unaryCodes.Clip, { alpha: Number.NEGATIVE_INFINITY, beta: 5 })).toEqual([-128, -1, 0, 5, 5]);
    expect(() => at(unaryCodes.Exp)).toThrow(/no such operation/);
    const big = BigInt64Array.of(-(2n ** 63n), -5n, 2n ** 62n);
    expect([...compute(isa, 'i64', unaryCodes.Abs, big, {})]).toEqual([-(2n ** 63n), 5n, 2n ** 62n]);
    const unsigned = BigUint64Array.of(0n, 2n ** 64n - 1n);
    expect([...compute(isa, 'u64', unaryCodes.Sign, unsigned, {})]).toEqual([0n, 1n]);
    expect([...compute(isa, 'bool', unaryCodes.Not, Uint8Array.of(0, 1, 1), {})]).toEqual([1, 0, 0]);
  });

  test('wrong numbers and short operands are refused', () => {
    const x = new Float32Array(4);
    const bad = (op: number, count: number) => run(isa, 'unary.f32', [x, x.slice()], { op, alpha: 0, beta: 0, count });
    expect(() => bad(-1, 4)).toThrow(/no unary/);
    expect(() => bad(50, 4)).toThrow(/no unary/);
    expect(() => bad(unaryCodes.Not, 4)).toThrow(/no such/);
    expect(() => bad(0, 5)).toThrow(/x holds/);
  });
});

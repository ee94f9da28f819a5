/** Linear quantisation of tensors as the com.microsoft operators use it: scales and zero points, alone or per channel. */

import type { DType } from '../ir/dtype.ts';
import { shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import type { NodeReader, ReferenceContext } from './op.ts';
import { rangeOf } from './saturate.ts';
import { roundHalfEven } from './special-functions.ts';

/** A scale and a zero point for a whole tensor. */
export interface Linear {
  readonly scale: number;
  readonly zero: number;
}

/** The number in a scalar or a tensor of one element; `fallback` where the input is omitted. */
export function scalarInput(ctx: ReferenceContext, i: number, what: string, fallback?: number): number {
  const t = ctx.optional(i);
  if (!t) {
    if (fallback !== undefined) return fallback;
    throw ctx.error(`the input ${i} (${what}) is missing`);
  }
  const values = toNumbers(t);
  if (values.length !== 1) throw ctx.error(`${what} has shape ${shapeText(t.dims)}, expected one element`);
  return values[0];
}

/** Scale and (optional) zero point in the inputs `i` and `i + 1`. */
export function linearInput(ctx: ReferenceContext, i: number, what: string): Linear {
  return {
    scale: scalarInput(ctx, i, `${what}'s scale`),
    zero: scalarInput(ctx, i + 1, `${what}'s zero point`, 0),
  };
}

/** The real numbers that quantised elements stand for, each rounded to float32. */
export function dequantize(t: HostTensor, { scale, zero }: Linear): Float64Array {
  return Float64Array.from(toNumbers(t), (q) => Math.fround((q - zero) * scale));
}

/** The nearest quantised number, clamped to the type; the quotient is a float32, so halves are what they are there. */
export function quantizer(dtype: DType, { scale, zero }: Linear): (x: number) => number {
  const [least, most] = rangeOf(dtype);
  return (x) => Math.min(Math.max(roundHalfEven(Math.fround(x / scale)) + zero, least), most);
}

/** A quantised tensor from real numbers. */
export function quantized(dtype: DType, dims: readonly number[], values: Float64Array, linear: Linear): HostTensor {
  return fromNumbers(dtype, dims, values.map(quantizer(dtype, linear)));
}

/** A vector of `columns` numbers from a scalar or a vector; undefined input gives `fallback` everywhere. */
export function perColumn(
  ctx: NodeReader,
  t: HostTensor | undefined,
  columns: number,
  what: string,
  fallback = 0,
): Float64Array {
  if (!t) return new Float64Array(columns).fill(fallback);
  const values = toNumbers(t);
  if (values.length === columns) return values;
  if (values.length !== 1) throw ctx.error(`${what} has shape ${shapeText(t.dims)}, expected 1 or ${columns} elements`);
  return new Float64Array(columns).fill(values[0]);
}

/** uint8 parameters for the range of `x` with zero in it, in float32 as they are computed at run time. */
export function dynamicRange(x: Float64Array): Linear {
  let [low, high] = [0, 0];
  for (const value of x) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const scale = high === low ? 1 : Math.fround(Math.fround(high - low) / 255);
  const zero = roundHalfEven(Math.min(Math.max(Math.fround(-low / scale), 0), 255));
  return { scale, zero };
}

/** The elements as they are after quantisation to uint8 with `linear`, less the zero point. */
export function dynamicLevels(x: Float64Array, linear: Linear): Float64Array {
  const q = quantizer('uint8', linear);
  return x.map((value) => q(value) - linear.zero);
}

/** Rounding of results to an element type: integers to nearest even, clamped to the type's range. */

import { type DType, dtypeInfo } from '../ir/dtype.ts';
import { floatDecoder, floatEncoder } from '../ir/float.ts';
import { roundHalfEven } from './special-functions.ts';

/** Least and largest number of an integer type that a double can hold; infinite for floats. */
export function rangeOf(dtype: DType): readonly [number, number] {
  const { kind, bits } = dtypeInfo(dtype);
  if (kind === 'bool') return [0, 1];
  if (kind === 'uint') return [0, bits === 64 ? 2 ** 64 - 2048 : 2 ** bits - 1];
  if (kind === 'int') return [-(2 ** (bits - 1)), bits === 64 ? 2 ** 63 - 1024 : 2 ** (bits - 1) - 1];
  return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
}

/** Values of an integer type rounded and clamped (NaN becomes 0); other types are left alone. Changes `values`. */
export function saturated(dtype: DType, values: Float64Array): Float64Array {
  const [least, most] = rangeOf(dtype);
  if (most === Number.POSITIVE_INFINITY) return values;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    values[i] = Number.isNaN(v) ? 0 : Math.min(Math.max(roundHalfEven(v), least), most);
  }
  return values;
}

/** Rounds a number to a float type, for operators that say in which precision they compute. */
export function rounder(dtype: DType): (x: number) => number {
  if (dtype === 'float32') return Math.fround;
  const [encode, decode] = [floatEncoder(dtype), floatDecoder(dtype)];
  return encode && decode ? (x) => decode(encode(x)) : (x) => x;
}

/** Numbers to strings and back, as Cast does it. */

import type { DType } from '../ir/dtype.ts';
import { floatDecoder, floatEncoder } from '../ir/float.ts';

/** Significant digits that always suffice to read the number back. */
const enough: Partial<Record<DType, number>> = { float32: 9, float16: 5, bfloat16: 4 };

/** Rounds a double to a float type, as reading the text back would. */
function rounded(dtype: DType, x: number): number {
  if (dtype === 'float32') return Math.fround(x);
  const [encode, decode] = [floatEncoder(dtype), floatDecoder(dtype)];
  return encode && decode ? decode(encode(x)) : x;
}

/** The shortest decimal number that reads back as `x`: plain, or with an exponent like C's for very large or small. */
export function floatText(dtype: DType, x: number): string {
  if (Number.isNaN(x)) return 'NaN';
  if (x === Number.POSITIVE_INFINITY) return 'INF';
  if (x === Number.NEGATIVE_INFINITY) return '-INF';
  if (Object.is(x, -0)) return '-0';
  let shortest = x;
  const most = enough[dtype] ?? 17;
  for (let digits = 1; digits <= most && dtype !== 'float64'; digits++) {
    shortest = Number(x.toPrecision(digits));
    if (rounded(dtype, shortest) === x) break;
  }
  const magnitude = Math.abs(shortest);
  const plain = magnitude === 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  if (plain) return String(shortest);
  const [mantissa, exponent] = shortest.toExponential().split('e');
  return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}

const specials: Readonly<Record<string, number>> = {
  inf: Number.POSITIVE_INFINITY,
  '+inf': Number.POSITIVE_INFINITY,
  infinity: Number.POSITIVE_INFINITY,
  '+infinity': Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  '-infinity': Number.NEGATIVE_INFINITY,
  nan: Number.NaN,
  '+nan': Number.NaN,
  '-nan': Number.NaN,
};

const decimal = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** The number that a text stands for, or undefined where it is none. */
export function parseFloatText(text: string): number | undefined {
  const trimmed = text.trim();
  if (decimal.test(trimmed)) return Number(trimmed);
  const lower = trimmed.toLowerCase();
  return Object.hasOwn(specials, lower) ? specials[lower] : undefined;
}

/** The integer that a text stands for, exact where it is one, else its integer part; undefined where it is neither. */
export function parseIntegerText(text: string): bigint | undefined {
  const trimmed = text.trim();
  if (/^[+-]?\d+$/.test(trimmed)) return BigInt(trimmed.startsWith('+') ? trimmed.slice(1) : trimmed);
  const value = parseFloatText(trimmed);
  return value !== undefined && Number.isFinite(value) ? BigInt(Math.trunc(value)) : undefined;
}

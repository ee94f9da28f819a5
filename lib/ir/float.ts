/** Conversions between JavaScript numbers and the small floating-point formats, to nearest even. */

import type { DType } from './dtype.ts';

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);
const f64 = new Float64Array(1);
const f64Words = new Uint32Array(f64.buffer);
/** Which half of a double holds its exponent: 1 on little-endian machines. */
const HIGH = new Uint8Array(Uint16Array.of(1).buffer)[0];

/** Geometry of a small float: exponent and mantissa bits, bias, and which special values it has. */
interface SmallFloat {
  readonly exponent: number;
  readonly mantissa: number;
  readonly bias: number;
  /** `ieee`: top exponent is inf/NaN. `fn`: only all-ones is NaN, no inf. `fnuz`: 0x80 is NaN, no inf, no -0. */
  readonly special: 'ieee' | 'fn' | 'fnuz';
}

const formats: Partial<Record<DType, SmallFloat>> = {
  float16: { exponent: 5, mantissa: 10, bias: 15, special: 'ieee' },
  bfloat16: { exponent: 8, mantissa: 7, bias: 127, special: 'ieee' },
  float8e4m3fn: { exponent: 4, mantissa: 3, bias: 7, special: 'fn' },
  float8e4m3fnuz: { exponent: 4, mantissa: 3, bias: 8, special: 'fnuz' },
  float8e5m2: { exponent: 5, mantissa: 2, bias: 15, special: 'ieee' },
  float8e5m2fnuz: { exponent: 5, mantissa: 2, bias: 16, special: 'fnuz' },
};

function decodeBits(bits: number, format: SmallFloat): number {
  const { exponent, mantissa, bias, special } = format;
  const width = 1 + exponent + mantissa;
  const sign = bits >> (width - 1) ? -1 : 1;
  const e = (bits >> mantissa) & ((1 << exponent) - 1);
  const m = bits & ((1 << mantissa) - 1);
  const top = (1 << exponent) - 1;
  if (special === 'fnuz' && bits === 1 << (width - 1)) return Number.NaN;
  if (special === 'fn' && e === top && m === (1 << mantissa) - 1) return Number.NaN;
  if (special === 'ieee' && e === top) return m ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (e === 0) return sign * m * 2 ** (1 - bias - mantissa);
  return sign * (1 + m / (1 << mantissa)) * 2 ** (e - bias);
}

/** 2^n for n of a normal double. */
function powerOfTwo(n: number): number {
  f64Words[HIGH] = (n + 1023) << 20;
  f64Words[1 - HIGH] = 0;
  return f64[0];
}

function encodeBits(value: number, format: SmallFloat, saturate: boolean): number {
  const { exponent, mantissa, bias, special } = format;
  const width = 1 + exponent + mantissa;
  const signBit = 1 << (width - 1);
  const top = (1 << exponent) - 1;
  const nan = special === 'fnuz' ? signBit : special === 'fn' ? signBit - 1 : (top << mantissa) | (1 << (mantissa - 1));
  if (Number.isNaN(value)) return nan;
  const sign = value < 0 || Object.is(value, -0) ? signBit : 0;
  const magnitude = Math.abs(value);
  const maxBits = special === 'ieee' ? (top << mantissa) - 1 : special === 'fn' ? signBit - 2 : signBit - 1;
  const infinite = special === 'ieee' ? sign | (top << mantissa) : nan === signBit ? nan : sign | nan;
  if (magnitude === Number.POSITIVE_INFINITY) return saturate ? sign | maxBits : infinite;
  f64[0] = magnitude;
  const exact = Math.max((f64Words[HIGH] >>> 20) - 1023, 1 - bias);
  // Adding and taking away 2^52 rounds to an integer, to even; a carry runs into the exponent as it should.
  const steps = magnitude * powerOfTwo(mantissa - exact) + 2 ** 52 - 2 ** 52;
  const first = 2 ** mantissa;
  const bits = steps < first ? steps : ((exact + bias) << mantissa) + (steps - first);
  if (bits > maxBits) return saturate ? sign | maxBits : infinite;
  if (bits === 0 && special === 'fnuz') return 0;
  return sign | bits;
}

/** bfloat16 is the upper half of a float32; doubles are first rounded to float32, as every known writer does. */
function numberToBfloat16(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function bfloat16ToNumber(bits: number): number {
  u32[0] = bits << 16;
  return f32[0];
}

/** E8M0: a power of two, 255 is NaN. */
const float8e8m0ToNumber = (bits: number): number => (bits === 255 ? Number.NaN : 2 ** (bits - 127));

/** How a cast to float8e8m0 rounds. */
export type RoundMode = 'up' | 'down' | 'nearest';

/** The nearest power of two as E8M0 bits; ties and `mode` as in ONNX Cast. */
export function numberToFloat8e8m0(value: number, mode: RoundMode = 'up', saturate = true): number {
  if (Number.isNaN(value) || value < 0) return 255;
  if (value === 0) return 0;
  if (value === Number.POSITIVE_INFINITY) return saturate ? 254 : 255;
  const down = Math.floor(Math.log2(value));
  const floor = 2 ** down > value ? down - 1 : 2 ** (down + 1) <= value ? down + 1 : down;
  const exactPower = 2 ** floor === value;
  let e = floor;
  if (!exactPower && (mode === 'up' || (mode === 'nearest' && value / 2 ** floor >= 1.5))) e++;
  if (e > 127) return saturate ? 254 : 255;
  return Math.max(e + 127, 0);
}

const float4Values = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** E2M1 bits (0 to 15) to a number. */
export function float4e2m1ToNumber(bits: number): number {
  const magnitude = float4Values[bits & 7];
  return bits & 8 ? -magnitude : magnitude;
}

/** The nearest E2M1 value, ties to even, saturating; NaN, which the type lacks, becomes -0, as in ONNX's reference. */
export function numberToFloat4e2m1(value: number): number {
  if (Number.isNaN(value)) return 8;
  const sign = value < 0 || Object.is(value, -0) ? 8 : 0;
  const magnitude = Math.min(Math.abs(value), 6);
  let best = 0;
  for (let i = 1; i < 8; i++) {
    const near = Math.abs(float4Values[i] - magnitude);
    const held = Math.abs(float4Values[best] - magnitude);
    if (near < held || (near === held && i % 2 === 0)) best = i;
  }
  return sign | best;
}

/** float16 bits to number, by table: the one conversion that is frequent. */
let half: Float64Array | undefined;
function float16ToNumber(bits: number): number {
  if (!half) {
    half = new Float64Array(65536);
    for (let i = 0; i < 65536; i++) half[i] = decodeBits(i, formats.float16 as SmallFloat);
  }
  return half[bits];
}

/** Decoder from bits to number for the types stored as bits; undefined for the others. */
export function floatDecoder(dtype: DType): ((bits: number) => number) | undefined {
  if (dtype === 'float16') return float16ToNumber;
  if (dtype === 'bfloat16') return bfloat16ToNumber;
  if (dtype === 'float8e8m0') return float8e8m0ToNumber;
  const format = formats[dtype];
  return format && ((bits) => decodeBits(bits, format));
}

const floatTables = new Map<DType, Float32Array>();

/** The float32 of each 16 bits. */
function floatTable(dtype: DType): Float32Array {
  let table = floatTables.get(dtype);
  if (!table) {
    const decode = floatDecoder(dtype) as (bits: number) => number;
    table = new Float32Array(65536);
    for (let i = 0; i < table.length; i++) table[i] = decode(i);
    floatTables.set(dtype, table);
  }
  return table;
}

/** Bits of a stored type as float32. Whole weights go this way: through a table, element by element without calls. */
export function decodedFloats(dtype: DType, bits: Uint16Array): Float32Array {
  const table = floatTable(dtype);
  const floats = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) floats[i] = table[bits[i]];
  return floats;
}

/** Encoder from number to bits for the types stored as bits. `saturate` clamps float8 (ONNX Cast's default). */
export function floatEncoder(dtype: DType, saturate = true): ((value: number) => number) | undefined {
  if (dtype === 'bfloat16') return numberToBfloat16;
  if (dtype === 'float8e8m0') return (value) => numberToFloat8e8m0(value);
  const format = formats[dtype];
  if (!format) return undefined;
  const clamp = saturate && dtype !== 'float16';
  return (value) => encodeBits(value, format, clamp);
}

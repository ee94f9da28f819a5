/** The key-value cache of GroupQueryAttention: plain or quantised elements, decoded to and from doubles. */

import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import type { NodeReader } from './op.ts';
import { roundHalfEven } from './special-functions.ts';

/** How one cache (keys or values) is stored. */
export interface CacheCodec {
  /** Head size of the decoded cache. */
  readonly size: number;
  decode(t: HostTensor): Float64Array;
  /** Encodes [batch, heads, length, size] rows into a tensor. */
  encode(dims: readonly number[], values: Float64Array): HostTensor;
}

/** Stored as it is. */
export function plainCodec(dtype: HostTensor['dtype'], size: number): CacheCodec {
  return { size, decode: toNumbers, encode: (dims, values) => fromNumbers(dtype, dims, values) };
}

/**
 * Stored as integers (or float8) with scales: one for all, or [heads * size] per channel. With 4 bits two elements
 * share a byte, the first in the low half, offset by 8.
 */
export function quantizedCodec(
  ctx: NodeReader,
  dtype: HostTensor['dtype'],
  heads: number,
  size: number,
  scales: Float64Array,
): CacheCodec {
  const four = ctx.int('kv_cache_bit_width', 8) === 4;
  if (scales.length !== 1 && scales.length !== heads * size) {
    throw ctx.error(`a cache scale has ${scales.length} entries, expected 1 or ${heads * size}`);
  }
  if (four && (size % 2 !== 0 || dtype !== 'uint8'))
    throw ctx.error(`a 4-bit cache of ${dtype} with head size ${size}`);
  // Index of the scale of element `i` of [batch, heads, length, size].
  const scaleOf = (i: number, length: number): number => {
    if (scales.length === 1) return scales[0];
    return scales[(Math.floor(i / (length * size)) % heads) * size + (i % size)];
  };
  const decode = (t: HostTensor): Float64Array => {
    const length = t.dims[2];
    const stored = toNumbers(t);
    if (!four) return stored.map((q, i) => q * scaleOf(i, length));
    const out = new Float64Array(stored.length * 2);
    for (let i = 0; i < out.length; i++) {
      const nibble = (stored[i >> 1] >> (4 * (i % 2))) & 15;
      out[i] = (nibble - 8) * scaleOf(i, length);
    }
    return out;
  };
  const clamp = (x: number, low: number, high: number): number => Math.min(Math.max(roundHalfEven(x), low), high);
  const encode = (dims: readonly number[], values: Float64Array): HostTensor => {
    const length = dims[2];
    if (four) {
      const bytes = new Float64Array(values.length / 2);
      for (let i = 0; i < values.length; i++) {
        bytes[i >> 1] += (clamp(values[i] / scaleOf(i, length), -8, 7) + 8) * (i % 2 ? 16 : 1);
      }
      return fromNumbers(dtype, [...dims.slice(0, 3), size / 2], bytes);
    }
    const scaled = values.map((x, i) => x / scaleOf(i, length));
    if (dtype === 'int8')
      return fromNumbers(
        dtype,
        dims,
        scaled.map((x) => clamp(x, -128, 127)),
      );
    if (dtype === 'uint8')
      return fromNumbers(
        dtype,
        dims,
        scaled.map((x) => clamp(x, 0, 255)),
      );
    return fromNumbers(dtype, dims, scaled);
  };
  return { size, decode, encode };
}

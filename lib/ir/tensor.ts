/** Values on the JavaScript side: tensors, sequences, optionals and maps. */

import { totalmem } from 'node:os';
import { InternalError, MemoryError, RunError } from '../errors.ts';
import {
  byteLength,
  type DType,
  dtypeInfo,
  isBig,
  isPacked,
  isWhole,
  type NumericStorage,
  type Storage,
  storageLength,
} from './dtype.ts';
import { float4e2m1ToNumber, floatDecoder, floatEncoder, numberToFloat4e2m1 } from './float.ts';
import { MAX_ELEMENTS, sizeOf } from './shape.ts';

/**
 * A dense row-major tensor. `data` is as wide as the element type: float16, bfloat16 and float8 as bit patterns, complex numbers interleaved, sub-byte types packed with the first element in the low bits.
 */
export interface HostTensor {
  readonly kind: 'tensor';
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: Storage;
  /**
   * The contents where they lie, if that is not aligned for `data`, which is then a copy made at the first use.
   * @internal
   */
  readonly unaligned?: Uint8Array;
}

/** A sequence of values. */
export interface HostSequence {
  readonly kind: 'sequence';
  readonly items: readonly HostValue[];
  /** Element type of an empty sequence, where it is known. */
  readonly dtype?: DType;
}

/** A value that may be absent. */
export interface HostOptional {
  readonly kind: 'optional';
  readonly value: HostValue | null;
}

/** A map from integers or strings to values (ai.onnx.ml). */
export interface HostMap {
  readonly kind: 'map';
  readonly keyType: DType;
  readonly valueType: DType;
  readonly entries: ReadonlyMap<bigint | string, number | bigint | string>;
}

/** Any value on the JavaScript side. */
export type HostValue = HostTensor | HostSequence | HostOptional | HostMap;

/** A tensor over existing storage. Throws InternalError where the storage has not the length that `dims` need. */
export function tensor(dtype: DType, dims: readonly number[], data: Storage): HostTensor {
  const want = storageLength(dtype, sizeOf(dims));
  if (data.length !== want) {
    throw new InternalError(`storage of ${dtype} [${dims.join(',')}] has ${data.length} entries, expected ${want}`);
  }
  return { kind: 'tensor', dtype, dims, data };
}

/** Bytes of memory that this process may have. */
const machineBytes = Math.min(totalmem(), process.constrainedMemory?.() || Number.POSITIVE_INFINITY);

/** Throws MemoryError where `count` elements are more than the machine's memory. */
export function checkAllocatable(dtype: DType, count: number): void {
  if (!(count >= 0 && count <= MAX_ELEMENTS)) {
    throw new MemoryError(`a tensor of ${count} elements is larger than any memory`, { elements: count });
  }
  const bytes = dtype === 'string' ? count * 8 : byteLength(dtype, count);
  if (bytes > machineBytes) {
    throw new MemoryError(`${count} elements of ${dtype} take ${bytes} bytes, the machine has ${machineBytes}`, {
      elements: count,
      dtype,
      bytes,
    });
  }
}

/** Zeroed storage (empty strings) for `count` elements. Throws MemoryError where that is more than can be held. */
export function allocate(dtype: DType, count: number): Storage {
  checkAllocatable(dtype, count);
  const info = dtypeInfo(dtype);
  try {
    return info.storage ? new info.storage(storageLength(dtype, count)) : new Array<string>(count).fill('');
  } catch (cause) {
    throw new MemoryError(`no memory for ${count} elements of ${dtype}`, { elements: count, dtype }, { cause });
  }
}

/** A zeroed tensor. */
export function zeros(dtype: DType, dims: readonly number[]): HostTensor {
  return tensor(dtype, dims, allocate(dtype, sizeOf(dims)));
}

/** A 1-D int64 tensor of small integers. */
export function int64Vector(values: readonly number[]): HostTensor {
  return tensor('int64', [values.length], BigInt64Array.from(values, BigInt));
}

/** One entry an element: unpacks sub-byte integers to Int8Array or Uint8Array; all other types keep their storage. */
export function unpacked(t: HostTensor): Storage {
  if (!isPacked(t.dtype)) return t.data;
  const { bits, kind } = dtypeInfo(t.dtype);
  const source = t.data as Uint8Array;
  const count = sizeOf(t.dims);
  const mask = (1 << bits) - 1;
  const perByte = 8 / bits;
  const out = kind === 'int' ? new Int8Array(count) : new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const value = (source[Math.floor(i / perByte)] >> ((i % perByte) * bits)) & mask;
    out[i] = kind === 'int' && value >> (bits - 1) ? value - (1 << bits) : value;
  }
  return out;
}

/** The inverse of {@link unpacked}: a tensor from one entry an element. */
export function packed(dtype: DType, dims: readonly number[], entries: Storage): HostTensor {
  if (!isPacked(dtype)) return tensor(dtype, dims, entries);
  const { bits } = dtypeInfo(dtype);
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const out = allocate(dtype, entries.length) as Uint8Array;
  for (let i = 0; i < entries.length; i++) {
    out[Math.floor(i / perByte)] |= (Number(entries[i]) & mask) << ((i % perByte) * bits);
  }
  return tensor(dtype, dims, out);
}

/** `out[i] = f(values[i])`: a plain loop, which engines run many times faster than the iteration of `from`. */
export function mapInto<A, B, T extends { [i: number]: B }>(out: T, values: ArrayLike<A>, f: (value: A) => B): T {
  for (let i = 0; i < values.length; i++) out[i] = f(values[i]);
  return out;
}

/**
 * The elements as JavaScript numbers: exact for every type but 64-bit integers beyond 2^53, which are rounded. Throws
 * RunError on strings and complex numbers.
 */
export function toNumbers(t: HostTensor): Float64Array {
  if (dtypeInfo(t.dtype).kind !== 'complex') return toParts(t);
  throw new RunError(`a tensor of ${t.dtype} where real numbers are wanted`, { dtype: t.dtype });
}

/** The same for complex numbers too, which give two entries an element. */
export function toParts(t: HostTensor): Float64Array {
  if (t.dtype === 'string') throw new RunError('a tensor of string where numbers are wanted', { dtype: t.dtype });
  if (t.dtype === 'float64' || t.dtype === 'complex128') return t.data as Float64Array;
  const entries = unpacked(t);
  const decode = t.dtype === 'float4e2m1' ? float4e2m1ToNumber : floatDecoder(t.dtype);
  if (decode) return mapInto(new Float64Array(entries.length), entries as Uint8Array, decode);
  if (isBig(t.dtype)) return mapInto(new Float64Array(entries.length), entries as BigInt64Array, Number);
  return new Float64Array(entries as Float32Array);
}

/** The elements as bigint; for integer and bool types. */
export function toBigInts(t: HostTensor): BigInt64Array | BigUint64Array | bigint[] {
  if (isBig(t.dtype)) return t.data as BigInt64Array;
  const entries = unpacked(t) as Uint8Array;
  return mapInto(new Array<bigint>(entries.length), entries, BigInt);
}

/** The elements of an integer tensor as plain numbers, for sizes, axes and indices. Throws RunError on other types. */
export function toIntegers(t: HostTensor): number[] {
  if (!isWhole(t.dtype))
    throw new RunError(`a tensor of ${t.dtype} where whole numbers are wanted`, { dtype: t.dtype });
  const entries = unpacked(t) as ArrayLike<number | bigint>;
  return mapInto(new Array<number>(entries.length), entries, Number);
}

/**
 * A tensor from JavaScript numbers, rounded to the element type: floats to nearest even, integers wrapped like a C
 * conversion of an in-range value (callers saturate where the operator says so). Throws RunError on strings.
 */
export function fromNumbers(dtype: DType, dims: readonly number[], values: ArrayLike<number>): HostTensor {
  if (dtype === 'string') throw new RunError('numbers where a tensor of string is wanted', { dtype });
  if (dtype === 'float64' || dtype === 'complex128') return tensor(dtype, dims, new Float64Array(values));
  const entries = entriesOf(dtype, values);
  return packed(dtype, dims, entries);
}

function entriesOf(dtype: DType, values: ArrayLike<number>): NumericStorage {
  const count = values.length;
  const encode = dtype === 'float4e2m1' ? numberToFloat4e2m1 : floatEncoder(dtype);
  const { storage, bits, kind } = dtypeInfo(dtype);
  if (encode) return mapInto(bits === 16 ? new Uint16Array(count) : new Uint8Array(count), values, encode);
  // What has no integer becomes 0.
  const toBigInt = (v: number): bigint => (Number.isFinite(v) ? BigInt(Math.trunc(v)) : 0n);
  if (dtype === 'int64') return mapInto(new BigInt64Array(count), values, toBigInt);
  if (dtype === 'uint64') return mapInto(new BigUint64Array(count), values, toBigInt);
  if (bits < 8) return new (kind === 'int' ? Int8Array : Uint8Array)(values);
  return new (storage as unknown as typeof Float32Array)(values);
}

/** A tensor of 64-bit or smaller integers from bigints, wrapped to the width of the type. */
export function fromBigInts(dtype: DType, dims: readonly number[], values: ArrayLike<bigint>): HostTensor {
  if (dtype === 'int64') return tensor(dtype, dims, BigInt64Array.from(values as bigint[]));
  if (dtype === 'uint64') return tensor(dtype, dims, BigUint64Array.from(values as bigint[]));
  const { bits } = dtypeInfo(dtype);
  const wrap = (v: bigint): number => Number(BigInt.asIntN(bits, v));
  return fromNumbers(dtype, dims, mapInto(new Float64Array(values.length), values, wrap));
}

/** A copy of the storage entries of one tensor under new dimensions of the same size. */
export function reshaped(t: HostTensor, dims: readonly number[]): HostTensor {
  return tensor(t.dtype, dims, t.data);
}

/** Picks elements: output element `i` is input element `index(i)`. Works for every type, strings and packed included. */
export function pick(t: HostTensor, dims: readonly number[], index: (i: number) => number): HostTensor {
  const count = sizeOf(dims);
  const complex = dtypeInfo(t.dtype).kind === 'complex';
  const source = unpacked(t) as NumericStorage;
  const out = (
    isPacked(t.dtype) ? new (source.constructor as typeof Uint8Array)(count) : allocate(t.dtype, count)
  ) as NumericStorage;
  for (let i = 0; i < count; i++) {
    const from = index(i);
    if (complex) {
      out[2 * i] = source[2 * from];
      out[2 * i + 1] = source[2 * from + 1];
    } else {
      out[i] = source[from];
    }
  }
  return packed(t.dtype, dims, out as Storage);
}

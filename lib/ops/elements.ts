/** Elements as JavaScript numbers with as few copies as possible, and the checks of element types. */

import { type DType, type DTypeKind, dtypeInfo, isBig, isPacked, type Storage } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { allocate, fromBigInts, fromNumbers, type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import type { InferContext } from './op.ts';

/** Types whose storage entries are the numbers themselves: storing into it rounds or wraps like C. */
function isPlain(dtype: DType): boolean {
  const { kind, bits } = dtypeInfo(dtype);
  if (isPacked(dtype) || isBig(dtype) || kind === 'string') return false;
  return kind === 'complex' || kind !== 'float' || bits >= 32;
}

/** The elements as numbers; the tensor's own storage where that holds them. Never write into it. */
export function numbersOf(t: HostTensor): ArrayLike<number> {
  return isPlain(t.dtype) ? (t.data as Float32Array) : toNumbers(t);
}

/** A place for results: fill `values`, then take `finish()`. */
export interface NumberSink {
  readonly values: { [i: number]: number };
  finish(): HostTensor;
}

/** Results of type `dtype`, each rounded once from double (floats) or wrapped (integers). */
export function numberSink(dtype: DType, dims: readonly number[]): NumberSink {
  const count = sizeOf(dims);
  if (isPlain(dtype)) {
    const values = allocate(dtype, count);
    return { values: values as Float32Array, finish: () => tensor(dtype, dims, values) };
  }
  const values = allocate('float64', count) as Float64Array;
  if (!isBig(dtype)) return { values, finish: () => fromNumbers(dtype, dims, values) };
  const finish = (): HostTensor => {
    const sink = bigSink(dtype, dims);
    for (let i = 0; i < count; i++) sink.values[i] = bigOf(values[i], dtype);
    return sink.finish();
  };
  return { values, finish };
}

/** A place for exact integer results, like {@link NumberSink}. */
export interface BigSink {
  readonly values: BigInt64Array | BigUint64Array;
  finish(): HostTensor;
}

/** Integer results of type `dtype`, each wrapped modulo 2^64 when stored, and to the type's width at the end. */
export function bigSink(dtype: DType, dims: readonly number[]): BigSink {
  const values = allocate(dtype === 'uint64' ? dtype : 'int64', sizeOf(dims)) as BigInt64Array;
  return { values, finish: () => (isBig(dtype) ? tensor(dtype, dims, values) : fromBigInts(dtype, dims, values)) };
}

/** The integer part of a number as a bigint; NaN and what is out of range become the least value, as on x86. */
export function bigOf(x: number, dtype: 'int64' | 'uint64'): bigint {
  const least = dtype === 'int64' ? -(2n ** 63n) : 2n ** 63n;
  const limit = dtype === 'int64' ? 2 ** 63 : 2 ** 64;
  if (!(x < limit && x >= -(2 ** 63))) return least;
  return BigInt(Math.trunc(x));
}

/**
 * C's conversion of a float to an integer type of up to 32 bits, before it wraps to the type's width: what does not
 * fit the register that x86 converts to becomes the register's least value.
 */
export function truncated(dtype: DType, x: number): number {
  if (dtype === 'uint32') return x >= -(2 ** 63) && x < 2 ** 63 ? Number(BigInt.asUintN(32, BigInt(Math.trunc(x)))) : 0;
  return x > -(2 ** 31) - 1 && x < 2 ** 31 ? Math.trunc(x) : -(2 ** 31);
}

/** Entries that compare with `<` and `===`: strings, bigints or numbers. */
export function comparables(t: HostTensor): ArrayLike<number> {
  const native = t.dtype === 'string' || isBig(t.dtype);
  return native ? (t.data as Storage as unknown as ArrayLike<number>) : numbersOf(t);
}

/** Zeroed doubles. Throws MemoryError where they cannot be held. */
export function doubles(count: number): Float64Array {
  return allocate('float64', count) as Float64Array;
}

/** True for signed and unsigned integers, not for bool. */
export function isInteger(dtype: DType): boolean {
  const { kind } = dtypeInfo(dtype);
  return kind === 'int' || kind === 'uint';
}

export const floatKinds: readonly DTypeKind[] = ['float'];
export const integerKinds: readonly DTypeKind[] = ['int', 'uint'];
export const numberKinds: readonly DTypeKind[] = ['float', 'int', 'uint'];

/** The element type of input `i`; throws where it is not of the `kinds` that the operator takes. */
export function expectKind(ctx: InferContext, i: number, kinds: readonly DTypeKind[]): DType {
  const dtype = ctx.dtype(i);
  if (!kinds.includes(dtypeInfo(dtype).kind)) {
    throw ctx.error(`input ${i} is of type ${dtype}, expected ${kinds.join(' or ')}`);
  }
  return dtype;
}

/** Throws where a present input among `inputs` is not of one of the `kinds`. */
export function expectKinds(ctx: InferContext, inputs: readonly number[], kinds: readonly DTypeKind[]): void {
  for (const i of inputs) if (ctx.has(i) && ctx.type(i)) expectKind(ctx, i, kinds);
}

/** The common element type of the inputs `0..count`; throws where they differ. */
export function expectSame(ctx: InferContext, count: number, kinds?: readonly DTypeKind[]): DType {
  const dtype = kinds ? expectKind(ctx, 0, kinds) : ctx.dtype(0);
  for (let i = 1; i < count; i++) {
    if (ctx.has(i) && ctx.type(i) && ctx.dtype(i) !== dtype) {
      throw ctx.error(`input ${i} is of type ${ctx.dtype(i)}, expected ${dtype} like input 0`);
    }
  }
  return dtype;
}

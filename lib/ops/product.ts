/** Matrix products in the arithmetic of an element type: doubles, integers modulo 2^32, or modulo 2^64. */

import { type DType, dtypeInfo, isBig } from '../ir/dtype.ts';
import { allocate, fromNumbers, type HostTensor, packed, tensor, toNumbers, unpacked } from '../ir/tensor.ts';

/**
 * Elements to compute with. Integers of up to 32 bits are taken modulo 2^32, longer ones modulo 2^64, so that sums of
 * products wrap exactly; everything else is double.
 */
export type Numbers = Float64Array | Int32Array | BigInt64Array;

/** The elements of a tensor to compute with. May share the tensor's storage: never write into it. */
export function numbersFor(t: HostTensor): Numbers {
  if (isBig(t.dtype)) {
    const data = t.data as BigInt64Array;
    return new BigInt64Array(data.buffer, data.byteOffset, data.length);
  }
  const { kind } = dtypeInfo(t.dtype);
  return kind === 'int' || kind === 'uint' ? Int32Array.from(unpacked(t) as Uint32Array) : toNumbers(t);
}

/** Zeroed numbers of the same arithmetic. Throws MemoryError where they cannot be held. */
export function zerosLike<T extends Numbers>(numbers: T, count: number): T {
  const dtype = numbers instanceof Float64Array ? 'float64' : numbers instanceof Int32Array ? 'int32' : 'int64';
  return allocate(dtype, count) as T;
}

/** A tensor of results, rounded or wrapped to its type. */
export function fromProducts(dtype: DType, dims: readonly number[], numbers: Numbers): HostTensor {
  if (numbers instanceof Float64Array) return fromNumbers(dtype, dims, numbers);
  if (numbers instanceof Int32Array) {
    const storage = dtypeInfo(dtype).storage as unknown as Int32ArrayConstructor;
    return packed(dtype, dims, storage.from(numbers));
  }
  const same = dtype === 'int64' ? numbers : new BigUint64Array(numbers.buffer, numbers.byteOffset, numbers.length);
  return tensor(dtype, dims, same);
}

/** A matrix in an array: element (i, j) at `at + i * row + j * column`. */
export interface Matrix<T extends Numbers> {
  readonly values: T;
  readonly at: number;
  readonly row: number;
  readonly column: number;
}

/** y += a b, with a [m, k], b [k, n] and y row-major [m, n] from `at` on. All of one arithmetic. */
export function multiplyAdd<T extends Numbers>(
  a: Matrix<T>,
  b: Matrix<T>,
  y: T,
  at: number,
  [m, k, n]: readonly [number, number, number],
): void {
  if (y instanceof Int32Array) wrapping(a as Matrix<Int32Array>, b as Matrix<Int32Array>, y, at, m, k, n);
  else if (y instanceof BigInt64Array) bigs(a as Matrix<BigInt64Array>, b as Matrix<BigInt64Array>, y, at, m, k, n);
  else doubles(a as Matrix<Float64Array>, b as Matrix<Float64Array>, y, at, m, k, n);
}

function doubles(
  a: Matrix<Float64Array>,
  b: Matrix<Float64Array>,
  y: Float64Array,
  at: number,
  m: number,
  k: number,
  n: number,
): void {
  const [left, right] = [a.values, b.values];
  for (let i = 0; i < m; i++) {
    const to = at + i * n;
    let p = 0;
    // Four steps at once: a quarter of the loads and stores of y.
    for (; p + 4 <= k; p += 4) {
      const from = a.at + i * a.row + p * a.column;
      const [f0, f1] = [left[from], left[from + a.column]];
      const [f2, f3] = [left[from + 2 * a.column], left[from + 3 * a.column]];
      let r0 = b.at + p * b.row;
      for (let j = to; j < to + n; j++) {
        const r2 = r0 + 2 * b.row;
        y[j] += f0 * right[r0] + f1 * right[r0 + b.row] + f2 * right[r2] + f3 * right[r2 + b.row];
        r0 += b.column;
      }
    }
    for (; p < k; p++) {
      const factor = left[a.at + i * a.row + p * a.column];
      let from = b.at + p * b.row;
      for (let j = to; j < to + n; j++) {
        y[j] += factor * right[from];
        from += b.column;
      }
    }
  }
}

function wrapping(
  a: Matrix<Int32Array>,
  b: Matrix<Int32Array>,
  y: Int32Array,
  at: number,
  m: number,
  k: number,
  n: number,
): void {
  for (let i = 0; i < m; i++) {
    const to = at + i * n;
    for (let p = 0; p < k; p++) {
      const factor = a.values[a.at + i * a.row + p * a.column];
      let from = b.at + p * b.row;
      for (let j = to; j < to + n; j++) {
        y[j] += Math.imul(factor, b.values[from]);
        from += b.column;
      }
    }
  }
}

function bigs(
  a: Matrix<BigInt64Array>,
  b: Matrix<BigInt64Array>,
  y: BigInt64Array,
  at: number,
  m: number,
  k: number,
  n: number,
): void {
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      const factor = a.values[a.at + i * a.row + p * a.column];
      for (let j = 0; j < n; j++) y[at + i * n + j] += factor * b.values[b.at + p * b.row + j * b.column];
    }
  }
}

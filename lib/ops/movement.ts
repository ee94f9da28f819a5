/** Moving elements of any type without computing: strided views, block copies. */

import { type DType, dtypeInfo, isPacked, type NumericStorage, type Storage } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { allocate, type HostTensor, packed, unpacked } from '../ir/tensor.ts';
import { forEachRow } from './broadcast.ts';

/** Entries of the unpacked storage that an element takes: 2 for complex numbers. */
export function entryWidth(dtype: DType): 1 | 2 {
  return dtypeInfo(dtype).kind === 'complex' ? 2 : 1;
}

/** Zeroed unpacked storage for `count` elements: the counterpart of `unpacked`, to be given to `packed`. */
export function allocateEntries(dtype: DType, count: number): Storage {
  if (!isPacked(dtype)) return allocate(dtype, count);
  return allocate(dtypeInfo(dtype).kind === 'int' ? 'int8' : 'uint8', count);
}

/** Copies `count` entries; the same typed arrays or string arrays on both sides. */
export function copyEntries(from: Storage, start: number, to: Storage, at: number, count: number): void {
  if (Array.isArray(from) || count < 16) {
    const source = from as NumericStorage;
    const target = to as NumericStorage;
    for (let i = 0; i < count; i++) target[at + i] = source[start + i];
    return;
  }
  (to as Float32Array).set((from as Float32Array).subarray(start, start + count), at);
}

/**
 * The tensor of shape `dims` whose element at index (i, j, ...) is the input's element `start + i*strides[0] + ...`,
 * all in elements. The caller sees to it that these are inside the input.
 */
export function strided(t: HostTensor, dims: readonly number[], strides: readonly number[], start = 0): HostTensor {
  const width = entryWidth(t.dtype);
  const from = unpacked(t);
  const to = allocateEntries(t.dtype, sizeOf(dims));
  copyStrided(from, start, strides, to, dims, width);
  return packed(t.dtype, dims, to);
}

function copyStrided(
  from: Storage,
  start: number,
  strides: readonly number[],
  to: Storage,
  dims: readonly number[],
  width: 1 | 2,
): void {
  const source = from as NumericStorage;
  const target = to as NumericStorage;
  forEachRow(
    dims,
    [strides],
    (at, count, [offset], [step]) => {
      if (step === 1) copyEntries(from, offset * width, to, at * width, count * width);
      else if (width === 1) for (let i = 0; i < count; i++) target[at + i] = source[offset + i * step];
      else {
        for (let i = 0; i < count; i++) {
          target[2 * (at + i)] = source[2 * (offset + i * step)];
          target[2 * (at + i) + 1] = source[2 * (offset + i * step) + 1];
        }
      }
    },
    [start],
  );
}

/** Builds a tensor out of runs of consecutive elements of other tensors of its type. */
export class Assembly {
  readonly #dtype: DType;
  readonly #dims: readonly number[];
  readonly #width: number;
  readonly #entries: Storage;

  constructor(dtype: DType, dims: readonly number[], initial?: HostTensor) {
    this.#dtype = dtype;
    this.#dims = dims;
    this.#width = entryWidth(dtype);
    this.#entries = initial ? unpacked(initial).slice() : allocateEntries(dtype, sizeOf(dims));
  }

  /** Copies `count` elements from element `start` of unpacked entries to element `at`. */
  copy(from: Storage, start: number, at: number, count: number): void {
    const width = this.#width;
    copyEntries(from, start * width, this.#entries, at * width, count * width);
  }

  /** Fills `count` elements with element 0 of unpacked entries. */
  fill(value: Storage, at: number, count: number): void {
    for (let i = 0; i < count; i++) this.copy(value, 0, at + i, 1);
  }

  tensor(): HostTensor {
    return packed(this.#dtype, this.#dims, this.#entries);
  }
}

/** Moving elements of any type without computing: strided views, block copies. */

import { type DType, dtypeInfo, isPacked, type NumericStorage, type Storage } from '../ir/dtype.ts';
import { sizeOf, stridesOf } from '../ir/shape.ts';
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

/**
 * Element (i, j, ...) of the result is element (maps[0][i], maps[1][j], ...) of the input; where a map says -1 it is
 * `fill`'s first element (zero, the empty string, when omitted).
 */
export function mapAxes(t: HostTensor, maps: readonly ArrayLike<number>[], fill?: HostTensor): HostTensor {
  const dims = maps.map((map) => map.length);
  const out = new Assembly(t.dtype, dims);
  const from = unpacked(t);
  const blank = fill && unpacked(fill);
  const strides = stridesOf(t.dims);
  const total = sizeOf(dims);
  const last = dims.length - 1;
  const row = last < 0 ? [0] : maps[last];
  const index = new Array<number>(Math.max(last, 0)).fill(0);
  for (let at = 0; at < total; at += row.length) {
    let base = 0;
    for (let axis = 0; axis < last && base >= 0; axis++) {
      const source = maps[axis][index[axis]];
      base = source < 0 ? -1 : base + source * strides[axis];
    }
    for (let i = 0; i < row.length; i++) {
      if (base >= 0 && row[i] >= 0) out.copy(from, base + row[i], at + i, 1);
      else if (blank) out.copy(blank, 0, at + i, 1);
    }
    for (let axis = last - 1; axis >= 0 && ++index[axis] === dims[axis]; axis--) index[axis] = 0;
  }
  return out.tensor();
}

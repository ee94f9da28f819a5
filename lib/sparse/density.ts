/** How many of a constant's elements are not zero. */

import { dtypeInfo, isPacked, type NumericStorage, storageLength } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor as tensorOf, toNumbers } from '../ir/tensor.ts';

/** Larger tensors are sampled: planning must not hold the event loop. */
const WHOLE = 1 << 15;
/** Neighbouring elements of a sample: a look at a mapped file brings in 64 KiB around it. */
const RUN = 4096;

const known = new WeakMap<HostTensor, number>();

function countIn(entries: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < entries.length; i++) if (entries[i] !== 0) count++;
  return count;
}

/** Elements `from` to `to`; all where several share a byte. */
function elements(tensor: HostTensor, from: number, to: number): ArrayLike<number> {
  const { dtype, unaligned } = tensor;
  const { storage } = dtypeInfo(dtype);
  if (!storage || isPacked(dtype)) return toNumbers(tensor);
  const [begin, end] = [storageLength(dtype, from), storageLength(dtype, to)];
  const width = storage.BYTES_PER_ELEMENT;
  const data = unaligned
    ? new storage(Uint8Array.from(unaligned.subarray(begin * width, end * width)).buffer, 0, end - begin)
    : (tensor.data as NumericStorage).subarray(begin, end);
  return dtype === 'float32' ? (data as Float32Array) : toNumbers(tensorOf(dtype, [to - from], data));
}

function count(tensor: HostTensor): number {
  const size = sizeOf(tensor.dims);
  if (size === 0) return 1;
  if (size <= WHOLE || isPacked(tensor.dtype)) return countIn(elements(tensor, 0, size)) / size;
  const runs = WHOLE / RUN;
  let found = 0;
  for (let r = 0; r < runs; r++) {
    const from = Math.floor((r * (size - RUN)) / (runs - 1));
    found += countIn(elements(tensor, from, from + RUN));
  }
  return found / WHOLE;
}

/**
 * Share of nonzero elements, 0 to 1; 1 for an empty tensor. Counted once a tensor; of large ones evenly spread runs are
 * counted, which is exact enough to choose a kernel.
 */
export function densityOf(tensor: HostTensor): number {
  const remembered = known.get(tensor);
  if (remembered !== undefined) return remembered;
  const density = count(tensor);
  known.set(tensor, density);
  return density;
}

const BLOCK = 4;

const knownBlocks = new WeakMap<HostTensor, Map<number, number>>();

/** Blocks of one position of the outer axes and four of `axis`: as many as what lies within `axis` has elements. */
function countBlocks(tensor: HostTensor, axis: number): number {
  const { dims } = tensor;
  const data = tensor.data as ArrayLike<number>;
  const [depth, stride] = [dims[axis], sizeOf(dims.slice(axis + 1))];
  const across = Math.ceil(depth / BLOCK);
  const units = sizeOf(dims.slice(0, axis)) * across;
  const run = Math.max(1, Math.floor(RUN / (BLOCK * stride)));
  const runs = Math.min(Math.ceil(units / run), Math.max(1, Math.floor(WHOLE / (run * BLOCK * stride))));
  let [all, found] = [0, 0];
  for (let r = 0; r < runs; r++) {
    const from = runs === 1 ? 0 : Math.floor((r * Math.max(0, units - run)) / (runs - 1));
    for (let unit = from; unit < Math.min(from + run, units); unit++) {
      const first = Math.floor(unit / across) * depth + (unit % across) * BLOCK;
      const end = Math.min(first + BLOCK, (Math.floor(unit / across) + 1) * depth);
      for (let s = 0; s < stride; s++) {
        let live = false;
        for (let k = first; k < end && !live; k++) live = data[k * stride + s] !== 0;
        all++;
        if (live) found++;
      }
    }
  }
  return all === 0 ? 1 : found / all;
}

/** Share of blocks of four neighbours along `axis` that are not all zero, of a tensor of bytes; large ones are sampled. */
export function blockDensityOf(tensor: HostTensor, axis: number): number {
  const remembered = knownBlocks.get(tensor) ?? new Map<number, number>();
  knownBlocks.set(tensor, remembered);
  const density = remembered.get(axis) ?? countBlocks(tensor, axis);
  remembered.set(axis, density);
  return density;
}

/** How many of a constant's elements are not zero. */

import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, toNumbers } from '../ir/tensor.ts';

/** Larger tensors are sampled: planning must not hold the event loop. */
const WHOLE = 1 << 17;
/** Neighbouring elements of a sample, so that few pages of a mapped file are touched. */
const RUN = 1024;

const known = new WeakMap<HostTensor, number>();

function countIn(entries: ArrayLike<number>, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (entries[i] !== 0) count++;
  return count;
}

/**
 * Share of nonzero elements, 0 to 1; 1 for an empty tensor. Counted once a tensor; of large ones evenly spread runs are
 * counted, which is exact enough to choose a kernel.
 */
export function densityOf(tensor: HostTensor): number {
  const remembered = known.get(tensor);
  if (remembered !== undefined) return remembered;
  const entries = tensor.dtype === 'float32' ? (tensor.data as Float32Array) : toNumbers(tensor);
  const size = sizeOf(tensor.dims);
  let density = 1;
  if (size > WHOLE && entries.length === size) {
    const runs = WHOLE / RUN;
    let count = 0;
    for (let r = 0; r < runs; r++) {
      const from = Math.floor((r * (size - RUN)) / (runs - 1));
      count += countIn(entries, from, from + RUN);
    }
    density = count / WHOLE;
  } else if (size > 0) {
    density = countIn(entries, 0, entries.length) / size;
  }
  known.set(tensor, density);
  return density;
}

/** How many of a constant's elements are not zero. */

import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, toNumbers } from '../ir/tensor.ts';

const known = new WeakMap<HostTensor, number>();

/** Share of nonzero elements, 0 to 1; 1 for an empty tensor. Counted once a tensor. */
export function densityOf(tensor: HostTensor): number {
  let density = known.get(tensor);
  if (density === undefined) {
    const entries = tensor.dtype === 'float32' ? (tensor.data as Float32Array) : toNumbers(tensor);
    let count = 0;
    for (let i = 0; i < entries.length; i++) if (entries[i] !== 0) count++;
    const size = sizeOf(tensor.dims);
    density = size ? count / size : 1;
    known.set(tensor, density);
  }
  return density;
}

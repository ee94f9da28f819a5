/** Some rows of constant weights, as sources of packings of their own. */

import { dtypeInfo } from '../ir/dtype.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';

/** What a packing is known by, and made of. */
export interface PackingSources {
  readonly owner: object;
  readonly sources: readonly (HostTensor | null)[];
}

/** Rows that were cut, by the owner of the whole: they are known by an owner that lives as long. */
const cutRows = new WeakMap<object, Map<string, { owner: object; sources: (HostTensor | null)[] }>>();

/** Rows [first, first + count) along the first axis; a view. */
function rowsOf(whole: HostTensor, first: number, count: number): HostTensor {
  const [all, ...rest] = whole.dims;
  const dims = [count, ...rest];
  const { unaligned } = whole;
  if (!unaligned) {
    const row = whole.data.length / all;
    const data = (whole.data as Float32Array).subarray(first * row, (first + count) * row);
    return tensor(whole.dtype, dims, data);
  }
  const row = unaligned.length / all;
  return {
    kind: 'tensor',
    dtype: whole.dtype,
    dims,
    unaligned: unaligned.subarray(first * row, (first + count) * row),
    get data() {
      const width = dtypeInfo(whole.dtype).bits / 8;
      return (whole.data as Float32Array).subarray((first * row) / width, ((first + count) * row) / width);
    },
  };
}

/** Sources of a packing of some rows of each of the sources; the same ones each time. */
export function packingRows(whole: PackingSources, first: number, count: number) {
  let known = cutRows.get(whole.owner);
  if (!known) {
    known = new Map();
    cutRows.set(whole.owner, known);
  }
  const key = `${first}:${count}`;
  let rows = known.get(key);
  if (!rows) {
    rows = { owner: {}, sources: whole.sources.map((each) => each && rowsOf(each, first, count)) };
    known.set(key, rows);
  }
  return rows;
}

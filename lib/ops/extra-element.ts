/** Tensors with one more element, for picking a fill value among elements of any type. */

import { dtypeInfo, type NumericStorage } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, packed, unpacked } from '../ir/tensor.ts';

/** The elements of `t` as a vector with `value` (an empty string for strings) appended. */
export function withExtraElement(t: HostTensor, value: number): HostTensor {
  const count = sizeOf(t.dims);
  if (t.dtype === 'string') return { ...t, dims: [count + 1], data: [...(t.data as string[]), ''] };
  const parts = dtypeInfo(t.dtype).kind === 'complex' ? 2 : 1;
  const last = unpacked(fromNumbers(t.dtype, [1], parts === 2 ? [value, 0] : [value])) as Uint8Array;
  const entries = unpacked(t) as Uint8Array;
  const all = new (entries.constructor as Uint8ArrayConstructor)(entries.length + parts);
  all.set(entries);
  all.set(last, entries.length);
  return packed(t.dtype, [count + 1], all as NumericStorage);
}

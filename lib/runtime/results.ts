/** Results as the caller's own memory. */

import type { HostValue } from '../ir/tensor.ts';

/**
 * Outputs that share memory with nothing else: neither with constants and plans, nor with feeds, nor with one another.
 * `fresh` holds the buffers that this run allocated, `targets` the caller's memory for outputs, by position.
 */
export function ownResults(
  results: readonly HostValue[],
  fresh: ReadonlySet<ArrayBufferLike>,
  targets?: ReadonlyMap<number, unknown>,
): HostValue[] {
  const free = new Set(fresh);
  return results.map((result, i) => {
    if (result.kind === 'tensor' && result.data === targets?.get(i)) return result;
    return own(result, free);
  });
}

function own(value: HostValue, free: Set<ArrayBufferLike>): HostValue {
  switch (value.kind) {
    case 'tensor': {
      const { data } = value;
      const mine = ArrayBuffer.isView(data) && free.delete(data.buffer);
      return { ...value, dims: [...value.dims], data: mine ? data : data.slice() };
    }
    case 'sequence':
      return { ...value, items: value.items.map((item) => own(item, free)) };
    case 'optional':
      return { ...value, value: value.value && own(value.value, free) };
    case 'map':
      return { ...value, entries: new Map(value.entries) };
  }
}

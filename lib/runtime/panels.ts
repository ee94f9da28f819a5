/**
 * Batches dealt to threads: panels of a few items run on one thread each, with working memory of their own, so that
 * nothing is shared and nothing waits.
 */

import { type DType, dtypeInfo, isPacked, type NumericStorage } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { allocate, type HostTensor, type HostValue } from '../ir/tensor.ts';

/** Most panels a thread: more would not balance better. */
const PANELS_PER_THREAD = 64;

/** Items [from, from + size) of a batch, computed by one thread, or by all together. */
export interface Panel {
  readonly from: number;
  readonly size: number;
}

/** How a batch is cut. */
export interface Panels {
  readonly batch: number;
  /** Rounds of panels, one panel or more a thread; all panels of a round have one size. */
  readonly rounds: readonly (readonly Panel[])[];
  /** Panels that run one after the other, on all threads together. */
  readonly rest: readonly Panel[];
}

/** True where rows of the values lie at whole entries of numeric storage. */
export function haveRows(dtypes: readonly (DType | undefined)[]): boolean {
  return dtypes.every((dtype) => dtype !== undefined && !isPacked(dtype) && dtype !== 'string');
}

/** The batch that all feeds share along axis 0; undefined where they do not, or cannot be cut. */
export function batchOf(feeds: readonly (HostValue | undefined)[]): number | undefined {
  const sizes = new Set<number | undefined>();
  for (const feed of feeds) {
    sizes.add(feed?.kind === 'tensor' && haveRows([feed.dtype]) ? feed.dims[0] : undefined);
  }
  const [batch] = sizes;
  return sizes.size === 1 ? batch : undefined;
}

/**
 * Panels of `wished` items or more for a batch on `threads` threads; undefined where a run of all threads together serves
 * it as well.
 */
export function cutBatch(batch: number, threads: number, wished: number): Panels | undefined {
  if (batch < threads) return undefined;
  const full = Math.ceil(Math.max(wished, batch / threads / PANELS_PER_THREAD));
  if (threads === 1 && full >= batch) return undefined;
  const rounds: Panel[][] = [];
  let from = 0;
  while (batch - from >= threads) {
    const size = Math.min(full, Math.floor((batch - from) / threads));
    const count = Math.floor((batch - from) / (size * threads)) * threads;
    rounds.push(Array.from({ length: count }, (_, i) => ({ from: from + i * size, size })));
    from += count * size;
  }
  return { batch, rounds, rest: from < batch ? [{ from, size: batch - from }] : [] };
}

/** Panels of `size` for all threads together; undefined where one run takes the batch. */
export function cutJointly(batch: number, size: number): Panels | undefined {
  if (batch <= size) return undefined;
  const rest = Array.from({ length: Math.ceil(batch / size) }, (_, i) => {
    const from = i * size;
    return { from, size: Math.min(size, batch - from) };
  });
  return { batch, rounds: [], rest };
}

/** The items of a panel, as a view. */
export function sliceRows(t: HostTensor, { from, size: count }: Panel): HostTensor {
  const row = sizeOf(t.dims.slice(1)) * (dtypeInfo(t.dtype).kind === 'complex' ? 2 : 1);
  const data = (t.data as NumericStorage).subarray(from * row, (from + count) * row);
  return { ...t, dims: [count, ...t.dims.slice(1)], data };
}

/** Collects the rows of panels. */
export class RowCollector {
  readonly #batch: number;
  readonly #outputs: HostTensor[] = [];

  constructor(batch: number) {
    this.#batch = batch;
  }

  /** Copies the results of a panel, which has as many rows along axis 0 for each of its items. */
  add(results: readonly HostValue[], { from, size }: Panel): void {
    results.forEach((result, i) => {
      const part = result as HostTensor;
      const row = part.data.length / size;
      if (!this.#outputs[i]) {
        const dims = [(part.dims[0] / size) * this.#batch, ...part.dims.slice(1)];
        this.#outputs[i] = { kind: 'tensor', dtype: part.dtype, dims, data: allocate(part.dtype, sizeOf(dims)) };
      }
      (this.#outputs[i].data as Float32Array).set(part.data as Float32Array, from * row);
    });
  }

  get outputs(): HostValue[] {
    return this.#outputs;
  }
}

/** Requests joined along axis 0, and their results taken apart again. */

import { InputError } from '../errors.ts';
import type { DType, NumericStorage, Storage } from '../ir/dtype.ts';
import { dtypeInfo, isDType, isPacked, storageLength } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { type RunValue, type TensorLike, valueForCaller } from './feeds.ts';

/** Feeds or results of one request. */
export type Values = Readonly<Record<string, RunValue>>;
export type Runner = (feeds: Values) => Promise<Record<string, RunValue>>;

function tensorOf(name: string, value: RunValue): TensorLike {
  const { type, dims } = value as Partial<TensorLike>;
  if (typeof type !== 'string' || !Array.isArray(dims) || dims.length === 0 || (isDType(type) && isPacked(type))) {
    const message = `"${name}" cannot be batched: expected a tensor of rank 1 or more whose elements take whole bytes`;
    throw new InputError(message, { name });
  }
  return value as TensorLike;
}

/** What requests have to share to be joined: names, types, and dimensions behind the first. Throws InputError. */
export function signatureOf(feeds: Values): string {
  const words = Object.entries(feeds).map(([name, value]) => {
    const { type, dims, data } = tensorOf(name, value);
    const length = (data as Storage | undefined)?.length;
    const want = isDType(type) ? storageLength(type, sizeOf(dims)) : undefined;
    if (length !== want || want === undefined) {
      const message = `"${name}" has ${length} entries, but ${type} [${dims.join()}] needs ${want}`;
      throw new InputError(message, { name, expected: want, got: length });
    }
    return `${name}:${type}[${dims.slice(1).join()}]${(data as object).constructor.name}`;
  });
  rowsOf(feeds);
  return words.sort().join(';');
}

/** Rows of a request: the first dimension of its tensors. */
function rowsOf(feeds: Values): number {
  const rows = new Set(Object.entries(feeds).map(([name, value]) => tensorOf(name, value).dims[0]));
  if (rows.size === 1) return [...rows][0];
  throw new InputError(`feeds of a batch have to agree on axis 0, got ${[...rows].join(' and ')}`);
}

function joinData(parts: readonly Storage[]): Storage {
  if (Array.isArray(parts[0])) return (parts as readonly string[][]).flat();
  const typed = parts as readonly NumericStorage[];
  const length = typed.reduce((sum, part) => sum + part.length, 0);
  // A Buffer's constructor is not one of typed arrays.
  const kind = Buffer.isBuffer(typed[0]) ? Uint8Array : typed[0].constructor;
  const joined = new (kind as new (length: number) => Float32Array)(length);
  let at = 0;
  for (const part of typed as readonly Float32Array[]) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function joinFeeds(requests: readonly Values[]): Values {
  const rows = requests.reduce((sum, request) => sum + rowsOf(request), 0);
  const names = Object.keys(requests[0]);
  const joined = names.map((name) => {
    const tensors = requests.map((request) => request[name] as TensorLike);
    const { type, dims } = tensors[0];
    return [name, { type, dims: [rows, ...dims.slice(1)], data: joinData(tensors.map(({ data }) => data as Storage)) }];
  });
  return Object.fromEntries(joined);
}

function splitResults(results: Values, rows: readonly number[]): Record<string, RunValue>[] {
  const total = rows.reduce((sum, count) => sum + count, 0);
  const parts: Record<string, RunValue>[] = rows.map(() => ({}));
  for (const [name, value] of Object.entries(results)) {
    const { type, dims, data } = tensorOf(name, value);
    if (dims[0] !== total) {
      const message = `output "${name}" has shape [${dims.join()}] for ${total} rows: it does not follow the batch`;
      throw new InputError(message, { output: name });
    }
    const row = total === 0 ? 0 : (data as Storage).length / total;
    let from = 0;
    for (const [i, count] of rows.entries()) {
      const part = (data as Float32Array).slice(from * row, (from + count) * row);
      const { storage } = dtypeInfo(type as DType);
      const bits = storage && new storage(part.buffer, part.byteOffset, part.length);
      const content = {
        kind: 'tensor',
        dtype: type as DType,
        dims: [count, ...dims.slice(1)],
        data: bits ?? part,
      } as const;
      parts[i][name] = valueForCaller(content as Parameters<typeof valueForCaller>[0]);
      from += count;
    }
  }
  return parts;
}

/**
 * Runs requests of one signature as one batch. Where that fails, each runs alone, so that none pays for the mistake of
 * another.
 */
export async function runTogether(
  run: Runner,
  requests: readonly Values[],
): Promise<PromiseSettledResult<Record<string, RunValue>>[]> {
  if (requests.length > 1) {
    try {
      const parts = splitResults(await run(joinFeeds(requests)), requests.map(rowsOf));
      return parts.map((value) => ({ status: 'fulfilled', value }));
    } catch {
      // Running each alone tells which one it was.
    }
  }
  return Promise.allSettled(requests.map((request) => run(request)));
}

/**
 * Feeds as they were when the run was asked for. The caller may change or transfer its arrays while a run lasts, so an
 * asynchronous run reads copies of all that it reads later than at the call.
 */

import { InputError, InternalError } from '../errors.ts';
import { dtypeInfo, type NumericStorage } from '../ir/dtype.ts';
import type { Value } from '../ir/graph.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import type { Execution } from './program.ts';

/** Up to this size arrays are copied at the call, here or by the engine; larger ones in slices, between events. */
export const AT_CALL_BYTES = 2 ** 24;
const SLICE_BYTES = 2 ** 22;

/** True for arrays in a SharedArrayBuffer: they cannot go away, and are never copied. */
export const isShared = (data: NumericStorage): boolean =>
  typeof SharedArrayBuffer !== 'undefined' && data.buffer instanceof SharedArrayBuffer;

export const feedIsGone = (name: string): InputError =>
  new InputError(`input "${name}": its ArrayBuffer was transferred or resized during the run`, { input: name });

/** A copy of a feed that may be changed after the call; the feed itself where it is large or shared. */
export function copyAtCall(feed: HostTensor): HostTensor {
  const { data } = feed;
  const stays = ArrayBuffer.isView(data) && (isShared(data) || data.byteLength > AT_CALL_BYTES);
  return stays ? feed : { ...feed, data: data.slice() };
}

/** Replaces feeds by copies: large ones always, others where `late` says that they are read after the call. */
export function* copyFeeds(
  values: Map<Value, HostValue>,
  feeds: ReadonlySet<Value>,
  late: (value: Value) => boolean,
): Execution<void> {
  const large: [Value, HostTensor, NumericStorage][] = [];
  for (const [value, content] of values) {
    if (content.kind !== 'tensor' || !feeds.has(value)) continue;
    const { data } = content;
    if (ArrayBuffer.isView(data) && !isShared(data) && data.byteLength > AT_CALL_BYTES) {
      large.push([value, content, data]);
    } else if (late(value)) {
      values.set(value, copyAtCall(content));
    }
  }
  for (const [value, content, data] of large) values.set(value, yield* copyInSlices(value.name, content, data));
}

function* copyInSlices(name: string, content: HostTensor, data: NumericStorage): Execution<HostTensor> {
  const { length, BYTES_PER_ELEMENT } = data;
  const { storage } = dtypeInfo(content.dtype);
  if (!storage) throw new InternalError(`no memory holds ${content.dtype}`);
  const out = new storage(length);
  const step = SLICE_BYTES / BYTES_PER_ELEMENT;
  for (let at = 0; at < length; at += step) {
    if (data.length !== length) throw feedIsGone(name);
    (out as Float32Array).set((data as Float32Array).subarray(at, at + step), at);
    yield { kind: 'breathe' };
  }
  return { ...content, data: out };
}

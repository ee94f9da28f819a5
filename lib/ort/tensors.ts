/** Feeds and preallocated outputs, checked as onnxruntime-node does. */

import { InputError } from '../errors.ts';
import type { NumericStorage } from '../ir/dtype.ts';
import type { Port } from '../ir/model.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { asStorage, contentOfFeed, isOrtType } from '../runtime/feeds.ts';

/** Throws TypeError or RangeError where `value` is not a tensor whose data is on the CPU. */
function checkTensor(value: unknown): void {
  if (typeof value !== 'object' || value === null) throw new TypeError('Tensor must be an object.');
  const { dims, location, type } = value as Record<string, unknown>;
  if (!Array.isArray(dims)) throw new TypeError('Tensor.dims must be an array.');
  for (const [i, dim] of dims.entries()) {
    if (typeof dim !== 'number') throw new TypeError(`Tensor.dims[${i}] is not a number.`);
    if (!Number.isInteger(dim) || dim < 0 || dim > 0xffffffff)
      throw new RangeError(`Tensor.dims[${i}] is invalid: ${dim}`);
  }
  if (location !== undefined && typeof location !== 'string') throw new TypeError('Tensor.location must be a string.');
  if (location !== undefined && location !== 'cpu' && location !== 'cpu-pinned') {
    throw new RangeError(`Tensor.location is not supported: ${location}`);
  }
  if (typeof type !== 'string') throw new TypeError('Tensor.type must be a string.');
  const { data } = value as Record<string, unknown>;
  if (type !== 'string') {
    checkNumbers(type, data);
    return;
  }
  if (!Array.isArray(data)) throw new TypeError('Tensor.data must be an array for string tensors.');
  const odd = data.findIndex((entry) => typeof entry !== 'string');
  if (odd >= 0) throw new TypeError(`Tensor.data[${odd}] must be a string.`);
}

function checkNumbers(type: string, data: unknown): void {
  if (!isOrtType(type)) throw new TypeError(`Tensor.type is not supported: ${type}`);
  if (!ArrayBuffer.isView(data)) throw new TypeError('Tensor.data must be a typed array for numeric tensors.');
  if (asStorage(type, data as NumericStorage)) return;
  throw new TypeError(`Tensor.data must be the typed array of ${type}, but got ${data.constructor.name}.`);
}

/**
 * The content of a feed. Unlike Session, inputs need not agree on a symbolic dimension: models in the field misname
 * theirs, and onnxruntime lets them. Sizes the session options give are binding.
 */
export function feedContent(port: Port, feed: unknown, sizes: ReadonlyMap<string, number>): HostValue {
  if (port.type.kind === 'tensor') checkTensor(feed);
  return contentOfFeed(port, feed, { get: (name) => sizes.get(name), set: () => undefined });
}

/** The content of a preallocated output. */
export function targetContent(port: Port, tensor: unknown): HostTensor {
  checkTensor(tensor);
  const free = { get: () => undefined, set: () => undefined };
  try {
    return contentOfFeed(port, tensor, free) as HostTensor;
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw new InputError(cause.message.replace(/^input/, 'preallocated output'), cause.details, { cause });
  }
}

/** Writes a result that is not yet in the preallocated memory there. Throws InputError where it does not fit. */
export function fillTarget(port: Port, target: HostTensor, result: HostTensor): void {
  const [want, got] = [result.dims, target.dims].map((dims) => `[${dims.join(',')}]`);
  if (want !== got) {
    const message = `output "${port.name}" has shape ${want}, but its preallocated tensor ${got}`;
    throw new InputError(message, { output: port.name, expected: want, got });
  }
  if (target.data === result.data) return;
  if (Array.isArray(target.data)) target.data.splice(0, target.data.length, ...(result.data as string[]));
  else (target.data as Float32Array).set(result.data as Float32Array);
}

/** True where the two share an ArrayBuffer, so that writing to one may change the other. */
export function sharesBuffer(a: HostTensor, b: HostValue): boolean {
  return b.kind === 'tensor' && ArrayBuffer.isView(a.data) && a.data.buffer === (b.data as NumericStorage).buffer;
}

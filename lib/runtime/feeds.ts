/** Tensors of callers in, tensors for callers out. */

import { Tensor } from 'onnxruntime-common';
import { InputError } from '../errors.ts';
import { type DType, dtypeInfo, type NumericStorage, type Storage, storageLength } from '../ir/dtype.ts';
import type { ValueType } from '../ir/graph.ts';
import type { Port } from '../ir/model.ts';
import { shapeText, sizeOf } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';

/** What a feed has to have: any Tensor of onnxruntime-common, of whichever copy of it, or an object like one. */
export interface TensorLike {
  /** The element type: a {@link DType}. */
  readonly type: string;
  /** Sizes, outermost first; empty for a scalar. */
  readonly dims: readonly number[];
  /**
   * The elements, row-major: the typed array of the element type (float16, bfloat16 and float8 as bits in the unsigned
   * array of their width, bool as Uint8Array, 4-bit types two a byte), an array for strings.
   */
  readonly data: unknown;
}

/** A non-tensor value of a run: a sequence, an optional or a map. */
export type NonTensor = Exclude<HostValue, HostTensor>;

/** What runs take and give. Types that onnxruntime-common does not know come as plain {@link TensorLike} objects. */
export type RunValue = Tensor | TensorLike | NonTensor;

const ortTypes = new Set<string>([
  ...['float32', 'uint8', 'int8', 'uint16', 'int16', 'int32', 'int64', 'string', 'bool', 'float16', 'float64'],
  ...['uint32', 'uint64', 'uint4', 'int4'],
]);

/** True for the element types of onnxruntime-common's Tensor. */
export function isOrtType(dtype: string): dtype is DType & Tensor.Type {
  return ortTypes.has(dtype);
}

function isTensorLike(value: unknown): value is TensorLike {
  const like = value as Partial<TensorLike> | null;
  return typeof like === 'object' && like !== null && typeof like.type === 'string' && Array.isArray(like.dims);
}

/** What symbolic dimensions are known to be. */
export interface SymbolSizes {
  get(name: string): number | undefined;
  set(name: string, size: number): unknown;
}

/** Checks a feed against the model's input and gives its content. Throws InputError. */
export function contentOfFeed(port: Port, feed: unknown, symbols: SymbolSizes): HostValue {
  const { name, type } = port;
  if (type.kind !== 'tensor') return nonTensorFeed(name, type, feed);
  if (!isTensorLike(feed)) {
    throw new InputError(`input "${name}": expected a tensor of ${type.dtype}, got ${describe(feed)}`, { input: name });
  }
  if (feed.type !== type.dtype) {
    const facts = { input: name, expected: type.dtype, got: feed.type };
    throw new InputError(`input "${name}": expected a tensor of ${type.dtype}, got ${feed.type}`, facts);
  }
  checkDims(port, feed.dims, symbols);
  return { kind: 'tensor', dtype: type.dtype, dims: [...feed.dims], data: storageOfFeed(name, type.dtype, feed) };
}

function nonTensorFeed(name: string, type: ValueType, feed: unknown): HostValue {
  const kind = (feed as { kind?: string } | null)?.kind;
  const accepted = kind === type.kind || (type.kind === 'optional' && kind !== undefined);
  if (!accepted) {
    const facts = { input: name, expected: type.kind, got: kind ?? typeof feed };
    throw new InputError(`input "${name}": expected a ${type.kind}, got ${describe(feed)}`, facts);
  }
  return feed as HostValue;
}

function describe(feed: unknown): string {
  if (feed === undefined) return 'nothing';
  if (feed === null) return 'null';
  return isTensorLike(feed) ? `a tensor of ${feed.type}` : `a value of type ${typeof feed}`;
}

function checkDims({ name, type }: Port, dims: readonly unknown[], symbols: SymbolSizes): void {
  const shape = type.kind === 'tensor' ? type.shape : undefined;
  const whole = dims.every((dim) => Number.isSafeInteger(dim) && (dim as number) >= 0);
  const got = `[${dims.join(',')}]`;
  const facts = { input: name, expected: shapeText(shape), got };
  if (!whole) throw new InputError(`input "${name}": dimensions have to be whole numbers, got ${got}`, facts);
  if (!shape) return;
  if (shape.length !== dims.length) {
    throw new InputError(`input "${name}": expected rank ${shape.length} ${shapeText(shape)}, got ${got}`, facts);
  }
  shape.forEach((want, i) => {
    const have = dims[i] as number;
    if (typeof want === 'number' && want !== have) {
      throw new InputError(`input "${name}": expected shape ${shapeText(shape)}, got ${got}`, facts);
    }
    if (typeof want !== 'string') return;
    const bound = symbols.get(want);
    if (bound !== undefined && bound !== have) {
      const text = `input "${name}": dimension ${i} ("${want}") is ${have}, but another input or option says ${bound}`;
      throw new InputError(text, facts);
    }
    symbols.set(want, have);
  });
}

/** The storage of a feed in the form the engine reads; checks its length. */
function storageOfFeed(name: string, dtype: DType, feed: TensorLike): Storage {
  const count = sizeOf(feed.dims);
  const data = feed.data;
  if (dtype === 'string') {
    if (Array.isArray(data) && data.length === count && data.every((each) => typeof each === 'string')) return data;
    throw new InputError(`input "${name}": expected an array of ${count} strings`, { input: name });
  }
  const { storage } = dtypeInfo(dtype);
  if (!ArrayBuffer.isView(data) || !storage) {
    throw new InputError(`input "${name}": its data is ${describe(data)}, expected a typed array`, { input: name });
  }
  const typed = asStorage(dtype, data as NumericStorage);
  if (!typed) {
    const got = data.constructor.name;
    throw new InputError(`input "${name}": its data is a ${got}, expected a ${storageName(dtype)}`, { input: name });
  }
  const want = storageLength(dtype, count);
  if (typed.length !== Math.ceil(want)) {
    const facts = { input: name, expected: Math.ceil(want), got: typed.length };
    throw new InputError(
      `input "${name}": its data has ${typed.length} entries, but dimensions [${feed.dims.join(',')}] need ${Math.ceil(want)}`,
      facts,
    );
  }
  return typed;
}

function storageName(dtype: DType): string {
  return (dtypeInfo(dtype).storage as unknown as { name: string }).name;
}

/** The typed array itself, or a plain view of a related class's bits; undefined where it is of another class. */
export function asStorage(dtype: DType, data: NumericStorage): NumericStorage | undefined {
  const { name } = data.constructor;
  const wanted = storageName(dtype);
  if (name === wanted) return data;
  const { buffer, byteOffset, length } = data;
  // slice() of a Buffer would not copy.
  const bytes = name === 'Buffer' || name === 'Uint8ClampedArray' || (dtype === 'int4' && name === 'Int8Array');
  if (bytes && wanted === 'Uint8Array') return new Uint8Array(buffer, byteOffset, length);
  if (dtype === 'float16' && name === 'Float16Array') return new Uint16Array(buffer, byteOffset, length);
  return undefined;
}

/** A result for the caller, whose memory it becomes. */
export function valueForCaller(content: HostValue): RunValue {
  if (content.kind !== 'tensor') return content;
  const { dtype, dims, data } = content;
  if (!isOrtType(dtype)) return { type: dtype, dims, data };
  return new Tensor(dtype as 'float32', data as Float32Array, dims);
}

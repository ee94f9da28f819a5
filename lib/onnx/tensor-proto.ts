/** TensorProto and its relatives to host values. */

import { MemoryError, ModelFormatError, UnsupportedError } from '../errors.ts';
import {
  byteLength,
  type DType,
  dtypeFromOnnx,
  dtypeInfo,
  isPacked,
  type Storage,
  storageLength,
} from '../ir/dtype.ts';
import type { ValueType } from '../ir/graph.ts';
import { MAX_ELEMENTS, sizeOf } from '../ir/shape.ts';
import {
  allocate,
  type HostMap,
  type HostOptional,
  type HostSequence,
  type HostTensor,
  type HostValue,
  tensor,
  toIntegers,
} from '../ir/tensor.ts';
import { decodeMapProto, decodeOptionalProto, decodeSequenceProto, decodeTensorProto } from './decode.ts';
import type { MapProto, OptionalProto, SequenceProto, SparseTensorProto, TensorProto } from './schema.ts';
import { decodeText, type LongList } from './wire.ts';

/** Finds the bytes of a tensor that lies outside the model: a view of exactly `bytes` bytes. */
export type ExternalReader = (proto: TensorProto, bytes: number) => Uint8Array;

/** Most bytes that a sparse tensor may take when it is written out densely. */
export const MAX_DENSIFIED_BYTES = 2 ** 31;

/** The element type of an ONNX number. Throws where there is none, or none that Filigree knows. */
export function elementType(onnx: number, what: string): DType {
  const dtype = dtypeFromOnnx(onnx);
  if (dtype) return dtype;
  const details = { what, dataType: onnx };
  if (onnx === 27 || onnx === 28) {
    throw new UnsupportedError(`${what} has element type ${onnx === 27 ? 'float6e2m3' : 'float6e3m2'}`, details);
  }
  throw new ModelFormatError(`${what} has element type ${onnx}, which the format does not define`, details);
}

/** Number of elements of `dims` in exact arithmetic. Throws where a dimension is negative or the product too large. */
export function checkedSize(dims: readonly number[], what: string): number {
  for (const dim of dims) {
    if (!(dim >= 0)) throw new ModelFormatError(`${what} has a dimension of ${dim} in [${dims}]`, { what, dims });
  }
  const size = dims.includes(0) ? 0 : sizeOf(dims);
  if (!(size <= MAX_ELEMENTS)) {
    throw new ModelFormatError(`${what} of shape [${dims}] has more elements than any memory holds`, { what, dims });
  }
  return size;
}

/** The tensor's content. Bytes of the file are viewed where their alignment allows, else copied at the first use. */
export function decodeTensor(proto: TensorProto, what: string, external?: ExternalReader): HostTensor {
  const dtype = elementType(proto.dataType, what);
  if (proto.segment) throw new UnsupportedError(`${what} is stored in segments`, { what });
  const count = checkedSize(proto.dims, what);
  if (proto.dataLocation === 1) {
    if (dtype === 'string') throw new ModelFormatError(`${what}: strings cannot be external data`, { what });
    if (!external) {
      throw new ModelFormatError(`${what} lies in an external file, which cannot be followed from here`, { what });
    }
    return tensorOfBytes(dtype, proto.dims, external(proto, byteLength(dtype, count)));
  }
  if (dtype === 'string') return decodeStrings(proto, count, what);
  if (proto.rawData) {
    const want = byteLength(dtype, count);
    if (proto.rawData.length !== want) {
      throw new ModelFormatError(
        `${what}: ${dtype} [${proto.dims}] needs ${want} bytes of raw_data, got ${proto.rawData.length}`,
        { what, expected: want, got: proto.rawData.length },
      );
    }
    return tensorOfBytes(dtype, proto.dims, proto.rawData);
  }
  return decodeTyped(proto, dtype, what);
}

/** A tensor whose storage is a view of `bytes`, or a copy made at the first use where they are not aligned. */
export function tensorOfBytes(dtype: DType, dims: readonly number[], bytes: Uint8Array): HostTensor {
  const { storage } = dtypeInfo(dtype);
  if (!storage) throw new ModelFormatError('strings have no fixed width');
  const width = storage.BYTES_PER_ELEMENT;
  const view = (of: Uint8Array): Storage => new storage(of.buffer, of.byteOffset, of.byteLength / width);
  if (dtype === 'bool') return tensor(dtype, dims, bytes.some((b) => b > 1) ? bytes.map((b) => (b ? 1 : 0)) : bytes);
  if (bytes.byteOffset % width === 0) return tensor(dtype, dims, view(bytes));
  let data: Storage | undefined;
  return {
    kind: 'tensor',
    dtype,
    dims,
    unaligned: bytes,
    get data() {
      // Not slice(), which of a Buffer is no copy.
      data ??= view(new Uint8Array(bytes));
      return data;
    },
  };
}

function decodeStrings(proto: TensorProto, count: number, what: string): HostTensor {
  if (proto.rawData) throw new ModelFormatError(`${what}: strings cannot be raw_data`, { what });
  if (proto.stringData.length !== count) {
    throw wrongCount(what, 'string', proto, 'string_data', count, proto.stringData.length);
  }
  const data = proto.stringData.map((bytes, i) => {
    const text = decodeText(bytes);
    if (text === undefined) throw new ModelFormatError(`${what}: string ${i} is not UTF-8`, { what, element: i });
    return text;
  });
  return tensor('string', proto.dims, data);
}

function wrongCount(what: string, dtype: DType, proto: TensorProto, field: string, want: number, got: number) {
  return new ModelFormatError(`${what}: ${dtype} [${proto.dims}] needs ${want} entries of ${field}, got ${got}`, {
    what,
    expected: want,
    got,
  });
}

function decodeTyped(proto: TensorProto, dtype: DType, what: string): HostTensor {
  const { dims } = proto;
  const entries = storageLength(dtype, sizeOf(dims));
  const fixed = dtype === 'float32' || dtype === 'complex64' ? 'floatData' : 'doubleData';
  if (dtype === 'float32' || dtype === 'complex64' || dtype === 'float64' || dtype === 'complex128') {
    const bytes = proto[fixed]?.view() ?? new Uint8Array(0);
    const got = bytes.length / (fixed === 'floatData' ? 4 : 8);
    if (got !== entries) throw wrongCount(what, dtype, proto, fixed.replace('Data', '_data'), entries, got);
    return tensorOfBytes(dtype, dims, bytes);
  }
  const field = dtype === 'int64' ? 'int64Data' : dtype === 'uint64' || dtype === 'uint32' ? 'uint64Data' : 'int32Data';
  const list: LongList | undefined = proto[field];
  const got = list?.length ?? 0;
  if (got !== entries) throw wrongCount(what, dtype, proto, field.replace('Data', '_data'), entries, got);
  if (!list) return tensor(dtype, dims, allocate(dtype, 0));
  if (dtype === 'int64') return tensor(dtype, dims, list.signed());
  if (dtype === 'uint64') {
    const words = list.signed();
    return tensor(dtype, dims, new BigUint64Array(words.buffer, 0, words.length));
  }
  const low = list.low();
  if (dtype === 'int32') return tensor(dtype, dims, low);
  const out = allocate(dtype, sizeOf(dims)) as Uint8Array;
  for (let i = 0; i < entries; i++) out[i] = dtype === 'bool' ? Number(low[i] !== 0) : low[i];
  return tensor(dtype, dims, out);
}

/** A sparse tensor written out densely. Indices are linear or one coordinate list an element, ascending. */
export function decodeSparse(proto: SparseTensorProto, what: string, external?: ExternalReader): HostTensor {
  if (!proto.values || !proto.indices) throw new ModelFormatError(`${what} is sparse without values or indices`);
  const { dims } = proto;
  const size = checkedSize(dims, what);
  const values = decodeTensor(proto.values, what, external);
  const indices = decodeTensor(proto.indices, `indices of ${what}`, external);
  if (indices.dtype !== 'int64') throw new ModelFormatError(`${what}: indices are ${indices.dtype}, expected int64`);
  if (values.dims.length !== 1) throw new ModelFormatError(`${what}: values of shape [${values.dims}], expected [n]`);
  const bytes = byteLength(values.dtype, size);
  if (bytes > MAX_DENSIFIED_BYTES) {
    throw new MemoryError(`${what}: sparse [${dims}] takes ${bytes} bytes, more than ${MAX_DENSIFIED_BYTES}`, {
      what,
      bytes,
    });
  }
  return scatter(values, linearIndices(indices, dims, values.dims[0], size, what), dims);
}

function linearIndices(indices: HostTensor, dims: readonly number[], count: number, size: number, what: string) {
  const flat = indices.dims.length === 1 && indices.dims[0] === count;
  if (!flat && !(indices.dims.length === 2 && indices.dims[0] === count && indices.dims[1] === dims.length)) {
    throw new ModelFormatError(
      `${what}: indices of shape [${indices.dims}], expected [${count}] or [${count},${dims.length}]`,
    );
  }
  const given = toIntegers(indices);
  const seen = new Set<number>();
  return Array.from({ length: count }, (_, i) => {
    const at = flat ? given[i] : linearIndex(given.slice(i * dims.length, (i + 1) * dims.length), dims);
    if (!(at >= 0 && at < size)) {
      const text = flat ? given[i] : `[${given.slice(i * dims.length, (i + 1) * dims.length)}]`;
      throw new ModelFormatError(`${what}: sparse index ${text} lies outside [${dims}]`, { what, element: i });
    }
    if (seen.has(at)) throw new ModelFormatError(`${what}: sparse index ${at} occurs twice`, { what, element: i });
    seen.add(at);
    return at;
  });
}

/** Position of coordinates in row-major order; NaN where one lies outside. */
function linearIndex(coordinates: readonly number[], dims: readonly number[]): number {
  return coordinates.reduce((at, c, axis) => (c >= 0 && c < dims[axis] ? at * dims[axis] + c : Number.NaN), 0);
}

function scatter(values: HostTensor, at: readonly number[], dims: readonly number[]): HostTensor {
  const { dtype } = values;
  if (isPacked(dtype)) return scatterPacked(values, at, dims);
  const out = allocate(dtype, sizeOf(dims)) as Uint8Array;
  const source = values.data as Uint8Array;
  const per = dtypeInfo(dtype).kind === 'complex' ? 2 : 1;
  at.forEach((target, i) => {
    for (let k = 0; k < per; k++) out[target * per + k] = source[i * per + k];
  });
  return tensor(dtype, dims, out);
}

function scatterPacked(values: HostTensor, at: readonly number[], dims: readonly number[]): HostTensor {
  const { bits } = dtypeInfo(values.dtype);
  const perByte = 8 / bits;
  const source = values.data as Uint8Array;
  const out = allocate(values.dtype, sizeOf(dims)) as Uint8Array;
  at.forEach((target, i) => {
    const value = (source[Math.floor(i / perByte)] >> ((i % perByte) * bits)) & ((1 << bits) - 1);
    out[Math.floor(target / perByte)] |= value << ((target % perByte) * bits);
  });
  return tensor(values.dtype, dims, out);
}

/** Decodes a `.pb` file as the declared type says; the bytes alone do not tell. */
export function decodeValue(bytes: Uint8Array, type: ValueType, what: string): { name: string; value: HostValue } {
  switch (type.kind) {
    case 'tensor': {
      const proto = decodeTensorProto(bytes);
      return { name: proto.name, value: decodeTensor(proto, what) };
    }
    case 'sequence': {
      const proto = decodeSequenceProto(bytes);
      return { name: proto.name, value: sequenceOf(proto, what) };
    }
    case 'optional': {
      const proto = decodeOptionalProto(bytes);
      return { name: proto.name, value: optionalOf(proto, what) };
    }
    case 'map': {
      const proto = decodeMapProto(bytes);
      return { name: proto.name, value: mapOf(proto, what) };
    }
  }
}

function sequenceOf(proto: SequenceProto, what: string): HostSequence {
  const items: HostValue[] = [
    ...proto.tensorValues.map((item, i) => decodeTensor(item, `element ${i} of ${what}`)),
    ...proto.sparseTensorValues.map((item, i) => decodeSparse(item, `element ${i} of ${what}`)),
    ...proto.sequenceValues.map((item) => sequenceOf(item, what)),
    ...proto.mapValues.map((item) => mapOf(item, what)),
    ...proto.optionalValues.map((item) => optionalOf(item, what)),
  ];
  return { kind: 'sequence', items };
}

function optionalOf(proto: OptionalProto, what: string): HostOptional {
  if (proto.tensorValue) return { kind: 'optional', value: decodeTensor(proto.tensorValue, what) };
  if (proto.sparseTensorValue) return { kind: 'optional', value: decodeSparse(proto.sparseTensorValue, what) };
  if (proto.sequenceValue) return { kind: 'optional', value: sequenceOf(proto.sequenceValue, what) };
  if (proto.mapValue) return { kind: 'optional', value: mapOf(proto.mapValue, what) };
  if (proto.optionalValue) return { kind: 'optional', value: optionalOf(proto.optionalValue, what) };
  return { kind: 'optional', value: null };
}

function mapOf(proto: MapProto, what: string): HostMap {
  const keyType = elementType(proto.keyType, `the keys of ${what}`);
  const keys = keyType === 'string' ? proto.stringKeys.map((b) => decodeText(b) ?? '') : proto.keys.map(BigInt);
  const values = proto.values?.tensorValues.map((item) => decodeTensor(item, what)) ?? [];
  if (values.length !== keys.length) {
    throw new ModelFormatError(`${what}: a map of ${keys.length} keys and ${values.length} values`, { what });
  }
  const entries = new Map(keys.map((key, i) => [key, values[i].data[0]]));
  return { kind: 'map', keyType, valueType: values[0]?.dtype ?? 'float32', entries };
}

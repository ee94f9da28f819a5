/** Element types: one table of names, ONNX numbers, widths and storage. */

/** Element types, by the names that tensors carry as `type`. */
export type DType =
  | 'float32'
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'string'
  | 'bool'
  | 'float16'
  | 'float64'
  | 'uint32'
  | 'uint64'
  | 'complex64'
  | 'complex128'
  | 'bfloat16'
  | 'float8e4m3fn'
  | 'float8e4m3fnuz'
  | 'float8e5m2'
  | 'float8e5m2fnuz'
  | 'uint4'
  | 'int4'
  | 'float4e2m1'
  | 'float8e8m0'
  | 'uint2'
  | 'int2';

/** Typed arrays that store elements. Sub-byte types are packed, first element in the low bits. */
export type NumericStorage =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigInt64Array
  | BigUint64Array;

/** Storage of a tensor's elements; strings are an ordinary array. */
export type Storage = NumericStorage | string[];

type StorageClass = {
  new (length: number): NumericStorage;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): NumericStorage;
  readonly BYTES_PER_ELEMENT: number;
};

/** What kind of number an element is. */
export type DTypeKind = 'float' | 'int' | 'uint' | 'bool' | 'complex' | 'string';

export interface DTypeInfo {
  readonly name: DType;
  /** `TensorProto.DataType` of the ONNX format. */
  readonly onnx: number;
  readonly kind: DTypeKind;
  /** Bits an element; 0 for strings. */
  readonly bits: number;
  /** Typed array of the storage; complex numbers take two entries, sub-byte types share bytes. */
  readonly storage: StorageClass | undefined;
}

const row = (name: DType, onnx: number, kind: DTypeKind, bits: number, storage?: StorageClass): DTypeInfo => ({
  name,
  onnx,
  kind,
  bits,
  storage,
});

const rows: readonly DTypeInfo[] = [
  row('float32', 1, 'float', 32, Float32Array as StorageClass),
  row('uint8', 2, 'uint', 8, Uint8Array as StorageClass),
  row('int8', 3, 'int', 8, Int8Array as StorageClass),
  row('uint16', 4, 'uint', 16, Uint16Array as StorageClass),
  row('int16', 5, 'int', 16, Int16Array as StorageClass),
  row('int32', 6, 'int', 32, Int32Array as StorageClass),
  row('int64', 7, 'int', 64, BigInt64Array as StorageClass),
  row('string', 8, 'string', 0),
  row('bool', 9, 'bool', 8, Uint8Array as StorageClass),
  row('float16', 10, 'float', 16, Uint16Array as StorageClass),
  row('float64', 11, 'float', 64, Float64Array as StorageClass),
  row('uint32', 12, 'uint', 32, Uint32Array as StorageClass),
  row('uint64', 13, 'uint', 64, BigUint64Array as StorageClass),
  row('complex64', 14, 'complex', 64, Float32Array as StorageClass),
  row('complex128', 15, 'complex', 128, Float64Array as StorageClass),
  row('bfloat16', 16, 'float', 16, Uint16Array as StorageClass),
  row('float8e4m3fn', 17, 'float', 8, Uint8Array as StorageClass),
  row('float8e4m3fnuz', 18, 'float', 8, Uint8Array as StorageClass),
  row('float8e5m2', 19, 'float', 8, Uint8Array as StorageClass),
  row('float8e5m2fnuz', 20, 'float', 8, Uint8Array as StorageClass),
  row('uint4', 21, 'uint', 4, Uint8Array as StorageClass),
  row('int4', 22, 'int', 4, Uint8Array as StorageClass),
  row('float4e2m1', 23, 'float', 4, Uint8Array as StorageClass),
  row('float8e8m0', 24, 'float', 8, Uint8Array as StorageClass),
  row('uint2', 25, 'uint', 2, Uint8Array as StorageClass),
  row('int2', 26, 'int', 2, Uint8Array as StorageClass),
];

const byName = new Map(rows.map((info) => [info.name, info]));
const byOnnx = new Map(rows.map((info) => [info.onnx, info]));

/** All element types. */
export const dtypes: readonly DTypeInfo[] = rows;

/** Facts about an element type. */
export function dtypeInfo(dtype: DType): DTypeInfo {
  return byName.get(dtype) as DTypeInfo;
}

/** The element type of an ONNX number, or undefined. */
export function dtypeFromOnnx(onnx: number): DType | undefined {
  return byOnnx.get(onnx)?.name;
}

/** True for a string that names an element type. */
export function isDType(name: string): name is DType {
  return byName.has(name as DType);
}

/** Bytes that `count` elements take in packed storage. Undefined behaviour for strings. */
export function byteLength(dtype: DType, count: number): number {
  return Math.ceil((count * dtypeInfo(dtype).bits) / 8);
}

/** Entries of the storage array for `count` elements. */
export function storageLength(dtype: DType, count: number): number {
  const info = dtypeInfo(dtype);
  if (!info.storage) return count;
  return byteLength(dtype, count) / info.storage.BYTES_PER_ELEMENT;
}

/** True where the elements are 64-bit integers, which JavaScript holds as bigint. */
export function isBig(dtype: DType): dtype is 'int64' | 'uint64' {
  return dtype === 'int64' || dtype === 'uint64';
}

/** True for integers and bool. */
export function isWhole(dtype: DType): boolean {
  const { kind } = dtypeInfo(dtype);
  return kind === 'int' || kind === 'uint' || kind === 'bool';
}

/** True for every floating-point type. */
export function isFloat(dtype: DType): boolean {
  return dtypeInfo(dtype).kind === 'float';
}

/** True for types of fewer than 8 bits, which share bytes. */
export function isPacked(dtype: DType): boolean {
  const { bits } = dtypeInfo(dtype);
  return bits > 0 && bits < 8;
}

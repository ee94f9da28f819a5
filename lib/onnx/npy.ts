/** NumPy's `.npy` files. */

import { ModelFormatError, UnsupportedError } from '../errors.ts';
import { byteLength, type DType, dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, pick, toNumbers } from '../ir/tensor.ts';
import { checkedSize, tensorOfBytes } from './tensor-proto.ts';

/** NumPy's codes, without the byte order. */
const codes: Partial<Record<DType, string>> = {
  float32: 'f4',
  float64: 'f8',
  float16: 'f2',
  int8: 'i1',
  int16: 'i2',
  int32: 'i4',
  int64: 'i8',
  uint8: 'u1',
  uint16: 'u2',
  uint32: 'u4',
  uint64: 'u8',
  bool: 'b1',
  complex64: 'c8',
  complex128: 'c16',
};
const byCode = new Map(Object.entries(codes).map(([dtype, code]) => [code, dtype as DType]));

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const latin1 = new TextDecoder('latin1');

interface Header {
  readonly dtype: DType;
  readonly swapped: boolean;
  readonly columnMajor: boolean;
  readonly dims: number[];
}

/** Reads a `.npy` file of numbers. Throws ModelFormatError for a damaged file, UnsupportedError for other contents. */
export function decodeNpy(bytes: Uint8Array, what = 'the .npy file'): HostTensor {
  if (bytes.length < 12 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new ModelFormatError(`${what} is not in NumPy's format`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6] >= 2;
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  if (length > bytes.length - start)
    throw new ModelFormatError(`${what}: its header has ${length} bytes, more than it`);
  const { dtype, swapped, columnMajor, dims } = headerOf(latin1.decode(bytes.subarray(start, start + length)), what);
  const want = byteLength(dtype, checkedSize(dims, what));
  const content = bytes.subarray(start + length);
  if (content.length !== want) {
    throw new ModelFormatError(`${what}: ${dtype} [${dims}] needs ${want} bytes, got ${content.length}`);
  }
  const read = tensorOfBytes(dtype, dims, swapped ? swappedBytes(content, dtype) : content);
  return columnMajor && dims.length > 1 ? rowMajor(read) : read;
}

function headerOf(text: string, what: string): Header {
  const descr = /'descr'\s*:\s*'([<>=|])([a-zA-Z]\d+)'/.exec(text);
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text);
  const shape = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(text);
  if (!order || !shape) throw new ModelFormatError(`${what}: its header "${text.trim().slice(0, 200)}" is incomplete`);
  const dtype = descr && byCode.get(descr[2]);
  if (!dtype)
    throw new UnsupportedError(`${what}: only plain numbers can be read, its header is "${text.trim().slice(0, 200)}"`);
  const dims = shape[1].split(',').filter((part) => part.trim() !== '');
  return { dtype, swapped: descr[1] === '>', columnMajor: order[1] === 'True', dims: dims.map(Number) };
}

function swappedBytes(bytes: Uint8Array, dtype: DType): Uint8Array {
  const { bits, kind } = dtypeInfo(dtype);
  const width = kind === 'complex' ? bits / 16 : bits / 8;
  return Uint8Array.from(bytes, (_, i) => bytes[i - (i % width) + width - 1 - (i % width)]);
}

/** The elements of a column-major tensor in row-major order. */
function rowMajor(tensor: HostTensor): HostTensor {
  const { dims } = tensor;
  const strides = dims.map((_, axis) => sizeOf(dims.slice(0, axis)));
  return pick(tensor, dims, (i) => {
    let rest = i;
    let at = 0;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      at += (rest % dims[axis]) * strides[axis];
      rest = Math.floor(rest / dims[axis]);
    }
    return at;
  });
}

/** Writes a `.npy` file. Small floats without a NumPy type are widened to float32; strings are refused. */
export function encodeNpy(tensor: HostTensor): Uint8Array {
  const { dtype, dims } = tensor;
  if (dtype === 'string') throw new UnsupportedError("strings cannot be written in NumPy's format");
  if (!codes[dtype]) {
    const wide = dtypeInfo(dtype).kind === 'float' ? 'float32' : dtypeInfo(dtype).kind === 'int' ? 'int8' : 'uint8';
    const values = toNumbers(tensor);
    const data =
      wide === 'float32' ? Float32Array.from(values) : (wide === 'int8' ? Int8Array : Uint8Array).from(values);
    return encodeNpy({ kind: 'tensor', dtype: wide, dims, data });
  }
  const data = tensor.data as Uint8Array;
  const order = dtypeInfo(dtype).bits === 8 ? '|' : '<';
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  const text = `{'descr': '${order}${codes[dtype]}', 'fortran_order': False, 'shape': (${shape}), }`;
  const start = Math.ceil((10 + text.length + 1) / 64) * 64;
  const out = new Uint8Array(start + data.byteLength).fill(0x20, 10, start);
  out.set([...MAGIC, 1, 0, (start - 10) & 255, (start - 10) >> 8]);
  for (let i = 0; i < text.length; i++) out[10 + i] = text.charCodeAt(i);
  out[start - 1] = 0x0a;
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  return out;
}

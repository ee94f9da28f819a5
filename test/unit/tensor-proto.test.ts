import { describe, expect, test } from 'vitest';
import { MemoryError, ModelFormatError, UnsupportedError } from '../../lib/errors.ts';
import { byteLength, dtypeInfo, dtypes } from '../../lib/ir/dtype.ts';
import type { ValueType } from '../../lib/ir/graph.ts';
import { type HostTensor, type HostValue, toNumbers, unpacked } from '../../lib/ir/tensor.ts';
import { decodeTensorProto } from '../../lib/onnx/decode.ts';
import { encodeValue } from '../../lib/onnx/encode.ts';
import { decodeSparse, decodeTensor, decodeValue } from '../../lib/onnx/tensor-proto.ts';
import { floats, longs, MessageWriter, rawTensor } from '../models/onnx-writer.ts';

const numeric = dtypes.filter((info) => info.storage);
const decoded = (bytes: Uint8Array): HostTensor => decodeTensor(decodeTensorProto(bytes), 't');
const bytesOf = (t: HostTensor): number[] => {
  const data = t.data as Uint8Array;
  return [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
};

describe('raw data', () => {
  test.each(numeric.map((info) => info.name))('%s at every alignment', (dtype) => {
    const want = byteLength(dtype, 5);
    const raw = Uint8Array.from({ length: want }, (_, i) => (dtype === 'bool' ? i % 2 : (i * 37 + 11) & 127));
    const file = rawTensor('t', dtype, [5], raw);
    for (let shift = 0; shift < 8; shift++) {
      const moved = new Uint8Array(file.length + shift);
      moved.set(file, shift);
      const t = decoded(moved.subarray(shift));
      expect([t.dtype, t.dims]).toEqual([dtype, [5]]);
      expect(bytesOf(t)).toEqual([...raw]);
      expect(t.data).toBe(t.data);
    }
  });

  test.each(numeric.map((info) => info.name))('%s of the wrong length is refused', (dtype) => {
    const want = byteLength(dtype, 5);
    for (const length of [0, want - 1, want + 1]) {
      const file = rawTensor('t', dtype, [5], new Uint8Array(length));
      expect(() => decoded(file)).toThrow(`needs ${want} bytes of raw_data, got ${length}`);
    }
  });

  test('aligned data is a view, bools become 0 and 1', () => {
    const file = rawTensor('tensor', 'uint8', [3], Uint8Array.of(1, 2, 3));
    expect((decoded(file).data as Uint8Array).buffer).toBe(file.buffer);
    expect([...(decoded(rawTensor('b', 'bool', [3], Uint8Array.of(0, 2, 255))).data as Uint8Array)]).toEqual([0, 1, 1]);
  });
});

describe('typed fields', () => {
  const typed = (dtype: string, field: number, values: number[], dims = [values.length]): HostTensor => {
    const onnx = numeric.find((info) => info.name === dtype)?.onnx ?? 8;
    const writer = new MessageWriter().int(2, onnx);
    for (const dim of dims) writer.int(1, dim);
    for (const value of values) writer.int(field, value);
    return decoded(writer.done());
  };

  test('integers, bools and bit patterns in int32_data', () => {
    expect(typed('int32', 5, [-7, 2 ** 31 - 1]).data).toEqual(Int32Array.of(-7, 2 ** 31 - 1));
    expect(typed('int8', 5, [-128, 127]).data).toEqual(Int8Array.of(-128, 127));
    expect(typed('uint16', 5, [65535]).data).toEqual(Uint16Array.of(65535));
    expect(typed('bool', 5, [0, 1, 256]).data).toEqual(Uint8Array.of(0, 1, 1));
    expect([...toNumbers(typed('float16', 5, [0x3c00, 0xc000]))]).toEqual([1, -2]);
    expect([...toNumbers(typed('bfloat16', 5, [0x3f80]))]).toEqual([1]);
    expect([...toNumbers(typed('float8e4m3fn', 5, [0x38]))]).toEqual([1]);
  });

  test('sub-byte types: one entry a byte', () => {
    expect([...unpacked(typed('int4', 5, [0x1f, 0x08], [3]))]).toEqual([-1, 1, -8]);
    expect([...unpacked(typed('uint4', 5, [0x1f, 0x08], [3]))]).toEqual([15, 1, 8]);
    expect([...unpacked(typed('int2', 5, [0b11100100], [4]))]).toEqual([0, 1, -2, -1]);
    expect(() => typed('int4', 5, [1, 2, 3], [3])).toThrow('needs 2 entries of int32_data, got 3');
  });

  test('64-bit and unsigned types', () => {
    expect(typed('int64', 7, [-1, 5]).data).toEqual(BigInt64Array.of(-1n, 5n));
    expect(typed('uint64', 11, [-1]).data).toEqual(BigUint64Array.of(2n ** 64n - 1n));
    expect(typed('uint32', 11, [2 ** 32 - 1]).data).toEqual(Uint32Array.of(2 ** 32 - 1));
  });

  test('complex numbers take two entries', () => {
    const writer = new MessageWriter().int(2, 14).int(1, 1).float(4, 1.5).float(4, -2);
    expect(decoded(writer.done()).data).toEqual(Float32Array.of(1.5, -2));
  });

  test('an empty tensor has no data; a missing one is refused', () => {
    for (const { name, onnx } of dtypes) {
      expect(decoded(new MessageWriter().int(2, onnx).int(1, 0).done()).data.length, name).toBe(0);
      expect(() => decoded(new MessageWriter().int(2, onnx).int(1, 1).done()), name).toThrow(ModelFormatError);
    }
  });

  test('strings are UTF-8, and never raw', () => {
    const two = new MessageWriter().int(2, 8).int(1, 2).text(6, 'a').text(6, 'ü');
    expect(decoded(two.done()).data).toEqual(['a', 'ü']);
    const bad = new MessageWriter().int(2, 8).int(1, 1).bytes(6, Uint8Array.of(0xff));
    expect(() => decoded(bad.done())).toThrow('string 0 is not UTF-8');
    expect(() => decoded(rawTensor('s', 'string', [1], Uint8Array.of(97)))).toThrow('strings cannot be raw_data');
  });
});

describe('sizes and types', () => {
  const shaped = (...dims: number[]): Uint8Array => {
    const writer = new MessageWriter().int(2, 1);
    for (const dim of dims) writer.int(1, dim);
    return writer.done();
  };
  test('impossible dimensions are refused before memory is asked for', () => {
    expect(() => decoded(shaped(-4))).toThrow('dimension of -4');
    expect(() => decoded(shaped(2 ** 32, 2 ** 32))).toThrow('more elements than any memory');
    expect(() => decoded(shaped(2 ** 62, 4, 1))).toThrow('more elements than any memory');
    expect(decoded(shaped(2 ** 40, 0)).dims).toEqual([2 ** 40, 0]);
  });
  test('unknown element types', () => {
    expect(() => decoded(new MessageWriter().int(2, 99).done())).toThrow(ModelFormatError);
    expect(() => decoded(new MessageWriter().int(2, 27).done())).toThrow(UnsupportedError);
  });
});

describe('sparse tensors', () => {
  const sparse = (values: Uint8Array, indices: Uint8Array, dims: number[]): HostTensor =>
    decodeSparse({ values: decodeTensorProto(values), indices: decodeTensorProto(indices), dims }, 's');

  test('linear and coordinate indices', () => {
    expect([...toNumbers(sparse(floats('v', [5, 6]), longs('i', [1, 5]), [2, 3]))]).toEqual([0, 5, 0, 0, 0, 6]);
    const pairs = longs('i', [0, 1, 1, 2], [2, 2]);
    expect([...toNumbers(sparse(floats('v', [5, 6]), pairs, [2, 3]))]).toEqual([0, 5, 0, 0, 0, 6]);
    const nibbles = rawTensor('v', 'int4', [3], Uint8Array.of(0x21, 0x0f));
    expect([...unpacked(sparse(nibbles, longs('i', [4, 0, 3]), [5]))]).toEqual([2, 0, 0, -1, 1]);
    expect([...toNumbers(sparse(floats('v', []), longs('i', []), [2]))]).toEqual([0, 0]);
  });

  test('indices outside, repeated or of the wrong shape are refused', () => {
    const one = floats('v', [5]);
    expect(() => sparse(one, longs('i', [6]), [2, 3])).toThrow('sparse index 6');
    expect(() => sparse(one, longs('i', [-1]), [2, 3])).toThrow('sparse index -1');
    expect(() => sparse(one, longs('i', [0, 3], [1, 2]), [2, 3])).toThrow('sparse index [0,3] lies outside [2,3]');
    expect(() => sparse(floats('v', [5, 6]), longs('i', [1, 1]), [2, 3])).toThrow('occurs twice');
    expect(() => sparse(one, longs('i', [0, 0, 0], [1, 3]), [2, 3])).toThrow('indices of shape [1,3]');
    expect(() => sparse(one, floats('i', [0]), [2, 3])).toThrow('expected int64');
    expect(() => sparse(one, longs('i', [0]), [1e6, 1e6])).toThrow(MemoryError);
  });
});

describe('values as files', () => {
  const float = (values: number[]): HostTensor => ({
    kind: 'tensor',
    dtype: 'float32',
    dims: [values.length],
    data: Float32Array.from(values),
  });
  const tensorT: ValueType = { kind: 'tensor', dtype: 'float32', shape: undefined };
  const sequenceT: ValueType = { kind: 'sequence', element: tensorT };
  const there = (type: ValueType, value: HostValue): HostValue => decodeValue(encodeValue(value, 'n'), type, 'f').value;

  test.each(numeric.map((info) => info.name))('a tensor of %s comes back', (dtype) => {
    const { storage } = dtypeInfo(dtype);
    const bytes = Uint8Array.from({ length: byteLength(dtype, 6) }, (_, i) => (dtype === 'bool' ? i % 2 : i + 1));
    const data = new (storage as NonNullable<typeof storage>)(
      bytes.buffer,
      0,
      bytes.length / storage!.BYTES_PER_ELEMENT,
    );
    const { name, value } = decodeValue(encodeValue({ kind: 'tensor', dtype, dims: [2, 3], data }, 'n'), tensorT, 'f');
    expect(name).toBe('n');
    expect([(value as HostTensor).dims, bytesOf(value as HostTensor)]).toEqual([[2, 3], [...bytes]]);
  });

  test('strings, sequences, optionals and maps come back', () => {
    const strings: HostTensor = { kind: 'tensor', dtype: 'string', dims: [2], data: ['a', ''] };
    expect(there(tensorT, strings)).toEqual(strings);
    const sequence: HostValue = { kind: 'sequence', items: [strings, strings] };
    expect(there(sequenceT, sequence)).toEqual(sequence);
    expect(there(sequenceT, { kind: 'sequence', items: [] })).toEqual({ kind: 'sequence', items: [] });
    const optionalT: ValueType = { kind: 'optional', element: sequenceT };
    expect(there(optionalT, { kind: 'optional', value: sequence })).toEqual({ kind: 'optional', value: sequence });
    expect(there(optionalT, { kind: 'optional', value: null })).toEqual({ kind: 'optional', value: null });
    const mapT: ValueType = { kind: 'map', keyType: 'string', value: tensorT };
    const map: HostValue = { kind: 'map', keyType: 'string', valueType: 'float32', entries: new Map([['k', 1.5]]) };
    expect(there(mapT, map)).toEqual(map);
    const longMap: HostValue = { kind: 'map', keyType: 'int64', valueType: 'int64', entries: new Map([[-3n, 7n]]) };
    expect(there({ ...mapT, keyType: 'int64' }, longMap)).toEqual(longMap);
    const nested: HostValue = { kind: 'sequence', items: [longMap] };
    expect(there(sequenceT, nested)).toEqual(nested);
    expect([...toNumbers(there(tensorT, float([1, 2])) as HostTensor)]).toEqual([1, 2]);
  });
});

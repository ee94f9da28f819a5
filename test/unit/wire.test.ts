import { describe, expect, test } from 'vitest';
import { ModelFormatError } from '../../lib/errors.ts';
import { decodeModel, decodeTensorProto } from '../../lib/onnx/decode.ts';
import { LongList, WireReader } from '../../lib/onnx/wire.ts';
import { attribute, graph, MessageWriter, model, node } from '../models/onnx-writer.ts';

const varint = (value: bigint): number[] => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
};

describe('varints', () => {
  const values = [0n, 1n, 127n, 128n, 2n ** 28n - 1n, 2n ** 28n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 35n];
  const wide = [2n ** 53n, 2n ** 56n + 1n, 2n ** 62n, 2n ** 63n - 1n, -1n, -(2n ** 31n), -(2n ** 63n), -(2n ** 53n)];

  test.each([...values, ...wide])('%s keeps all 64 bits', (value) => {
    const reader = new WireReader(Uint8Array.from(varint(value)));
    reader.varint();
    const list = new LongList();
    list.push(reader.low, reader.high);
    expect(list.signed()[0]).toBe(value);
    reader.pos = 0;
    expect(reader.int64()).toBe(Number(value));
  });

  test('more than ten bytes, or more than 64 bits, are refused', () => {
    const ten = [...new Array(9).fill(255), 1];
    expect(new WireReader(Uint8Array.from(ten)).int64()).toBe(-1);
    expect(() => new WireReader(Uint8Array.from([...new Array(9).fill(255), 2])).varint()).toThrow('64 bits');
    expect(() => new WireReader(Uint8Array.from([...new Array(10).fill(128), 0])).varint()).toThrow('64 bits');
  });
});

describe('fields', () => {
  test('an unknown field of every wire type is skipped', () => {
    const group = [...varint((99n << 3n) | 3n), 8, 1, ...varint((98n << 3n) | 3n), ...varint((98n << 3n) | 4n)];
    const unknown = [
      ...[...varint((90n << 3n) | 0n), 255, 1],
      ...[...varint((91n << 3n) | 1n), 1, 2, 3, 4, 5, 6, 7, 8],
      ...[...varint((92n << 3n) | 2n), 2, 9, 9],
      ...[...varint((93n << 3n) | 5n), 1, 2, 3, 4],
      ...[...group, ...varint((99n << 3n) | 4n)],
    ];
    expect(decodeTensorProto(Uint8Array.from([...unknown, 16, 7])).dataType).toBe(7);
    const open = decodeTensorProto.bind(undefined, Uint8Array.from(group));
    expect(open).toThrow(/end within a group/);
  });

  test('lists of numbers may be packed, unpacked or both', () => {
    const packed = [10, 3, 1, 2, 3];
    const unpacked = [8, 4, 8, 5];
    expect(decodeTensorProto(Uint8Array.from([...packed, ...unpacked])).dims).toEqual([1, 2, 3, 4, 5]);
    const longs = decodeTensorProto(Uint8Array.from([58, 2, 1, 2, 56, ...varint(-3n)])).int64Data;
    expect(longs?.signed()).toEqual(BigInt64Array.of(1n, 2n, -3n));
    const one = [37, 0, 0, 128, 63];
    const two = [34, 8, 0, 0, 0, 64, 0, 0, 64, 64];
    const floats = decodeTensorProto(Uint8Array.from([...one, ...two, ...one]))
      .floatData?.view()
      .slice();
    expect(new Float32Array(floats?.buffer as ArrayBuffer)).toEqual(Float32Array.of(1, 2, 3, 1));
  });

  test('byte fields are views of the file', () => {
    const bytes = new MessageWriter().bytes(9, Uint8Array.of(1, 2, 3)).done();
    const raw = decodeTensorProto(bytes).rawData as Uint8Array;
    expect(raw.buffer).toBe(bytes.buffer);
    expect([...raw]).toEqual([1, 2, 3]);
  });

  test('a single message that occurs twice is merged', () => {
    const first = model({ nodes: [node('Relu', ['x'], ['y'])] });
    const second = new MessageWriter().bytes(7, graph({ nodes: [node('Neg', ['y'], ['z'])] })).done();
    const decoded = decodeModel(Uint8Array.from([...first, ...second]));
    expect(decoded.graph?.node.map((n) => n.opType)).toEqual(['Relu', 'Neg']);
  });

  test('a field of another wire type is refused with its place', () => {
    const wrong = decodeModel.bind(undefined, Uint8Array.from([8, 9, 57, 0, 0, 0, 0, 0, 0, 0, 0]));
    expect(wrong).toThrow(ModelFormatError);
    expect(wrong).toThrow(/byte 3: field "graph" of Model has wire type 1, expected 2/);
  });

  test('every truncation of a model is refused or has no more than the fields before it', () => {
    const body = graph({ nodes: [node('Relu', ['x'], ['y'])] });
    const bytes = model({ nodes: [node('If', ['c'], ['z'], { attributes: [attribute.graph('then_branch', body)] })] });
    expect(decodeModel(bytes).graph?.node[0].attribute[0].g?.node[0].opType).toBe('Relu');
    let refused = 0;
    for (let end = 1; end < bytes.length; end++) {
      try {
        expect(decodeModel(bytes.subarray(0, end)).opsetImport).toEqual([]);
      } catch (error) {
        expect(error).toBeInstanceOf(ModelFormatError);
        refused++;
      }
    }
    expect(refused).toBe(bytes.length - 3);
  });

  test('messages nest up to a limit', () => {
    const nested = (depth: number): Uint8Array => {
      let inner = graph({});
      for (let i = 0; i < depth; i++) {
        inner = graph({ nodes: [node('If', ['c'], ['y'], { attributes: [attribute.graph('then_branch', inner)] })] });
      }
      return new MessageWriter().int(1, 9).bytes(7, inner).done();
    };
    expect(decodeModel(nested(80)).graph?.node.length).toBe(1);
    expect(() => decodeModel(nested(90))).toThrow(/nested deeper than 256/);
  });

  test('text outside ASCII and long text', () => {
    const name = 'schwächer, 名前, '.repeat(9);
    expect(decodeTensorProto(new MessageWriter().text(8, name).done()).name).toBe(name);
    expect(decodeTensorProto(new MessageWriter().text(8, 'é').done()).name).toBe('é');
  });
});

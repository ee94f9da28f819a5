/** Host values to `.pb` files: TensorProto, SequenceProto, OptionalProto, MapProto. */

import { UnsupportedError } from '../errors.ts';
import { byteLength, dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostMap, type HostTensor, type HostValue, int64Vector } from '../ir/tensor.ts';
import { WIRE } from './wire.ts';

const utf8 = new TextEncoder();

/** Pieces of a message, in order. */
class Message {
  readonly #pieces: Uint8Array[] = [];

  #varint(value: bigint): void {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, value);
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    bytes.push(Number(rest));
    this.#pieces.push(Uint8Array.from(bytes));
  }

  integer(field: number, value: number | bigint): this {
    this.#varint(BigInt((field << 3) | WIRE.varint));
    this.#varint(BigInt(value));
    return this;
  }
  bytes(field: number, value: Uint8Array): this {
    this.#varint(BigInt((field << 3) | WIRE.bytes));
    this.#varint(BigInt(value.length));
    this.#pieces.push(value);
    return this;
  }
  text(field: number, value: string): this {
    return value === '' ? this : this.bytes(field, utf8.encode(value));
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.#pieces.reduce((size, piece) => size + piece.length, 0));
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}

/** `elem_type` of sequences and optionals by kind of value. */
const elementKinds: Readonly<Record<HostValue['kind'], number>> = { tensor: 1, sequence: 3, map: 4, optional: 5 };

/** A value as the file of its own kind. */
export function encodeValue(value: HostValue, name = ''): Uint8Array {
  switch (value.kind) {
    case 'tensor':
      return encodeTensor(value, name);
    case 'sequence': {
      const kind = value.items[0]?.kind ?? 'tensor';
      const message = new Message().text(1, name).integer(2, elementKinds[kind]);
      // Fields 3, 5, 6 and 7 hold tensors, sequences, maps and optionals.
      for (const item of value.items) message.bytes(2 + elementKinds[item.kind], encodeValue(item));
      return message.finish();
    }
    case 'optional': {
      const message = new Message().text(1, name).integer(2, value.value ? elementKinds[value.value.kind] : 0);
      // Fields 3, 5, 6 and 7 as above.
      if (value.value) message.bytes(2 + elementKinds[value.value.kind], encodeValue(value.value));
      return message.finish();
    }
    case 'map':
      return encodeMap(value, name);
  }
}

function encodeMap(map: HostMap, name: string): Uint8Array {
  const message = new Message().text(1, name).integer(2, dtypeInfo(map.keyType).onnx);
  for (const key of map.entries.keys()) {
    if (typeof key === 'string') message.bytes(4, utf8.encode(key));
    else message.integer(3, key);
  }
  const items = [...map.entries.values()].map((value): HostTensor => {
    if (typeof value === 'string') return { kind: 'tensor', dtype: 'string', dims: [], data: [value] };
    if (typeof value === 'bigint') return { ...int64Vector([]), dims: [], data: BigInt64Array.of(value) };
    return fromNumbers(map.valueType, [], [value]);
  });
  return message.bytes(5, encodeValue({ kind: 'sequence', items })).finish();
}

function encodeTensor(tensor: HostTensor, name: string): Uint8Array {
  const { dtype, dims, data } = tensor;
  const message = new Message();
  for (const dim of dims) message.integer(1, dim);
  message.integer(2, dtypeInfo(dtype).onnx).text(8, name);
  if (Array.isArray(data)) {
    for (const text of data) message.bytes(6, utf8.encode(text));
    return message.finish();
  }
  if (!ArrayBuffer.isView(data)) throw new UnsupportedError(`a tensor of ${dtype} without storage cannot be written`);
  const bytes = byteLength(dtype, sizeOf(dims));
  return message.bytes(9, new Uint8Array(data.buffer, data.byteOffset, bytes)).finish();
}

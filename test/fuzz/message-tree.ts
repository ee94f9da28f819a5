/**
 * A protobuf message as a tree that can be changed and written again. Shares the table of fields with the reader of the
 * library, but no code: what it writes need not be valid.
 */

import { type MessageName, messages } from '../../lib/onnx/schema.ts';

export interface Message {
  readonly type: MessageName;
  fields: Field[];
}

export type FieldValue = bigint | Uint8Array | Message | bigint[];

/** A field: varints are bigints, packed integers lists of them, everything else bytes or messages. */
export interface Field {
  number: number;
  wire: number;
  /** By the schema; empty for unknown fields. */
  name: string;
  value: FieldValue;
  /** Added to the length that is written, so that it lies. */
  lie?: bigint;
}

class Cursor {
  at = 0;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.take(1)[0] as number;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
    throw new RangeError('a long varint');
  }
  take(count: number): Uint8Array {
    if (!(count >= 0 && count <= this.bytes.length - this.at)) throw new RangeError('too short');
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }
  done(): boolean {
    return this.at === this.bytes.length;
  }
}

const isMessage = (kind: string): kind is MessageName => kind in messages;

function readValue(cursor: Cursor, wire: number, kind: string): FieldValue {
  if (wire === 0) return cursor.varint();
  if (wire === 1) return cursor.take(8);
  if (wire === 5) return cursor.take(4);
  if (wire !== 2) throw new RangeError(`wire type ${wire}`);
  const content = cursor.take(Number(cursor.varint()));
  if (isMessage(kind)) return parse(content, kind);
  if (kind !== 'int64s' && kind !== 'longs') return content;
  const list: bigint[] = [];
  for (const inner = new Cursor(content); !inner.done(); ) list.push(inner.varint());
  return list;
}

/** The tree of a message. Throws RangeError where the bytes are none. */
export function parse(bytes: Uint8Array, type: MessageName): Message {
  const cursor = new Cursor(bytes);
  const fields: Field[] = [];
  while (!cursor.done()) {
    const tag = Number(cursor.varint());
    const [name, kind] = messages[type][tag >>> 3] ?? ['', ''];
    const value = readValue(cursor, tag & 7, kind.replace('[]', ''));
    fields.push({ number: tag >>> 3, wire: tag & 7, name, value });
  }
  return { type, fields };
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return bytes;
}

/** The bytes of a tree. */
export function write(message: Message): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (const { number, wire, value, lie = 0n } of message.fields) {
    pieces.push(Uint8Array.from(varint(BigInt(number * 8 + wire))));
    if (typeof value === 'bigint') {
      pieces.push(Uint8Array.from(varint(value)));
      continue;
    }
    const content = contentOf(value);
    if (wire === 2) pieces.push(Uint8Array.from(varint(BigInt(content.length) + lie)));
    pieces.push(content);
  }
  return Buffer.concat(pieces);
}

function contentOf(value: Uint8Array | Message | bigint[]): Uint8Array {
  if (value instanceof Uint8Array) return value;
  return Array.isArray(value) ? Uint8Array.from(value.flatMap(varint)) : write(value);
}

/** A deep copy. */
export function cloned(field: Field): Field {
  const { value } = field;
  if (typeof value === 'bigint') return { ...field };
  if (value instanceof Uint8Array) return { ...field, value: value.slice() };
  if (Array.isArray(value)) return { ...field, value: [...value] };
  return { ...field, value: { type: value.type, fields: value.fields.map(cloned) } };
}

/** A field and the message it stands in. */
export interface Place {
  readonly parent: Message;
  readonly field: Field;
}

/** All fields of a tree, outer ones first. */
export function places(message: Message, out: Place[] = []): Place[] {
  for (const field of message.fields) {
    out.push({ parent: message, field });
    if (isTree(field.value)) places(field.value, out);
  }
  return out;
}

/** True for a nested message. */
export function isTree(value: FieldValue): value is Message {
  return typeof value === 'object' && 'type' in value;
}

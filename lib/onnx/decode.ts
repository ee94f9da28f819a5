/** Bytes to messages, by the schema. */

import { ModelFormatError } from '../errors.ts';
import { finish } from '../ir/turns.ts';
import {
  type FieldKind,
  type MapProto,
  type MessageName,
  type ModelProto,
  messages,
  type OptionalProto,
  type SequenceProto,
  type TensorProto,
} from './schema.ts';
import { ByteList, LongList, WIRE, WireReader } from './wire.ts';

type Fields = Record<string, unknown>;

interface FieldPlan {
  readonly name: string;
  readonly kind: FieldKind;
  /** Message of a message field. */
  readonly message: MessagePlan | undefined;
  readonly wire: number;
}

interface MessagePlan {
  readonly name: string;
  readonly fields: Map<number, FieldPlan>;
  /** Values that fields have before any is read. Empty lists are shared: they are replaced, never filled. */
  readonly initial: Fields;
}

const EMPTY: readonly never[] = Object.freeze([]);

const initialOf: Partial<Record<FieldKind, unknown>> = {
  int64s: EMPTY,
  floats: EMPTY,
  strings: EMPTY,
  byteses: EMPTY,
  string: '',
};

const wireOf: Partial<Record<FieldKind, number>> = {
  int64: WIRE.varint,
  int32: WIRE.varint,
  int64s: WIRE.varint,
  longs: WIRE.varint,
  float: WIRE.fixed32,
  floats: WIRE.fixed32,
  fixed32s: WIRE.fixed32,
  fixed64s: WIRE.fixed64,
};

/** Scalars whose absence means 0. */
const zeroFields = new Set(['dataType', 'dataLocation', 'type', 'elemType', 'keyType', 'irVersion', 'modelVersion']);
zeroFields.add('version');
/** Optional texts, whose absence differs from ''. */
const maybeFields = new Set(['dimParam']);

function makePlans(): Record<MessageName, MessagePlan> {
  const names = Object.keys(messages) as MessageName[];
  const plans = Object.fromEntries(
    names.map((name) => [name, { name, fields: new Map<number, FieldPlan>(), initial: {} as Fields }]),
  ) as Record<MessageName, MessagePlan>;
  for (const name of names) {
    for (const [number, [field, kind]] of Object.entries(messages[name])) {
      const message = plans[kind.replace('[]', '') as MessageName];
      plans[name].fields.set(Number(number), { name: field, kind, message, wire: wireOf[kind] ?? WIRE.bytes });
      let initial = initialOf[kind];
      if (kind.endsWith('[]')) initial = EMPTY;
      if ((kind === 'int32' || kind === 'int64') && zeroFields.has(field)) initial = 0;
      if (initial !== undefined && !maybeFields.has(field)) plans[name].initial[field] = initial;
    }
  }
  return plans;
}

const plans = makePlans();

function listOf<T>(target: Fields, name: string): T[] {
  if (target[name] === EMPTY) target[name] = [];
  return target[name] as T[];
}

function readMessage(reader: WireReader, plan: MessagePlan, target: Fields): void {
  for (let tag = reader.tag(); tag !== -1; tag = reader.tag()) {
    const field = plan.fields.get(tag >>> 3);
    if (!field) reader.skip(tag);
    else readField(reader, plan, field, tag & 7, target);
  }
}

/** Fields of a graph, most of them nodes and weights, that are read at a stretch. */
const STRETCH = 16;

/** The same in turns, as far as the fields of graphs go. */
function* readingMessage(reader: WireReader, plan: MessagePlan, target: Fields): Generator<void, void> {
  let read = 0;
  for (let tag = reader.tag(); tag !== -1; tag = reader.tag()) {
    const field = plan.fields.get(tag >>> 3);
    if (!field) reader.skip(tag);
    else if (field.kind === 'Graph' && (tag & 7) === WIRE.bytes) {
      const inner = innerOf(field, target);
      const outer = reader.enter(reader.length());
      yield* readingMessage(reader, field.message as MessagePlan, inner);
      reader.leave(outer);
      target[field.name] = inner;
    } else readField(reader, plan, field, tag & 7, target);
    if (++read % STRETCH === 0) yield;
  }
}

/** The message that a field adds to; a second occurrence of a single one is merged into the first, as the format says. */
function innerOf(field: FieldPlan, target: Fields): Fields {
  const before = field.kind.endsWith('[]') ? undefined : (target[field.name] as Fields | undefined);
  return before ?? { ...(field.message as MessagePlan).initial };
}

function readField(reader: WireReader, plan: MessagePlan, field: FieldPlan, wire: number, target: Fields): void {
  const { name, kind } = field;
  if (wire !== field.wire) {
    if (wire !== WIRE.bytes || !readPacked(reader, field, target)) {
      throw reader.error(`field "${name}" of ${plan.name} has wire type ${wire}, expected ${field.wire}`);
    }
    return;
  }
  if (field.message) {
    readSubmessage(reader, field, target);
  } else if (kind === 'int64') target[name] = reader.int64();
  else if (kind === 'int32') target[name] = reader.int32();
  else if (kind === 'float') target[name] = reader.float32();
  else if (kind === 'string') target[name] = reader.string();
  else if (kind === 'bytes') target[name] = reader.chunk();
  else if (kind === 'strings') listOf<string>(target, name).push(reader.string());
  else if (kind === 'byteses') listOf<Uint8Array>(target, name).push(reader.chunk());
  else readElement(reader, field, target);
}

function readSubmessage(reader: WireReader, field: FieldPlan, target: Fields): void {
  const inner = innerOf(field, target);
  reader.message(() => readMessage(reader, field.message as MessagePlan, inner));
  if (field.kind.endsWith('[]')) listOf<Fields>(target, field.name).push(inner);
  else target[field.name] = inner;
}

/** One unpacked element of a list of numbers. */
function readElement(reader: WireReader, { name, kind }: FieldPlan, target: Fields): void {
  if (kind === 'int64s') listOf<number>(target, name).push(reader.int64());
  else if (kind === 'floats') listOf<number>(target, name).push(reader.float32());
  else if (kind === 'longs') {
    reader.varint();
    longsOf(target, name).push(reader.low, reader.high);
  } else {
    const start = reader.pos;
    if (kind === 'fixed32s') reader.float32();
    else reader.float64();
    bytesOf(target, name).append(reader.bytes.subarray(start, reader.pos));
  }
}

function longsOf(target: Fields, name: string): LongList {
  target[name] ??= new LongList();
  return target[name] as LongList;
}

function bytesOf(target: Fields, name: string): ByteList {
  target[name] ??= new ByteList();
  return target[name] as ByteList;
}

/** A packed list of numbers; false where the field is none. */
function readPacked(reader: WireReader, { name, kind }: FieldPlan, target: Fields): boolean {
  const length = reader.length();
  if (kind === 'int64s' || kind === 'floats') {
    const list = listOf<number>(target, name);
    reader.within(length, () => {
      while (reader.pos < reader.end) list.push(kind === 'int64s' ? reader.int64() : reader.float32());
    });
    return true;
  }
  if (kind === 'longs') {
    const list = longsOf(target, name);
    list.reserve(reader.countVarints(length));
    reader.within(length, () => {
      while (reader.pos < reader.end) {
        reader.varint();
        list.push(reader.low, reader.high);
      }
    });
    return true;
  }
  if (kind !== 'fixed32s' && kind !== 'fixed64s') return false;
  const width = kind === 'fixed32s' ? 4 : 8;
  if (length % width !== 0) throw reader.error(`"${name}" has ${length} bytes, expected a multiple of ${width}`);
  bytesOf(target, name).append(reader.bytes.subarray(reader.pos, reader.pos + length));
  reader.pos += length;
  return true;
}

function* decoding(bytes: Uint8Array, message: MessageName, what: string): Generator<void, Fields> {
  const target: Fields = { ...plans[message].initial };
  try {
    yield* readingMessage(new WireReader(bytes), plans[message], target);
  } catch (error) {
    if (!(error instanceof ModelFormatError)) throw error;
    throw new ModelFormatError(`${what}: ${error.message}`, error.details);
  }
  return target;
}

const decode = (bytes: Uint8Array, message: MessageName, what: string): Fields =>
  finish(decoding(bytes, message, what));

/** Decodes a model file in turns. Byte fields are views of `bytes`. Throws ModelFormatError naming the byte. */
export function* decodingModel(bytes: Uint8Array): Generator<void, ModelProto> {
  if (bytes.length === 0) throw new ModelFormatError('the model has 0 bytes', { offset: 0 });
  return (yield* decoding(bytes, 'Model', 'not a valid ONNX model')) as unknown as ModelProto;
}

/** The same without a pause. */
export const decodeModel = (bytes: Uint8Array): ModelProto => finish(decodingModel(bytes));

/** Decodes a TensorProto file. */
export function decodeTensorProto(bytes: Uint8Array): TensorProto {
  return decode(bytes, 'Tensor', 'not a valid TensorProto') as unknown as TensorProto;
}

/** Decodes a SequenceProto file. */
export function decodeSequenceProto(bytes: Uint8Array): SequenceProto {
  return decode(bytes, 'Sequence', 'not a valid SequenceProto') as unknown as SequenceProto;
}

/** Decodes an OptionalProto file. */
export function decodeOptionalProto(bytes: Uint8Array): OptionalProto {
  return decode(bytes, 'Optional', 'not a valid OptionalProto') as unknown as OptionalProto;
}

/** Decodes a MapProto file. */
export function decodeMapProto(bytes: Uint8Array): MapProto {
  return decode(bytes, 'Map', 'not a valid MapProto') as unknown as MapProto;
}

/** Changes to models: by the structure of the format, or blindly to the bytes. Each says what it did. */

import { dtypes } from '../../lib/ir/dtype.ts';
import { allOps } from '../../lib/ops/index.ts';
import { cloned, type Field, isTree, type Message, type Place, parse, places, write } from './message-tree.ts';
import { edgeFloat, edgeInteger, type Random } from './random.ts';

export interface Mutant {
  readonly bytes: Uint8Array;
  /** What was done, for people. */
  readonly changes: readonly string[];
}

const operators = [...allOps()].map(({ domain, name }) => ({ domain, name }));
const words = ['', 'SAME_UPPER', 'SAME_LOWER', 'VALID', 'NOTSET', 'linear', 'cubic', 'nearest', 'constant', 'edge'];
const moreWords = ['reflect', 'wrap', 'add', 'mul', 'max', 'none', 'bidirectional', 'reverse', 'Relu', 'Tanh', 'DCR'];
const equations = ['...ij,...jk->...ik', 'ii->i', 'i,j->ij', 'ij->', '->', 'bij,bjk', 'aaaa,b..'];
const texts = [...words, ...moreWords, ...equations, 'floor', 'tanh_crop_and_resize', '__proto__', '\u0000', 'x'];
const utf8 = new TextEncoder();

/** The model's fields by what they mean. */
class Anatomy {
  readonly all: readonly Place[];

  constructor(root: Message) {
    this.all = places(root);
  }
  of(type: string, ...names: string[]): readonly Place[] {
    return this.all.filter(({ parent, field }) => parent.type === type && names.includes(field.name));
  }
}

type Change = (random: Random, model: Anatomy, donor: Anatomy) => string | undefined;

const show = ({ parent, field }: Place): string => `${parent.type}.${field.name || field.number}`;
const at = (message: Message, field: Field): number => message.fields.indexOf(field);

/** Changes one integer of a field: its value, an item, or the number of items. */
function changeInteger(random: Random, place: Place): string {
  const { field } = place;
  const { value } = field;
  if (typeof value === 'bigint') {
    field.value = edgeInteger(random, value);
    return `${show(place)} = ${field.value}`;
  }
  if (!Array.isArray(value)) return changeBytes(random, place);
  const item = random.below(value.length + 1);
  const how = random.below(5);
  if (how === 0) value.splice(item, 0, edgeInteger(random, value[0] ?? 0n));
  else if (how === 1) value.splice(item, 1);
  else if (value.length) value[item % value.length] = edgeInteger(random, value[item % value.length] ?? 0n);
  return `${show(place)} = [${value.slice(0, 8)}]`;
}

/** Writes an edge value of some width over bytes, or makes them shorter or longer. */
function changeBytes(random: Random, place: Place): string {
  const { field } = place;
  const bytes = (field.value as Uint8Array).slice();
  const how = random.below(8);
  if (how === 0) field.value = bytes.subarray(0, random.below(bytes.length + 1));
  else if (how === 1) field.value = Buffer.concat([bytes, bytes.subarray(0, 1 + random.below(9))]);
  else field.value = overwritten(random, bytes);
  return `${show(place)}: ${how === 0 ? 'cut' : how === 1 ? 'longer' : 'overwritten'}`;
}

function overwritten(random: Random, bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = random.pick([1, 4, 8, 8].filter((size) => size <= bytes.length));
  if (width === undefined) return bytes;
  const offset = random.below(Math.floor(bytes.length / width)) * width;
  if (width === 1) bytes[offset] = random.below(256);
  else if (width === 4 && random.chance(0.6)) view.setFloat32(offset, edgeFloat(random), true);
  else if (width === 4) view.setInt32(offset, Number(BigInt.asIntN(32, edgeInteger(random, 0n))), true);
  else view.setBigInt64(offset, BigInt.asIntN(64, edgeInteger(random, view.getBigInt64(offset, true))), true);
  return bytes;
}

function onOne(list: readonly Place[], random: Random, change: (place: Place) => string): string | undefined {
  return list.length ? change(random.pick(list)) : undefined;
}

const dims: Change = (random, model) => {
  const list = [
    ...model.of('Tensor', 'dims'),
    ...model.of('Dimension', 'dimValue'),
    ...model.of('SparseTensor', 'dims'),
  ];
  return onOne(list, random, (place) => changeInteger(random, place));
};

const types: Change = (random, model) => {
  const list = [
    ...model.of('Tensor', 'dataType'),
    ...model.of('TensorType', 'elemType'),
    ...model.of('MapType', 'keyType'),
  ];
  return onOne(list, random, (place) => {
    place.field.value = random.chance(0.9) ? BigInt(random.pick(dtypes).onnx) : edgeInteger(random, 1n);
    return `${show(place)} = ${place.field.value}`;
  });
};

const attributeNumbers: Change = (random, model) =>
  onOne([...model.of('Attribute', 'i', 'ints')], random, (place) => changeInteger(random, place));

const attributeFloats: Change = (random, model) =>
  onOne(model.of('Attribute', 'f', 'floats'), random, (place) => {
    const bytes = (place.field.value as Uint8Array).slice();
    if (bytes.length < 4) return changeBytes(random, place);
    const value = edgeFloat(random);
    new DataView(bytes.buffer).setFloat32(random.below(Math.floor(bytes.length / 4)) * 4, value, true);
    place.field.value = bytes;
    return `${show(place)} = ${value}`;
  });

const attributeNames: Change = (random, model, donor) =>
  onOne(model.of('Attribute', 'name', 'type', 's', 'strings', 'refAttrName'), random, (place) => {
    const { field } = place;
    if (typeof field.value === 'bigint') return changeInteger(random, place);
    const others = [...model.of('Attribute', field.name), ...donor.of('Attribute', field.name)];
    const other = random.pick(others).field.value;
    field.value = random.chance(0.5) && other instanceof Uint8Array ? other : utf8.encode(random.pick(texts));
    return `${show(place)} = "${Buffer.from(field.value).toString('latin1')}"`;
  });

const wholeTypes = dtypes.filter(({ kind }) => kind === 'int' || kind === 'uint').map(({ onnx }) => onnx);

const contents: Change = (random, model) => {
  const whole = ({ parent }: Place): boolean =>
    parent.fields.some(({ name, value }) => name === 'dataType' && wholeTypes.includes(Number(value)));
  const names = ['rawData', 'floatData', 'int32Data', 'int64Data', 'doubleData', 'uint64Data', 'stringData'];
  const list = model.of('Tensor', ...names);
  // Overwritten floats are rarely tame.
  return onOne(random.tame ? list.filter(whole) : list, random, (place) => changeInteger(random, place));
};

/** Names of values: another one, none, exchanged, one more or one less. */
const wires: Change = (random, model) =>
  onOne(model.of('Node', 'input', 'output'), random, (place) => {
    const { parent, field } = place;
    const names = model.of('Node', 'input', 'output').map((each) => each.field.value as Uint8Array);
    const all = [...names, ...model.of('Tensor', 'name').map((each) => each.field.value as Uint8Array)];
    switch (random.below(6)) {
      case 0:
        field.value = new Uint8Array(0);
        return `${show(place)} omitted`;
      case 1:
        parent.fields.splice(at(parent, field), 1);
        return `${show(place)} dropped`;
      case 2:
        parent.fields.splice(at(parent, field), 0, { ...field, value: random.pick(all) });
        return `${show(place)} inserted`;
      case 3: {
        const other = random.pick(parent.fields.filter(({ name }) => name === field.name));
        [other.value, field.value] = [field.value, other.value];
        return `${show(place)} exchanged`;
      }
      default:
        field.value = random.pick(all);
        return `${show(place)} = "${Buffer.from(field.value)}"`;
    }
  });

const operator: Change = (random, model) =>
  onOne(model.of('Node', 'opType'), random, ({ parent, field }) => {
    const domains = parent.fields.filter(({ name }) => name === 'domain');
    const own = Buffer.from((domains[0]?.value as Uint8Array | undefined) ?? []).toString();
    const same = operators.filter(({ domain }) => domain === own);
    const { name } = random.pick(same.length ? same : operators);
    field.value = utf8.encode(name);
    return `Node.opType = ${name}`;
  });

const versions: Change = (random, model) =>
  onOne([...model.of('OperatorSet', 'version'), ...model.of('Model', 'irVersion')], random, (place) => {
    place.field.value = random.chance(0.9) ? BigInt(1 + random.below(26)) : edgeInteger(random, 1n);
    return `${show(place)} = ${place.field.value}`;
  });

/** Any field dropped, doubled, moved, made another's, or replaced by one of the same kind. */
const fields: Change = (random, model, donor) =>
  onOne(model.all, random, (place) => {
    const { parent, field } = place;
    const index = at(parent, field);
    const how = random.below(6);
    if (how === 0) parent.fields.splice(index, 1);
    else if (how === 1) parent.fields.splice(index, 0, cloned(field));
    else if (how === 2) {
      parent.fields.splice(index, 1);
      parent.fields.splice(random.below(parent.fields.length + 1), 0, field);
    } else if (how === 3) field.number = 1 + random.below(26);
    else {
      const source = random.chance(0.5) ? donor : model;
      const same = source.of(parent.type, field.name);
      if (same.length) parent.fields[index] = cloned(random.pick(same).field);
    }
    const words = ['dropped', 'doubled', 'moved', `= field ${field.number}`, 'replaced', 'replaced'];
    return `${show(place)} ${words[how]}`;
  });

/** A whole node, attribute or tensor of another model, or of elsewhere in this one. */
const grafts: Change = (random, model, donor) => {
  const kind = random.pick(['node', 'attribute', 'initializer', 'input', 'output', 'valueInfo', 't', 'type']);
  const targets = model.all.filter(({ field }) => field.name === kind && isTree(field.value));
  const sources = (random.chance(0.7) ? donor : model).all.filter(
    ({ field }) => field.name === kind && isTree(field.value),
  );
  if (!sources.length) return undefined;
  return onOne(targets, random, (place) => {
    const { parent, field } = place;
    parent.fields.splice(at(parent, field), random.below(2), cloned(random.pick(sources).field));
    return `${show(place)} grafted`;
  });
};

const lengths: Change = (random, model) =>
  onOne(
    model.all.filter(({ field }) => field.wire === 2),
    random,
    (place) => {
      place.field.lie = random.chance(0.7) ? BigInt(random.below(9) - 4) : edgeInteger(random, 0n);
      return `${show(place)}: length ${place.field.lie} off`;
    },
  );

/** Changes and how often each is taken. */
const changes: readonly (readonly [weight: number, change: Change])[] = [
  [10, dims],
  [5, types],
  [14, attributeNumbers],
  [4, attributeFloats],
  [6, attributeNames],
  [12, contents],
  [10, wires],
  [5, operator],
  [3, versions],
  [6, fields],
  [5, grafts],
  [2, lengths],
];
const totalWeight = changes.reduce((sum, [weight]) => sum + weight, 0);

function changeOf(random: Random): Change {
  let rest = random.below(totalWeight);
  for (const [weight, change] of changes) {
    rest -= weight;
    if (rest < 0) return change;
  }
  return fields;
}

/** Blind changes to bytes: flips, cuts, runs of noise, pieces copied or removed. */
export function noise(random: Random, source: Uint8Array): Mutant {
  let bytes = source.slice();
  const changes: string[] = [];
  for (let times = 1 + random.below(3); times > 0 && bytes.length > 0; times--) {
    const from = random.below(bytes.length);
    const count = 1 + random.below(Math.min(16, bytes.length - from));
    const how = random.below(6);
    if (how === 0) bytes = bytes.slice(0, from);
    else if (how === 1) bytes = Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + count)]);
    else if (how === 2) bytes = Buffer.concat([bytes.subarray(0, from + count), bytes.subarray(from)]);
    else if (how === 3) bytes.fill(random.pick([0, 127, 128, 255]), from, from + count);
    else bytes[from] = how === 4 ? random.below(256) : (bytes[from] as number) ^ (1 << random.below(8));
    changes.push(`bytes: ${['cut', 'removed', 'doubled', 'filled', 'set', 'flipped'][how]} at ${from}`);
  }
  return { bytes, changes };
}

function anatomyOf(bytes: Uint8Array): { root: Message; anatomy: Anatomy } | undefined {
  try {
    const root = parse(bytes, 'Model');
    return { root, anatomy: new Anatomy(root) };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** A changed model. Parts of `donor`, another model, may come in. Models that cannot be parsed get noise alone. */
export function mutate(random: Random, source: Uint8Array, donor: Uint8Array): Mutant {
  if (!random.tame && random.chance(0.08)) return noise(random, source);
  const model = anatomyOf(source);
  if (!model) return noise(random, source);
  const other = anatomyOf(donor)?.anatomy ?? model.anatomy;
  const done: string[] = [];
  const wanted = random.chance(0.55) ? 1 : 2 + random.below(3);
  for (let tries = 0; tries < 12 && done.length < wanted; tries++) {
    const what = changeOf(random)(random, new Anatomy(model.root), other);
    if (what) done.push(what);
  }
  const bytes = write(model.root);
  if (random.tame || !random.chance(0.03)) return { bytes, changes: done };
  const noisy = noise(random, bytes);
  return { bytes: noisy.bytes, changes: [...done, ...noisy.changes] };
}

/** Operators of ai.onnx.ml on maps: DictVectorizer, CastMap, ZipMap. */

import type { DType } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostMap, type HostTensor, type HostValue, tensor, toNumbers } from '../ir/tensor.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const domain = 'ai.onnx.ml';

function mapInput(ctx: ReferenceContext): HostMap {
  const x = ctx.value(0);
  if (x.kind !== 'map') throw ctx.error(`the input is a ${x.kind}, expected a map`);
  return x;
}

/** Element type of the values of a map input, where known. */
function mapValueType(ctx: InferContext): DType | undefined {
  const type = ctx.type(0);
  if (type && type.kind !== 'map') throw ctx.error(`the input is a ${type.kind}, expected a map`);
  return type?.value.kind === 'tensor' ? type.value.dtype : undefined;
}

/** A tensor of one type from numbers, bigints or strings. */
function filled(dtype: DType, dims: readonly number[], values: readonly (number | bigint | string)[]): HostTensor {
  if (dtype === 'string') return tensor(dtype, dims, values.map(String));
  if (dtype === 'int64') return tensor(dtype, dims, BigInt64Array.from(values, BigInt));
  return fromNumbers(dtype, dims, values.map(Number));
}

function vocabulary(ctx: NodeReader): readonly (string | bigint)[] {
  const strings = ctx.strings('string_vocabulary', []);
  return strings.length ? strings : ctx.ints('int64_vocabulary', []).map(BigInt);
}

function vectorize(ctx: ReferenceContext): HostValue[] {
  const x = mapInput(ctx);
  const missing = x.valueType === 'string' ? '' : 0;
  const values = vocabulary(ctx).map((key) => x.entries.get(key) ?? missing);
  return [filled(x.valueType, [1, values.length], values)];
}

const castTypes: Readonly<Record<string, DType>> = { TO_FLOAT: 'float32', TO_STRING: 'string', TO_INT64: 'int64' };

function castType(ctx: NodeReader): DType {
  const name = ctx.string('cast_to', 'TO_FLOAT');
  const dtype = castTypes[name];
  if (!dtype) throw ctx.error(`cast_to is "${name}", expected one of ${Object.keys(castTypes).join(', ')}`);
  return dtype;
}

const isSparse = (ctx: NodeReader): boolean => ctx.string('map_form', 'DENSE') === 'SPARSE';

/** A value of a map as an element of the output: numbers become integers by truncation, strings are parsed. */
function cast(ctx: NodeReader, value: number | bigint | string, dtype: DType): number | bigint | string {
  if (dtype === 'string') return String(value);
  const number = Number(value);
  if (typeof value === 'string' && Number.isNaN(number)) throw ctx.error(`"${value}" is no number`);
  return dtype === 'int64' ? Math.trunc(number) : number;
}

function castMap(ctx: ReferenceContext): HostValue[] {
  const x = mapInput(ctx);
  const dtype = castType(ctx);
  const sorted = [...x.entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (!isSparse(ctx)) {
    const values = sorted.map(([, value]) => cast(ctx, value, dtype));
    return [filled(dtype, [1, values.length], values)];
  }
  const length = ctx.int('max_map', 1);
  const out = new Array<number | bigint | string>(length).fill(dtype === 'string' ? '' : 0);
  for (const [key, value] of sorted) {
    const at = Number(key);
    if (!(at >= 0 && at < length)) throw ctx.error(`the key ${key} is outside a map of ${length}`);
    out[at] = cast(ctx, value, dtype);
  }
  return [filled(dtype, [1, length], out)];
}

function zipKeys(ctx: NodeReader): { keys: readonly (string | bigint)[]; type: DType } {
  const strings = ctx.strings('classlabels_strings', []);
  if (strings.length) return { keys: strings, type: 'string' };
  return { keys: ctx.ints('classlabels_int64s', []).map(BigInt), type: 'int64' };
}

function zip(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const { keys, type } = zipKeys(ctx);
  const columns = x.dims.at(-1) ?? 1;
  if (x.dims.length < 1 || x.dims.length > 2 || columns !== keys.length) {
    throw ctx.error(`the input has shape ${shapeText(x.dims)}, expected ${keys.length} columns`);
  }
  const values = toNumbers(x);
  const rows = x.dims.length === 2 ? x.dims[0] : 1;
  const items = Array.from(
    { length: rows },
    (_, r): HostMap => ({
      kind: 'map',
      keyType: type,
      valueType: 'float32',
      entries: new Map(keys.map((key, c) => [key, values[r * columns + c]])),
    }),
  );
  return [{ kind: 'sequence', items }];
}

export const mlMapsOps: readonly OpDefinition[] = [
  defineOp({
    name: 'DictVectorizer',
    domain,
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { int64_vocabulary: 'ints', string_vocabulary: 'strings' },
    infer: (ctx): (ValueType | undefined)[] => {
      const dtype = mapValueType(ctx);
      return [dtype && tensorType(dtype, [1, vocabulary(ctx).length])];
    },
    reference: vectorize,
  }),
  defineOp({
    name: 'CastMap',
    domain,
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { cast_to: 'string', map_form: 'string', max_map: 'int' },
    infer: (ctx) => {
      mapValueType(ctx);
      return [tensorType(castType(ctx), [1, isSparse(ctx) ? ctx.int('max_map', 1) : null])];
    },
    reference: castMap,
  }),
  defineOp({
    name: 'ZipMap',
    domain,
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { classlabels_int64s: 'ints', classlabels_strings: 'strings' },
    infer: (ctx) => {
      const keyType = zipKeys(ctx).type;
      return [{ kind: 'sequence', element: { kind: 'map', keyType, value: tensorType('float32', []) } }];
    },
    reference: zip,
  }),
];

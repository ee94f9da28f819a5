/** LabelEncoder and CategoryMapper: tables from keys to values. */

import { type DType, isBig, isWhole } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { fromBigInts, fromNumbers, type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import type { LowerContext } from './lower.ts';
import { lowerTable } from './ml-encoders-lower.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

type Entry = string | number | bigint;

/** Keys or values with their element type. */
interface Column {
  readonly dtype: DType;
  readonly entries: readonly Entry[];
}

interface Table {
  readonly output: DType;
  readonly entries: ReadonlyMap<Entry, Entry>;
  readonly fallback: Entry;
  find(key: Entry): Entry;
}

/** The entries of a tensor: bigint for 64-bit integers. */
function entriesOf(t: HostTensor): readonly Entry[] {
  if (t.dtype === 'string') return t.data as string[];
  return isBig(t.dtype) ? Array.from(t.data as BigInt64Array) : Array.from(toNumbers(t));
}

function column(ctx: NodeReader, prefix: 'keys' | 'values'): Column | undefined {
  const t = ctx.tensorAttribute(`${prefix}_tensor`);
  if (t) return { dtype: t.dtype, entries: entriesOf(t) };
  if (ctx.hasAttribute(`${prefix}_strings`)) return { dtype: 'string', entries: ctx.strings(`${prefix}_strings`) };
  if (ctx.hasAttribute(`${prefix}_int64s`)) {
    return { dtype: 'int64', entries: ctx.ints(`${prefix}_int64s`).map(BigInt) };
  }
  if (ctx.hasAttribute(`${prefix}_floats`)) return { dtype: 'float32', entries: ctx.floats(`${prefix}_floats`) };
  return undefined;
}

function defaultOf(ctx: NodeReader, dtype: DType): Entry {
  const t = ctx.tensorAttribute('default_tensor');
  if (t) {
    if (t.dtype !== dtype) throw ctx.error(`default_tensor is of type ${t.dtype}, expected ${dtype}`);
    return entriesOf(t)[0];
  }
  if (dtype === 'string') return ctx.string('default_string', '_Unused');
  if (dtype === 'int64') return BigInt(ctx.int('default_int64', -1));
  if (dtype === 'float32' || dtype === 'float64') return ctx.float('default_float', -0);
  return ctx.int('default_int64', -1);
}

function tableOf(ctx: NodeReader, keys: Column, values: Column): Table {
  if (keys.entries.length !== values.entries.length) {
    throw ctx.error(`${keys.entries.length} keys and ${values.entries.length} values`);
  }
  const fallback = defaultOf(ctx, values.dtype);
  const first = ctx.version < 4;
  const index = new Map<Entry, Entry>();
  keys.entries.forEach((key, i) => {
    if (!(first && index.has(key))) index.set(key, values.entries[i]);
  });
  return { output: values.dtype, entries: index, fallback, find: (key) => index.get(key) ?? fallback };
}

/** The table of a LabelEncoder node for input of type `dtype`. */
function labelTable(ctx: NodeReader, dtype: DType): Table {
  if (ctx.version < 2) {
    const names = ctx.strings('classes_strings');
    const numbers = names.map((_, i) => BigInt(i));
    return pairTable(ctx, dtype, names, numbers);
  }
  const [keys, values] = [column(ctx, 'keys'), column(ctx, 'values')];
  if (!keys || !values) throw ctx.error('the node has no keys or no values');
  if (keys.dtype !== dtype) throw ctx.error(`the input is of type ${dtype}, the keys are ${keys.dtype}`);
  return tableOf(ctx, keys, values);
}

/** A table between strings and integers, in the direction that the input's type asks for. */
function pairTable(ctx: NodeReader, dtype: DType, names: readonly string[], numbers: readonly bigint[]): Table {
  const strings: Column = { dtype: 'string', entries: names };
  const integers: Column = { dtype: 'int64', entries: numbers };
  if (dtype === 'string') return tableOf(ctx, strings, integers);
  if (dtype === 'int64') return tableOf(ctx, integers, strings);
  throw ctx.error(`the input is of type ${dtype}, expected string or int64`);
}

const numeric = (entries: readonly Entry[]): boolean => entries.every((entry) => typeof entry !== 'string');

/** Lowers a table between numbers. */
function lowerNumbers(ctx: LowerContext, { output, entries, fallback }: Table): string | undefined {
  const pairs = [...entries];
  if (output === 'string' || !numeric(pairs.map(([key]) => key))) return 'it handles strings';
  return lowerTable(ctx, () => {
    const keys = pairs.filter(([key]) => !Number.isNaN(key)).sort(([a], [b]) => (a < b ? -1 : 1));
    const nan = pairs.find(([key]) => Number.isNaN(key));
    const values = [...keys.map(([, value]) => value), fallback, ...(nan ? [nan[1]] : [])];
    const wide = ctx.dtype(0) === 'int64';
    return {
      keys: wide
        ? fromBigInts(
            'int64',
            [keys.length],
            keys.map(([key]) => BigInt(key)),
          )
        : fromNumbers(
            isWhole(ctx.dtype(0)) ? 'int64' : 'float64',
            [keys.length],
            keys.map(([key]) => Number(key)),
          ),
      values: isBig(output)
        ? fromBigInts(output, [values.length], values.map(BigInt))
        : fromNumbers(output, [values.length], values.map(Number)),
      nan: nan ? keys.length + 1 : keys.length,
    };
  });
}

type TableOf = (ctx: NodeReader, dtype: DType) => Table;

function map(ctx: ReferenceContext, tableFor: TableOf): HostTensor {
  const x = ctx.tensor(0);
  const { output, find } = tableFor(ctx, x.dtype);
  const out = entriesOf(x).map(find);
  if (output === 'string') return tensor(output, x.dims, out as string[]);
  if (output === 'int64') return tensor(output, x.dims, BigInt64Array.from(out as bigint[]));
  return fromNumbers(output, x.dims, out as number[]);
}

function mapper(name: string, since: number[], tableFor: TableOf, attributes: OpDefinition['attributes']) {
  return defineOp({
    name,
    domain: 'ai.onnx.ml',
    since,
    inputs: [1, 1],
    outputs: [1, 1],
    attributes,
    infer: (ctx: InferContext) => [tensorType(tableFor(ctx, ctx.dtype(0)).output, ctx.shape(0))],
    reference: (ctx) => [map(ctx, tableFor)],
    lower: (ctx) => lowerNumbers(ctx, tableFor(ctx, ctx.dtype(0))),
    keepsRows: (_, { ranks }) => ranks[0] > 0,
  });
}

export const labelEncoderOps: readonly OpDefinition[] = [
  mapper('LabelEncoder', [1, 2, 4], labelTable, {
    classes_strings: 'strings',
    default_float: 'float',
    default_int64: 'int',
    default_string: 'string',
    default_tensor: 'tensor',
    keys_floats: 'floats',
    keys_int64s: 'ints',
    keys_strings: 'strings',
    keys_tensor: 'tensor',
    values_floats: 'floats',
    values_int64s: 'ints',
    values_strings: 'strings',
    values_tensor: 'tensor',
  }),
  mapper(
    'CategoryMapper',
    [1],
    (ctx, dtype) => pairTable(ctx, dtype, ctx.strings('cats_strings'), ctx.ints('cats_int64s').map(BigInt)),
    { cats_int64s: 'ints', cats_strings: 'strings', default_int64: 'int', default_string: 'string' },
  ),
];

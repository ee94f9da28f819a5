/** Cast, CastLike, BitCast. */

import {
  type DType,
  dtypeFromOnnx,
  dtypeInfo,
  isBig,
  isDType,
  isFloat,
  type NumericStorage,
  type Storage,
} from '../ir/dtype.ts';
import { floatEncoder, numberToFloat8e8m0, type RoundMode } from '../ir/float.ts';
import { tensorType } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { allocate, fromBigInts, fromNumbers, type HostTensor, mapInto, tensor, toBigInts } from '../ir/tensor.ts';
import { floatText, parseFloatText, parseIntegerText } from './cast-strings.ts';
import { bigOf, numbersOf, truncated } from './elements.ts';
import { lowerCast } from './lower-elementwise.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** Names of types in version 1, where "to" is a string, that differ from ours. */
const oldNames: Readonly<Record<string, DType>> = { float: 'float32', double: 'float64' };

/** The type that the attribute "to" names. */
function targetOf(ctx: NodeReader): DType {
  if (ctx.version < 6) {
    const name = ctx.string('to').toLowerCase();
    const dtype = Object.hasOwn(oldNames, name) ? oldNames[name] : name;
    if (!isDType(dtype)) throw ctx.error(`"to" is "${name}", which is no element type`);
    return dtype;
  }
  const number = ctx.int('to');
  const dtype = dtypeFromOnnx(number);
  if (!dtype) throw ctx.error(`"to" is ${number}, which is no element type`);
  return dtype;
}

/** How float8 and float8e8m0 are reached. */
interface Rounding {
  readonly saturate: boolean;
  readonly mode: RoundMode;
}

const roundModes: readonly string[] = ['up', 'down', 'nearest'];

function roundingOf(ctx: NodeReader): Rounding {
  const mode = ctx.string('round_mode', 'up');
  if (!roundModes.includes(mode)) throw ctx.error(`round_mode is "${mode}", expected "up", "down" or "nearest"`);
  return { saturate: ctx.int('saturate', 1) !== 0, mode: mode as RoundMode };
}

/** The nearest float32 of a 64-bit integer, rounded once: through a double whose last bit is sticky. */
function bigToFloat32(x: bigint): number {
  const magnitude = x < 0n ? -x : x;
  if (magnitude < 2n ** 53n) return Number(x);
  const sticky = (magnitude >> 11n) | (magnitude & 2047n ? 1n : 0n);
  return Math.fround(Number(sticky) * 2048) * (x < 0n ? -1 : 1);
}

function numbersTo(x: ArrayLike<number>, dims: readonly number[], dtype: DType, rounding: Rounding): HostTensor {
  const { bits, kind } = dtypeInfo(dtype);
  const count = sizeOf(dims);
  if (isBig(dtype)) {
    const out = allocate(dtype, count) as BigInt64Array;
    for (let i = 0; i < count; i++) out[i] = bigOf(x[i], dtype);
    return tensor(dtype, dims, out);
  }
  if (kind === 'bool')
    return fromNumbers(
      dtype,
      dims,
      mapInto(new Uint8Array(count), x, (v) => Number(v !== 0)),
    );
  if (kind === 'int' || kind === 'uint')
    return fromNumbers(
      dtype,
      dims,
      mapInto(new Float64Array(count), x, (v) => truncated(dtype, v)),
    );
  if (dtype === 'float8e8m0') {
    return tensor(
      dtype,
      dims,
      mapInto(new Uint8Array(count), x, (v) => numberToFloat8e8m0(v, rounding.mode, rounding.saturate)),
    );
  }
  const encode = bits === 8 ? floatEncoder(dtype, rounding.saturate) : undefined;
  return encode ? tensor(dtype, dims, mapInto(new Uint8Array(count), x, encode)) : fromNumbers(dtype, dims, x);
}

function stringsTo(ctx: NodeReader, t: HostTensor, dtype: DType, rounding: Rounding): HostTensor {
  const texts = t.data as string[];
  const parsed = <T>(parse: (text: string) => T | undefined): T[] =>
    texts.map((text) => {
      const value = parse(text);
      if (value === undefined) throw ctx.error(`the text "${text.slice(0, 40)}" is no number of type ${dtype}`);
      return value;
    });
  if (isFloat(dtype)) return numbersTo(parsed(parseFloatText), t.dims, dtype, rounding);
  const values = parsed(parseIntegerText);
  return fromBigInts(dtype, t.dims, dtype === 'bool' ? values.map((v) => (v === 0n ? 0n : 1n)) : values);
}

function toStrings(t: HostTensor): HostTensor {
  const float = isFloat(t.dtype);
  const texts = float
    ? Array.from(numbersOf(t), (v) => floatText(t.dtype, v))
    : Array.from(isBig(t.dtype) ? toBigInts(t) : numbersOf(t), String);
  return tensor('string', t.dims, texts);
}

/** Converts the elements by value. */
export function castTensor(ctx: NodeReader, t: HostTensor, dtype: DType, rounding: Rounding): HostTensor {
  if (t.dtype === dtype) return t;
  const kinds = [dtypeInfo(t.dtype).kind, dtypeInfo(dtype).kind];
  if (kinds.includes('complex')) throw ctx.error(`cannot cast ${t.dtype} to ${dtype}`);
  if (t.dtype === 'string') return stringsTo(ctx, t, dtype, rounding);
  if (dtype === 'string') return toStrings(t);
  if (!isBig(t.dtype)) return numbersTo(numbersOf(t), t.dims, dtype, rounding);
  const values = toBigInts(t);
  const count = values.length;
  if (dtype === 'bool')
    return fromNumbers(
      dtype,
      t.dims,
      mapInto(new Uint8Array(count), values as bigint[], (v) => Number(v !== 0n)),
    );
  if (kinds[1] !== 'float') return fromBigInts(dtype, t.dims, values);
  return numbersTo(
    mapInto(new Float64Array(count), values as bigint[], dtype === 'float64' ? Number : bigToFloat32),
    t.dims,
    dtype,
    rounding,
  );
}

/** The same bits as another type of the same width. */
function bitCast(ctx: ReferenceContext): HostTensor {
  const t = ctx.tensor(0);
  const dtype = bitCastTarget(ctx, t.dtype);
  const from = t.data as NumericStorage;
  const bytes = new Uint8Array(from.buffer, from.byteOffset, from.byteLength).slice();
  const { storage } = dtypeInfo(dtype);
  if (!storage) throw ctx.error('strings have no bits to cast');
  const data: Storage = new storage(bytes.buffer, 0, bytes.length / storage.BYTES_PER_ELEMENT);
  return tensor(dtype, t.dims, data);
}

function bitCastTarget(ctx: NodeReader, from: DType): DType {
  const to = targetOf(ctx);
  const bits = [dtypeInfo(from).bits, dtypeInfo(to).bits];
  if (bits[0] === 0 || bits[0] !== bits[1]) {
    throw ctx.error(`cannot take the bits of ${from} (${bits[0]} each) for ${to} (${bits[1]} each)`);
  }
  return to;
}

const versions = [19, 21, 23, 24, 25];

const inferCast = (dtype: DType, ctx: InferContext) => [tensorType(dtype, ctx.shape(0))];

export const castOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Cast',
    since: [1, 6, 9, 13, ...versions, 28],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { to: ['int', 'string'], saturate: 'int', round_mode: 'string' },
    traits: ['elementwise'],
    infer: (ctx) => inferCast(targetOf(ctx), ctx),
    affine: () => true,
    reference: (ctx) => [castTensor(ctx, ctx.tensor(0), targetOf(ctx), roundingOf(ctx))],
    lower: lowerCast,
  }),
  defineOp({
    name: 'CastLike',
    since: [15, ...versions],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { saturate: 'int', round_mode: 'string' },
    infer: (ctx) => inferCast(ctx.dtype(1), ctx),
    keepsRows: (_, { shared }) => !shared[0],
    reference: (ctx) => [castTensor(ctx, ctx.tensor(0), ctx.tensor(1).dtype, roundingOf(ctx))],
    lower: lowerCast,
  }),
  defineOp({
    name: 'BitCast',
    since: [26],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { to: 'int' },
    traits: ['elementwise'],
    infer: (ctx) => inferCast(bitCastTarget(ctx, ctx.dtype(0)), ctx),
    reference: (ctx) => [bitCast(ctx)],
    lower: (ctx) => ctx.alias(0, 0) as undefined,
  }),
];

/** Tensors out of attributes, shapes and ranges: Constant, ConstantOfShape, EyeLike, Range. */

import { type DType, dtypeFromOnnx, dtypeInfo, isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { type Dim, MAX_ELEMENTS, shapeText, sizeOf } from '../ir/shape.ts';
import {
  allocate,
  fromBigInts,
  fromNumbers,
  type HostTensor,
  packed,
  tensor,
  toBigInts,
  toNumbers,
  unpacked,
} from '../ir/tensor.ts';
import { unknownDims, vectorLength } from './axes.ts';
import { expectSame, numberKinds } from './elements.ts';
import type { LowerContext } from './lower.ts';
import { noKernel, wholeBytes } from './lower-elementwise.ts';
import { fillStep } from './lower-movement.ts';
import { allocateEntries, entryWidth } from './movement.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** A 64-bit integer of an attribute: numbers near 2^63 stand for the greatest one. */
const int64Of = (v: number): bigint => (v >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(v));

const vector = (dtype: DType, values: readonly number[]): HostTensor => fromNumbers(dtype, [values.length], values);

const integers = (dims: readonly number[], values: readonly number[]): HostTensor =>
  tensor('int64', dims, BigInt64Array.from(values, int64Of));

/** Every form in which Constant gives its value. */
const forms: Readonly<Record<string, (ctx: NodeReader) => HostTensor>> = {
  value: (ctx) => ctx.tensorAttribute('value') as HostTensor,
  sparse_value: (ctx) => ctx.tensorAttribute('sparse_value') as HostTensor,
  value_float: (ctx) => fromNumbers('float32', [], [ctx.float('value_float')]),
  value_floats: (ctx) => vector('float32', ctx.floats('value_floats')),
  value_int: (ctx) => integers([], [ctx.int('value_int')]),
  value_ints: (ctx) => integers([ctx.ints('value_ints').length], ctx.ints('value_ints')),
  value_string: (ctx) => tensor('string', [], [ctx.string('value_string')]),
  value_strings: (ctx) => tensor('string', [ctx.strings('value_strings').length], [...ctx.strings('value_strings')]),
};

/** The tensor that a Constant node stands for. */
function constantOf(ctx: NodeReader): HostTensor {
  const given = Object.keys(forms).filter((name) => ctx.hasAttribute(name));
  if (given.length !== 1) {
    throw ctx.error(`${given.length} attributes give a value (${given.join(', ')}), expected exactly one`);
  }
  return forms[given[0]](ctx);
}

/** The element that fills ConstantOfShape's output. */
function filling(ctx: NodeReader): HostTensor {
  const value = ctx.tensorAttribute('value') ?? fromNumbers('float32', [1], [0]);
  if (sizeOf(value.dims) !== 1) throw ctx.error(`value has ${sizeOf(value.dims)} elements, expected one`);
  return value;
}

function checkedDims(ctx: NodeReader, dims: readonly number[]): readonly number[] {
  if (dims.some((dim) => dim < 0)) throw ctx.error(`the shape ${shapeText(dims)} has a negative size`);
  return dims;
}

function constantOfShape(ctx: ReferenceContext): HostTensor {
  const value = filling(ctx);
  const dims = checkedDims(ctx, ctx.integers(0));
  const from = unpacked(value);
  const out = allocateEntries(value.dtype, sizeOf(dims));
  if (entryWidth(value.dtype) === 1) (out as Float32Array).fill((from as Float32Array)[0]);
  else for (let i = 0; i < out.length; i++) (out as Float32Array)[i] = (from as Float32Array)[i % 2];
  return packed(value.dtype, dims, out);
}

function eyeType(ctx: NodeReader, input: DType): DType {
  if (!ctx.hasAttribute('dtype')) return input;
  const dtype = dtypeFromOnnx(ctx.int('dtype'));
  if (!dtype || ['string', 'complex'].includes(dtypeInfo(dtype).kind)) {
    throw ctx.error(`dtype ${ctx.int('dtype')} is no type of numbers`);
  }
  return dtype;
}

function eyeLike(ctx: ReferenceContext): HostTensor {
  const { dtype, dims } = ctx.tensor(0);
  if (dims.length !== 2) throw ctx.error(`the input is ${shapeText(dims)}, expected a matrix`);
  const k = ctx.int('k', 0);
  const out = allocate('float64', sizeOf(dims)) as Float64Array;
  for (let row = Math.max(0, -k); row < dims[0] && row + k < dims[1]; row++) out[row * dims[1] + row + k] = 1;
  return fromNumbers(eyeType(ctx, dtype), dims, out);
}

/** Number of elements of a range; throws for a step of 0 and for more than a tensor can hold. */
function rangeCount(ctx: NodeReader, start: number, limit: number, delta: number): number {
  const count = Math.max(Math.ceil((limit - start) / delta), 0);
  if (delta === 0 || !(count <= MAX_ELEMENTS)) {
    throw ctx.error(`a range from ${start} to ${limit} by ${delta} has no end`);
  }
  return count;
}

function bigRange(ctx: NodeReader, dtype: DType, [start, limit, delta]: readonly bigint[]): HostTensor {
  if (delta === 0n) throw ctx.error(`a range from ${start} to ${limit} by 0 has no end`);
  const span = limit - start;
  const whole = span / delta + (span % delta !== 0n && span > 0n === delta > 0n ? 1n : 0n);
  const count = Number(whole < 0n ? 0n : whole);
  const out = allocate('int64', count) as BigInt64Array;
  for (let i = 0; i < count; i++) out[i] = start + BigInt(i) * delta;
  return fromBigInts(dtype, [count], out);
}

function rangeOf(ctx: NodeReader, inputs: readonly HostTensor[]): HostTensor {
  const { dtype } = inputs[0];
  if (inputs.some((t) => sizeOf(t.dims) !== 1)) throw ctx.error('start, limit and delta must be scalars');
  if (isBig(dtype)) {
    return bigRange(
      ctx,
      dtype,
      inputs.map((t) => toBigInts(t)[0]),
    );
  }
  const [start, limit, delta] = inputs.map((t) => toNumbers(t)[0]);
  const out = allocate('float64', rangeCount(ctx, start, limit, delta)) as Float64Array;
  for (let i = 0; i < out.length; i++) out[i] = start + i * delta;
  return fromNumbers(dtype, [out.length], out);
}

/** Input `i` of a range whose count is known. */
function endOf(ctx: LowerContext, i: number): HostTensor | undefined {
  const integers = ctx.constant(i) ? undefined : ctx.integers(i);
  return integers ? fromNumbers(ctx.dtype(i), [1], integers) : ctx.constant(i);
}

function lowerRange(ctx: LowerContext): string | undefined {
  const ends = [0, 1, 2].map((i) => endOf(ctx, i));
  const bytes = sizeOf(ctx.outputDims(0)) * wholeBytes(ctx.outputDtype(0));
  if (!ends.every((end) => end !== undefined)) return 'ends that are not known';
  if (bytes === 0) return 'an empty range';
  const numbers = ctx.literal(ends.map(({ data }) => data[0]).join(), () => rangeOf(ctx, ends));
  ctx.step('copy.bytes', [numbers, ctx.output(0)], { bytes });
  return undefined;
}

function inferRange(ctx: InferContext): Dim[] {
  const inputs = [ctx.constant(0), ctx.constant(1), ctx.constant(2)];
  if (inputs.some((t) => !t || sizeOf(t.dims) !== 1)) return [null];
  const [start, limit, delta] = inputs.map((t) => toNumbers(t as HostTensor)[0]);
  return [rangeCount(ctx, start, limit, delta)];
}

const versions = [21, 23, 24, 25];

export const constantOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Constant',
    since: [1, 9, 11, 12, 13, 19, ...versions],
    inputs: [0, 0],
    outputs: [1, 1],
    attributes: {
      value: 'tensor',
      sparse_value: 'tensor',
      value_float: 'float',
      value_floats: 'floats',
      value_int: 'int',
      value_ints: 'ints',
      value_string: 'string',
      value_strings: 'strings',
    },
    infer: (ctx) => {
      const { dtype, dims } = constantOf(ctx);
      return [tensorType(dtype, dims)];
    },
    reference: (ctx) => [constantOf(ctx)],
  }),
  defineOp({
    name: 'ConstantOfShape',
    since: [9, 20, ...versions],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { value: 'tensor' },
    infer: (ctx) => {
      const { dtype } = filling(ctx);
      const dims = ctx.integers(0);
      if (dims) return [tensorType(dtype, checkedDims(ctx, dims))];
      const entries = ctx.entries(0);
      if (entries) return [tensorType(dtype, entries)];
      const rank = vectorLength(ctx.shape(0));
      return [tensorType(dtype, rank === undefined ? undefined : unknownDims(rank))];
    },
    sizeInputs: [0],
    keepsRows: () => true,
    affine: () => true,
    reference: (ctx) => [constantOfShape(ctx)],
    lower: (ctx) => {
      const value = filling(ctx);
      if (wholeBytes(value.dtype) === 0) return noKernel(value.dtype);
      fillStep(ctx, ctx.output(0), value);
      return undefined;
    },
  }),
  defineOp({
    name: 'EyeLike',
    since: [9, 22],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { dtype: 'int', k: 'int' },
    traits: ['metadata'],
    infer: (ctx) => [tensorType(eyeType(ctx, ctx.dtype(0)), ctx.shape(0) ?? [null, null])],
    reference: (ctx) => [eyeLike(ctx)],
  }),
  defineOp({
    name: 'Range',
    since: [11, 27],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: { stash_type: 'int' },
    infer: (ctx) => [tensorType(expectSame(ctx, 3, numberKinds), inferRange(ctx))],
    numbersRows: (_, { shared, numbers }) => numbers(0) !== undefined && shared[1] && numbers(2)?.[0] === 1,
    reference: (ctx) => [rangeOf(ctx, [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)])],
    lower: lowerRange,
  }),
];

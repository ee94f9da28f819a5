/** Reductions over axes. */

import { type DType, dtypeInfo, isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { type Dim, type Shape, sizeOf, stridesOf } from '../ir/shape.ts';
import { allocate, type HostTensor, reshaped, toBigInts } from '../ir/tensor.ts';
import { inferIntegers, normalizeAxes, readIntegers, unknownDims } from './axes.ts';
import { forEachRow } from './broadcast.ts';
import { bigSink, expectKind, isInteger, numberKinds, numberSink, numbersOf } from './elements.ts';
import { axesOf, firstAlone, spareRows } from './keeps-rows.ts';
import { lowerReduce, type ReduceName } from './lower-reduce.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition } from './op.ts';

/** Sorted axes to reduce; all of them where none are given, unless the node says that means none. */
function reducedAxes(ctx: NodeReader, rank: number, axes: readonly number[] | undefined): number[] {
  if (axes && axes.length > 0) return normalizeAxes(ctx, axes, rank).sort((a, b) => a - b);
  if (ctx.int('noop_with_empty_axes', 0) !== 0) return [];
  return Array.from({ length: rank }, (_, i) => i);
}

/** The shape after reducing `axes`. */
export function reducedDims<T extends Dim>(shape: readonly T[], axes: readonly number[], keep: boolean): (T | 1)[] {
  const gone = new Set(axes);
  if (keep) return shape.map((dim, i) => (gone.has(i) ? 1 : dim));
  return shape.filter((_, i) => !gone.has(i));
}

function inferReduce(ctx: InferContext, since: number): Shape | undefined {
  const shape = ctx.shape(0);
  const keep = ctx.int('keepdims', 1) !== 0;
  const axes = inferIntegers(ctx, 'axes', 1, since);
  if (!shape) return undefined;
  if (axes === null) return keep ? unknownDims(shape.length) : undefined;
  return reducedDims(shape, reducedAxes(ctx, shape.length, axes), keep);
}

/**
 * Walks the input of a reduction: row by row, with the place of each element in the result. `step` is 0 where a row
 * goes into one result.
 */
export function forEachReduced(
  dims: readonly number[],
  axes: readonly number[],
  visit: (from: number, count: number, into: number, step: number) => void,
): void {
  const kept = stridesOf(reducedDims(dims, axes, true));
  for (const axis of axes) kept[axis] = 0;
  forEachRow(dims, [kept], (at, count, [into], [step]) => visit(at, count, into, step));
}

/** A fold over elements in double: start value, step, and what becomes of the result of `count` elements. */
interface NumberFold {
  readonly start: (dtype: DType) => number;
  readonly step: (held: number, x: number) => number;
  readonly last?: (held: number, count: number) => number;
}

/** The same, exact on integers. */
interface BigFold {
  readonly start: (dtype: DType) => bigint;
  readonly step: (held: bigint, x: bigint) => bigint;
  readonly last?: (held: bigint, count: bigint) => bigint;
  /** True where 32-bit integers too leave what doubles hold exactly. */
  readonly wide?: boolean;
}

const add = (held: number, x: number): number => held + x;
const addSquare = (held: number, x: number): number => held + x * x;
const bigAdd = (held: bigint, x: bigint): bigint => held + x;
const constant =
  <T>(value: T) =>
  (): T =>
    value;

/** The least (sign 1) or greatest (sign -1) value of a type: what a maximum or minimum starts from. */
function extreme(dtype: DType, sign: 1 | -1): number {
  const { kind, bits } = dtypeInfo(dtype);
  if (kind === 'float') return sign * Number.NEGATIVE_INFINITY;
  if (kind === 'bool') return sign > 0 ? 0 : 1;
  if (kind === 'uint') return sign > 0 ? 0 : 2 ** bits - 1;
  return sign > 0 ? -(2 ** (bits - 1)) : 2 ** (bits - 1) - 1;
}

function bigExtreme(dtype: DType, sign: 1 | -1): bigint {
  if (dtype === 'uint64') return sign > 0 ? 0n : 2n ** 64n - 1n;
  return sign > 0 ? -(2n ** 63n) : 2n ** 63n - 1n;
}

const bigMaximum = (held: bigint, x: bigint): bigint => {
  if (x > held) return x;
  return held;
};

const bigMinimum = (held: bigint, x: bigint): bigint => {
  if (x < held) return x;
  return held;
};

function foldNumbers(x: HostTensor, axes: readonly number[], dims: readonly number[], f: NumberFold): HostTensor {
  const values = numbersOf(x);
  const held = (allocate('float64', sizeOf(dims)) as Float64Array).fill(f.start(x.dtype));
  const { step: fold } = f;
  forEachReduced(x.dims, axes, (from, count, into, step) => {
    if (step !== 0) {
      for (let i = 0; i < count; i++) held[into + i * step] = fold(held[into + i * step], values[from + i]);
      return;
    }
    let sum = held[into];
    for (let i = 0; i < count; i++) sum = fold(sum, values[from + i]);
    held[into] = sum;
  });
  const count = sizeOf(axes.map((axis) => x.dims[axis]));
  const sink = numberSink(x.dtype, dims);
  for (let i = 0; i < held.length; i++) sink.values[i] = f.last ? f.last(held[i], count) : held[i];
  return sink.finish();
}

function foldBig(x: HostTensor, axes: readonly number[], dims: readonly number[], f: BigFold): HostTensor {
  const values = toBigInts(x);
  const sink = bigSink(x.dtype, dims);
  const held = sink.values.fill(f.start(x.dtype));
  forEachReduced(x.dims, axes, (from, count, into, step) => {
    for (let i = 0; i < count; i++) held[into + i * step] = f.step(held[into + i * step], values[from + i]);
  });
  const count = BigInt(sizeOf(axes.map((axis) => x.dims[axis])));
  const { last } = f;
  for (let i = 0; last && i < held.length; i++) held[i] = last(held[i], count);
  return sink.finish();
}

/** log(sum(exp(x))), with the maximum taken out so that nothing overflows. */
function logSumExp(x: HostTensor, axes: readonly number[], dims: readonly number[]): HostTensor {
  const values = numbersOf(x);
  const top = (allocate('float64', sizeOf(dims)) as Float64Array).fill(Number.NEGATIVE_INFINITY);
  const sums = new Float64Array(top.length);
  forEachReduced(x.dims, axes, (from, count, into, step) => {
    for (let i = 0; i < count; i++) top[into + i * step] = Math.max(top[into + i * step], values[from + i]);
  });
  const shift = top.map((v) => (Number.isFinite(v) ? v : 0));
  forEachReduced(x.dims, axes, (from, count, into, step) => {
    for (let i = 0; i < count; i++) sums[into + i * step] += Math.exp(values[from + i] - shift[into + i * step]);
  });
  const sink = numberSink(x.dtype, dims);
  for (let i = 0; i < sums.length; i++) sink.values[i] = Math.log(sums[i]) + shift[i];
  return sink.finish();
}

type Compute = (x: HostTensor, axes: readonly number[], dims: readonly number[]) => HostTensor;

function fold(number: NumberFold, big?: BigFold): Compute {
  return (x, axes, dims) => {
    const exact = big && isInteger(x.dtype) && (isBig(x.dtype) || (big.wide && dtypeInfo(x.dtype).bits === 32));
    return exact ? foldBig(x, axes, dims, big) : foldNumbers(x, axes, dims, number);
  };
}

function reduction(name: `Reduce${ReduceName}`, since: readonly number[], compute: Compute): OpDefinition {
  const axesInput = name === 'ReduceSum' ? 13 : 18;
  const bool = name === 'ReduceMax' || name === 'ReduceMin';
  return defineOp({
    name,
    since,
    inputs: [1, 2],
    outputs: [1, 1],
    attributes: { axes: 'ints', keepdims: 'int', noop_with_empty_axes: 'int' },
    traits: ['reduction'],
    infer: (ctx) => [
      tensorType(expectKind(ctx, 0, bool ? [...numberKinds, 'bool'] : numberKinds), inferReduce(ctx, axesInput)),
    ],
    keepsRows: (node, inputs) => {
      const axes = axesOf(node, inputs, ['axes', 1, axesInput]);
      return firstAlone(inputs) && (axes?.length ?? 0) > 0 && spareRows(axes, inputs.ranks[0]);
    },
    reference: (ctx) => {
      const x = ctx.tensor(0);
      const axes = reducedAxes(ctx, x.dims.length, readIntegers(ctx, 'axes', 1, axesInput));
      const result = compute(x, axes, reducedDims(x.dims, axes, true));
      return [reshaped(result, reducedDims(x.dims, axes, ctx.int('keepdims', 1) !== 0))];
    },
    lower: (ctx) => {
      const axes = inferIntegers(ctx, 'axes', 1, axesInput);
      if (axes === null) return 'axes that are not known';
      return lowerReduce(ctx, name.slice('Reduce'.length) as ReduceName, reducedAxes(ctx, ctx.dims(0).length, axes));
    },
  });
}

const versions = [1, 11, 13, 18];

export const reduceOps: readonly OpDefinition[] = [
  reduction('ReduceSum', [1, 11, 13], fold({ start: constant(0), step: add }, { start: constant(0n), step: bigAdd })),
  reduction(
    'ReduceMean',
    versions,
    fold(
      { start: constant(0), step: add, last: (held, count) => held / count },
      { start: constant(0n), step: bigAdd, last: (held, count) => (count === 0n ? 0n : held / count) },
    ),
  ),
  reduction(
    'ReduceProd',
    versions,
    fold(
      { start: constant(1), step: (held, x) => held * x },
      { start: constant(1n), step: (held, x) => held * x, wide: true },
    ),
  ),
  reduction(
    'ReduceL1',
    versions,
    fold(
      { start: constant(0), step: (held, x) => held + Math.abs(x) },
      { start: constant(0n), step: (held, x) => (x < 0n ? held - x : held + x) },
    ),
  ),
  reduction('ReduceL2', versions, fold({ start: constant(0), step: addSquare, last: Math.sqrt })),
  reduction(
    'ReduceSumSquare',
    versions,
    fold({ start: constant(0), step: addSquare }, { start: constant(0n), step: (held, x) => held + x * x, wide: true }),
  ),
  reduction('ReduceLogSum', [...versions, 28], fold({ start: constant(0), step: add, last: Math.log })),
  reduction('ReduceLogSumExp', [...versions, 28], logSumExp),
  reduction(
    'ReduceMax',
    [1, 11, 12, 13, 18, 20],
    fold(
      { start: (dtype) => extreme(dtype, 1), step: Math.max },
      { start: (dtype) => bigExtreme(dtype, 1), step: bigMaximum },
    ),
  ),
  reduction(
    'ReduceMin',
    [1, 11, 12, 13, 18, 20],
    fold(
      { start: (dtype) => extreme(dtype, -1), step: Math.min },
      { start: (dtype) => bigExtreme(dtype, -1), step: bigMinimum },
    ),
  ),
];

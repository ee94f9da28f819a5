/** Native lowering of reductions, softmax and positions of extremes. */

import { sizeOf, stridesOf } from '../ir/shape.ts';
import type { LowerContext } from './lower.ts';
import { kernelFor, MAX_RANK, noKernel } from './lower-elementwise.ts';
import { floatInput, intoFloatOutput, servedByFloat32 } from './lower-floats.ts';
import { lowerGlobalPool } from './pool-lower.ts';

/** Numbers of the reductions, as native/kernels/reduce.cc has them; those from L1 on are float32's alone. */
export const reduceCodes = {
  Sum: 0,
  Mean: 1,
  Max: 2,
  Min: 3,
  Prod: 4,
  L1: 5,
  L2: 6,
  SumSquare: 7,
  LogSum: 8,
  LogSumExp: 9,
} as const;

export type ReduceName = keyof typeof reduceCodes;

interface Walk {
  readonly dims: number[];
  readonly strides: number[];
}

/** Kept and reduced dimensions of a dense tensor, neighbours of one kind merged. */
function splitAxes(dims: readonly number[], axes: readonly number[]): { kept: Walk; reduced: Walk } {
  const strides = stridesOf(dims);
  const kept: Walk = { dims: [], strides: [] };
  const reduced: Walk = { dims: [], strides: [] };
  let last: Walk | undefined;
  dims.forEach((dim, axis) => {
    if (dim === 1) return;
    const walk = axes.includes(axis) ? reduced : kept;
    if (walk === last) {
      walk.dims[walk.dims.length - 1] *= dim;
      walk.strides[walk.strides.length - 1] = strides[axis];
    } else {
      walk.dims.push(dim);
      walk.strides.push(strides[axis]);
    }
    last = walk;
  });
  return { kept, reduced };
}

/** Emits a mean or maximum over all positions of a map where it lies in segments; false for other reductions. */
function reduceSegments(ctx: LowerContext, name: ReduceName, axes: readonly number[]): boolean {
  const dims = ctx.dims(0);
  const all = axes.length === dims.length - 2 && axes.every((axis, i) => axis === i + 2);
  if (!all || axes.length === 0 || (name !== 'Mean' && name !== 'Max')) return false;
  if (ctx.dtype(0) !== 'float32' || sizeOf(dims) === 0 || ctx.segmentsOf(0)?.axis !== 'planes') return false;
  return lowerGlobalPool(ctx, name === 'Mean' ? 'average' : 'maximum') === undefined;
}

/** Lowers a reduction of input 0 over sorted, non-negative axes. */
export function lowerReduce(ctx: LowerContext, name: ReduceName, axes: readonly number[]): string | undefined {
  const dtype = ctx.dtype(0);
  const op = reduceCodes[name];
  if (reduceSegments(ctx, name, axes)) return undefined;
  const float = servedByFloat32(dtype);
  const kernel = float ? 'reduce.f32' : op <= reduceCodes.Prod ? kernelFor(ctx, 'reduce', dtype) : undefined;
  if (!kernel) return noKernel(dtype);
  const { kept, reduced } = splitAxes(ctx.dims(0), axes);
  if (Math.max(kept.dims.length, 1) + Math.max(reduced.dims.length, 1) > MAX_RANK) return 'too many axes alternate';
  if (!float && sizeOf(reduced.dims) === 0) return 'an empty reduction';
  const params = {
    op,
    kept: kept.dims,
    kept_strides: kept.strides,
    reduced: reduced.dims,
    reduced_strides: reduced.strides,
  };
  if (float) {
    const x = floatInput(ctx, 0);
    intoFloatOutput(ctx, 0, (y) => ctx.step(kernel, [x, y], params));
  } else {
    ctx.step(kernel, [ctx.input(0), ctx.output(0)], params);
  }
  return undefined;
}

/** Lowers softmax, or its logarithm, over lines of `count` elements that are `stride` apart. */
export function lowerSoftmax(ctx: LowerContext, log: boolean, count: number, stride: number): string | undefined {
  if (!servedByFloat32(ctx.dtype(0))) return noKernel(ctx.dtype(0));
  const total = sizeOf(ctx.dims(0));
  const outer = total === 0 ? 0 : total / (count * stride);
  const x = floatInput(ctx, 0);
  intoFloatOutput(ctx, 0, (y) => ctx.step('softmax.f32', [x, y], { log, outer, axis: count, inner: stride }));
  return undefined;
}

/** Lowers ArgMax and ArgMin along a non-negative axis. */
export function lowerArg(ctx: LowerContext, least: boolean, last: boolean, axis: number): string | undefined {
  const dtype = ctx.dtype(0);
  const float = servedByFloat32(dtype);
  const kernel = float ? 'arg.f32' : kernelFor(ctx, 'arg', dtype);
  if (!kernel) return noKernel(dtype);
  const dims = ctx.dims(0);
  if (dims[axis] === 0) return 'an empty axis';
  const x = float ? floatInput(ctx, 0) : ctx.input(0);
  const [outer, inner] = [sizeOf(dims.slice(0, axis)), sizeOf(dims.slice(axis + 1))];
  ctx.step(kernel, [x, ctx.output(0)], { least, last, outer, axis: dims[axis], inner });
  return undefined;
}

/** Native lowering of operators that move elements: strided copies, fills, gathers. */

import { dtypeInfo, type NumericStorage } from '../ir/dtype.ts';
import { sizeBetween, sizeOf, stridesOf } from '../ir/shape.ts';
import { type HostTensor, tensor, zeros } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { MAX_RANK, noKernel, wholeBytes } from './lower-elementwise.ts';

/** A walk over `dims` that copies x's element at one place to y's at another; strides and offsets in elements. */
export interface StridedMove {
  readonly dims: readonly number[];
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly xOffset?: number;
  readonly yOffset?: number;
}

interface Axis {
  readonly dim: number;
  readonly x: number;
  readonly y: number;
}

/** The walk in the order in which y lies, neighbouring axes merged, axes of size 1 dropped. */
function canonicalAxes(move: StridedMove): Axis[] {
  const axes = move.dims
    .map((dim, i): Axis => ({ dim, x: move.x[i], y: move.y[i] }))
    .filter(({ dim }) => dim !== 1)
    .sort((a, b) => Math.abs(b.y) - Math.abs(a.y));
  const merged: Axis[] = [];
  for (const axis of axes) {
    const last = merged.at(-1);
    if (last && last.x === axis.x * axis.dim && last.y === axis.y * axis.dim) {
      merged[merged.length - 1] = { ...axis, dim: axis.dim * last.dim };
    } else {
      merged.push(axis);
    }
  }
  return merged;
}

/** Why the types of input `i` cannot be moved natively. */
export function immovable(ctx: LowerContext, i = 0): string | undefined {
  return wholeBytes(ctx.dtype(i)) === 0 ? noKernel(ctx.dtype(i)) : undefined;
}

/** Why a walk has too many axes for the kernel, if so. */
export function tooManyAxes(moves: readonly StridedMove[]): string | undefined {
  const axes = Math.max(0, ...moves.map((move) => canonicalAxes(move).length));
  return axes > MAX_RANK ? `a copy over ${axes} axes` : undefined;
}

/** Emits the copy. */
export function moveStep(ctx: LowerContext, x: Operand, y: Operand, move: StridedMove): void {
  if (sizeOf(move.dims) === 0) return;
  const axes = canonicalAxes(move);
  ctx.step('strided.copy', [x, y], {
    width: wholeBytes(x.dtype),
    x_offset: move.xOffset ?? 0,
    y_offset: move.yOffset ?? 0,
    dims: axes.map((axis) => axis.dim),
    x_strides: axes.map((axis) => axis.x),
    y_strides: axes.map((axis) => axis.y),
  });
}

/** True where the copy leaves all bytes in their order, so that the result is the input under another shape. */
function isWhole(move: StridedMove, count: number): boolean {
  const axes = canonicalAxes(move);
  const [only] = axes;
  const dense = axes.length === 0 || (axes.length === 1 && only.x === 1 && only.y === 1);
  return dense && (move.xOffset ?? 0) === 0 && (move.yOffset ?? 0) === 0 && sizeOf(move.dims) === count;
}

/** Lowers an operator whose output is one strided reading of input 0. `dims` and `x` describe it in y's order. */
export function lowerMove(
  ctx: LowerContext,
  dims: readonly number[],
  x: readonly number[],
  xOffset = 0,
): string | undefined {
  const move = { dims, x, y: stridesOf(dims), xOffset };
  const reason = immovable(ctx) ?? tooManyAxes([move]);
  if (reason) return reason;
  if (isWhole(move, sizeOf(ctx.dims(0)))) ctx.alias(0, 0);
  else moveStep(ctx, ctx.input(0), ctx.output(0), move);
  return undefined;
}

/** The bytes of one element, for filling. */
export function elementBytes(t: HostTensor): readonly number[] {
  const data = t.data as NumericStorage;
  return [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
}

/** Emits a fill of all of y with one element. */
export function fillStep(ctx: LowerContext, y: Operand, element: HostTensor | undefined): void {
  const value = element ?? zeros(y.dtype, [1]);
  const bytes = sizeOf(y.dims) * wholeBytes(y.dtype);
  if (bytes > 0) ctx.step('fill.bytes', [y], { bytes, pattern: elementBytes(value) });
}

/** Bytes of an index of input `i`; undefined where its type is no kernel's. */
export function indexBytes(ctx: LowerContext, i: number): 4 | 8 | undefined {
  const dtype = ctx.dtype(i);
  return dtype === 'int32' ? 4 : dtype === 'int64' ? 8 : undefined;
}

/** Gathers x along `axis` by an index operand of `count` entries into y. */
export function gatherStep(
  ctx: LowerContext,
  [x, indices, y]: readonly [Operand, Operand, Operand],
  axis: number,
): void {
  ctx.step('gather', [x, indices, y], {
    outer: sizeBetween(x.dims, 0, axis),
    axis: x.dims[axis],
    count: sizeOf(indices.dims),
    slice: sizeBetween(x.dims, axis + 1, x.dims.length) * wholeBytes(x.dtype),
    index_bytes: dtypeInfo(indices.dtype).bits / 8,
  });
}

/** Maps of source indices, one an axis, -1 for the filling element: paddings and crops. */
export function lowerAxisMaps(
  ctx: LowerContext,
  maps: readonly Float64Array[],
  fill: HostTensor | undefined,
): string | undefined {
  const reason = immovable(ctx);
  if (reason) return reason;
  const dims = ctx.dims(0);
  const filled = maps.some((map) => map.includes(-1));
  // What is not filled is a run of the input in the case of constant padding.
  const runs = maps.map(runOf);
  if (runs.every((run) => run !== undefined)) {
    const spans = runs as readonly Run[];
    const [xs, ys] = [stridesOf(dims), stridesOf(ctx.outputDims(0))];
    const move = {
      dims: spans.map((run) => run.count),
      x: xs,
      y: ys,
      xOffset: spans.reduce((sum, run, i) => sum + run.from * xs[i], 0),
      yOffset: spans.reduce((sum, run, i) => sum + run.at * ys[i], 0),
    };
    const many = tooManyAxes([move]);
    if (many) return many;
    const y = ctx.output(0);
    if (filled) fillStep(ctx, y, fill);
    moveStep(ctx, ctx.input(0), y, move);
    return undefined;
  }
  if (filled) return 'a mixture of copies and filling';
  gatherAxes(ctx, maps);
  return undefined;
}

interface Run {
  readonly at: number;
  readonly from: number;
  readonly count: number;
}

/** The one ascending run of indices in a map that is otherwise -1, else undefined. */
function runOf(map: Float64Array): Run | undefined {
  const at = map.findIndex((from) => from >= 0);
  if (at < 0) return { at: 0, from: 0, count: 0 };
  let count = 0;
  while (at + count < map.length && map[at + count] === map[at] + count) count++;
  const rest = map.subarray(at + count);
  return rest.every((from) => from === -1) ? { at, from: map[at], count } : undefined;
}

/** One gather for every axis whose map changes it. */
function gatherAxes(ctx: LowerContext, maps: readonly Float64Array[]): void {
  const moving = maps.flatMap((map, axis) =>
    map.length === ctx.dims(0)[axis] && map.every((from, i) => from === i) ? [] : [axis],
  );
  if (moving.length === 0) {
    ctx.alias(0, 0);
    return;
  }
  let held = ctx.input(0);
  moving.forEach((axis, k) => {
    const map = maps[axis];
    const dims = held.dims.map((dim, i) => (i === axis ? map.length : dim));
    const y = k === moving.length - 1 ? ctx.output(0) : ctx.scratch(held.dtype, dims);
    const indices = ctx.literal(`axis ${axis}: ${map.join()}`, () =>
      tensor('int32', [map.length], Int32Array.from(map)),
    );
    gatherStep(ctx, [held, indices, y], axis);
    held = y;
  });
}

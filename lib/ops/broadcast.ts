/** Multidirectional broadcasting: shapes, and the walk over broadcast operands row by row. */

import { broadcastShapes, broadcastStrides, type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import type { InferContext, NodeReader } from './op.ts';

/** The broadcast shape, or an error that names the node. Undefined where a rank is unknown. */
export function broadcastInfer(ctx: InferContext, shapes: readonly (Shape | undefined)[]): Dim[] | undefined {
  if (!shapes.every((shape) => shape !== undefined)) return undefined;
  return broadcastDims(ctx, shapes as Shape[]);
}

/** The broadcast shape of known shapes; throws where sizes cannot meet. */
export function broadcastDims(ctx: NodeReader, shapes: readonly (readonly number[])[]): number[];
export function broadcastDims(ctx: NodeReader, shapes: readonly Shape[]): Dim[];
export function broadcastDims(ctx: NodeReader, shapes: readonly Shape[]): Dim[] {
  const dims = broadcastShapes(shapes);
  if (!dims) throw ctx.error(`the shapes ${shapes.map(shapeText).join(' and ')} cannot be broadcast together`);
  return dims;
}

/**
 * One row of a walk: `count` results from `at` on. Operand k's element for result `at + i` is at
 * `offsets[k] + i * steps[k]`.
 */
export type RowVisitor = (at: number, count: number, offsets: readonly number[], steps: readonly number[]) => void;

/** Joins neighbouring axes that every operand walks as one; drops axes of size 1. */
function coalesce(
  dims: readonly number[],
  strides: readonly (readonly number[])[],
): { dims: number[]; strides: number[][] } {
  const joined: number[] = [];
  const steps: number[][] = strides.map(() => []);
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    if (dims[axis] === 1) continue;
    const size = joined[0];
    if (size !== undefined && strides.every((s, k) => s[axis] === steps[k][0] * size)) {
      joined[0] = size * dims[axis];
      continue;
    }
    joined.unshift(dims[axis]);
    strides.forEach((s, k) => {
      steps[k].unshift(s[axis]);
    });
  }
  return { dims: joined, strides: steps };
}

/** Walks the results of shape `dims` in row-major order, with operands of the given strides (and start offsets). */
export function forEachRow(
  dims: readonly number[],
  strides: readonly (readonly number[])[],
  visit: RowVisitor,
  starts?: readonly number[],
): void {
  const total = sizeOf(dims);
  if (total === 0) return;
  const walk = coalesce(dims, strides);
  const last = walk.dims.length - 1;
  const count = last < 0 ? 1 : walk.dims[last];
  const steps = walk.strides.map((s) => (last < 0 ? 0 : s[last]));
  const offsets = starts ? [...starts] : strides.map(() => 0);
  const index = new Array<number>(Math.max(last, 0)).fill(0);
  for (let at = 0; at < total; at += count) {
    visit(at, count, offsets, steps);
    for (let axis = last - 1; axis >= 0; axis--) {
      const wrapped = ++index[axis] === walk.dims[axis];
      const move = wrapped ? 1 - walk.dims[axis] : 1;
      for (let k = 0; k < offsets.length; k++) offsets[k] += move * walk.strides[k][axis];
      if (!wrapped) break;
      index[axis] = 0;
    }
  }
}

/** An operand of a walk: one entry an element. */
export interface Operand<T> {
  readonly values: ArrayLike<T>;
  readonly dims: readonly number[];
}

/** `out[i] = f(a, b)` over broadcast operands. */
export function zip<A, B, R>(
  dims: readonly number[],
  a: Operand<A>,
  b: Operand<B>,
  f: (a: A, b: B) => R,
  out: { [i: number]: R },
): void {
  const strides = [broadcastStrides(a.dims, dims), broadcastStrides(b.dims, dims)];
  const [x, y] = [a.values, b.values];
  forEachRow(dims, strides, (at, count, [p, q], [dp, dq]) => {
    for (let i = 0; i < count; i++) out[at + i] = f(x[p + i * dp], y[q + i * dq]);
  });
}

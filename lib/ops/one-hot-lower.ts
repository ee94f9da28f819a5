/** Native OneHot: indices compared with the numbers of the new axis. */

import { sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { binaryStep, castStep, kernelFor, noKernel, wholeBytes } from './lower-elementwise.ts';
import { moveStep } from './lower-movement.ts';

/** Where the indices, less `shift`, equal the positions of the axis. */
function equalStep(ctx: LowerContext, indices: Operand, depth: number, shift: number, y: Operand, inner: number): void {
  const positions = ctx.literal(`positions less ${shift}`, () =>
    fromNumbers(
      'int64',
      [depth],
      Array.from({ length: depth }, (_, i) => i - shift),
    ),
  );
  const view = { dims: [sizeOf(indices.dims) / inner, depth, inner], inputs: [], output: y };
  binaryStep(ctx, 'binary.i64', 'Equal', view, [
    { operand: indices, strides: [inner, 0, 1] },
    { operand: positions, strides: [0, 1, 0] },
  ]);
}

/** Lowers a node whose new axis is `axis` of its output; negative indices count from the end. */
export function lowerOneHotAxis(ctx: LowerContext, axis: number): string | undefined {
  const width = wholeBytes(ctx.dtype(2));
  const dims = ctx.outputDims(0);
  if (width === 0) return noKernel(ctx.dtype(2));
  if (ctx.dtype(0) === 'bool' || !kernelFor(ctx, 'unary', ctx.dtype(0))) return noKernel(ctx.dtype(0));
  if (sizeOf(ctx.dims(2)) !== 2) return 'values that are no pair';
  const [count, depth] = [sizeOf(dims), dims[axis]];
  if (count === 0) return 'an empty result';
  const inner = sizeBetween(dims, axis + 1, dims.length);
  let indices = ctx.input(0);
  if (indices.dtype !== 'int64') {
    const whole = ctx.scratch('int64', indices.dims);
    castStep(ctx, indices, whole);
    indices = whole;
  }
  const [hot, fromEnd] = [ctx.scratch('bool', dims), ctx.scratch('bool', dims)];
  equalStep(ctx, indices, depth, 0, hot, inner);
  equalStep(ctx, indices, depth, depth, fromEnd, inner);
  const flat = { dims: [count], inputs: [], output: hot };
  binaryStep(ctx, 'binary.u8', 'Or', flat, [
    { operand: hot, strides: [1] },
    { operand: fromEnd, strides: [1] },
  ]);
  const values = ctx.input(2);
  const [off, on] = [0, 1].map((i) => {
    const value = ctx.scratch(values.dtype, [1]);
    moveStep(ctx, values, value, { dims: [1], x: [1], y: [1], xOffset: i });
    return value;
  });
  const once = { a_strides: [0], b_strides: [0] };
  ctx.step('where', [hot, on, off, ctx.output(0)], { width, dims: [count], c_strides: [1], ...once });
  return undefined;
}

/** Products whose operands are rounded to bfloat16, for sessions that allow it: conversions and steps. */

import { dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import type { Activation } from './epilogue.ts';
import type { LinearSizes } from './linear-lower.ts';
import type { LowerContext, Operand } from './lower.ts';
import { floatInput } from './lower-floats.ts';

/** Above this share of nonzeros a dense product of bfloat16 is at least as fast as a sparse one of float32. */
export const ROUNDED_DENSITY = 0.15;

/** Kernels may read so many rows behind the last. */
const SPARE_ROWS = 15;

/** Columns of a panel. */
const PANEL = 32;

/** Words of two bfloat16 that `depth` elements take: whole steps of the widest product. */
const pairWords = (depth: number): number => Math.ceil(depth / 32) * 16;

/** Below so many rows, turning a computed matrix into panels takes longer than the product saves. */
const COMPUTED_ROWS = 8;

/** True for kernels that multiply bfloat16. */
export function isRounded(kernel: string): boolean {
  return kernel === 'conv.segments.dense.bf16' || kernel === 'matmul.bf16';
}

/** Rows of float32 as rows of pairs. */
function pairRows(ctx: LowerContext, x: Operand, rows: number, depth: number): Operand {
  const y = ctx.scratch('uint32', [rows + SPARE_ROWS, pairWords(depth)]);
  ctx.step('rows.bf16', [x, y], { rows, depth });
  return y;
}

/** True where products of two computed stacks of such matrices should be rounded. */
export function roundsProducts(ctx: LowerContext, { rows, depth }: LinearSizes): boolean {
  return ctx.bf16 && rows >= COMPUTED_ROWS && depth >= PANEL / 2;
}

function productParams(sizes: LinearSizes, activation: Activation) {
  const { rows, depth, columns } = sizes;
  return {
    ...{ rows, depth, columns, alpha: 1, activation: activation.kind },
    ...{ activation_alpha: activation.alpha, activation_beta: activation.beta },
  };
}

/** A product with constant weights, which are input 1: what joins it are bias, residual and activation. */
export function roundedLayer(
  ctx: LowerContext,
  sizes: LinearSizes,
  { transposed, activation }: { readonly transposed: boolean; readonly activation: Activation },
  [bias, residual, y]: readonly [Operand | null, Operand | null, Operand],
): void {
  const { rows, depth, columns } = sizes;
  const a = pairRows(ctx, floatInput(ctx, 0), rows, depth);
  const packing = { depth, columns, transposed, type: dtypeInfo(ctx.dtype(1)).onnx };
  const b = ctx.packed('pack.matmul.bf16', [ctx.input(1)], packing);
  const params = { ...productParams(sizes, activation), a_matrices: [0], b_matrices: [0] };
  ctx.step('matmul.bf16', [a, b, bias, residual, y], params);
}

/** Products of matrices of the stacks that inputs 0 and 1 are; `matrices` gives which meet. */
export function roundedProducts(
  ctx: LowerContext,
  sizes: LinearSizes,
  activation: Activation,
  matrices: { readonly a: ArrayLike<number>; readonly b: ArrayLike<number> },
  y: Operand,
): void {
  const { depth, columns } = sizes;
  const a = pairRows(ctx, floatInput(ctx, 0), sizeOf(ctx.dims(0)) / depth, depth);
  const count = sizeOf(ctx.dims(1)) / (depth * columns);
  const b = ctx.scratch('uint32', [count, Math.ceil(columns / PANEL), pairWords(depth), PANEL]);
  ctx.step('panels.bf16', [floatInput(ctx, 1), b], { matrices: count, depth, columns });
  const params = { a_matrices: Array.from(matrices.a), b_matrices: Array.from(matrices.b) };
  ctx.step('matmul.bf16', [a, b, null, null, y], { ...productParams(sizes, activation), ...params });
}

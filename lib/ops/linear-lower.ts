/** Native matrix products: linear layers with constant weights, sparse or dense, and products of two computed matrices. */

import { dtypeInfo } from '../ir/dtype.ts';
import { rowsLayout } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import { ROUNDED_DENSITY, roundedLayer, roundedProducts, roundsProducts } from './bf16-products.ts';
import { sparseDensity, windowMaps } from './conv-lower.ts';
import { type Activation, NO_ACTIVATION } from './epilogue.ts';
import type { LowerContext, Operand } from './lower.ts';
import { floatInput, intoFloatOutput, optionalFloatInput, servedByFloat32 } from './lower-floats.ts';

/** Fewer rows than this leave too many lanes of the segment layout empty. */
const SEGMENT_ROWS = 8;

/** Up to this share of nonzeros row-major rows are multiplied nonzero by nonzero: dense weights take longer to read. */
const SPARSE_PRODUCT_DENSITY = 0.2;

type SparseKind = 'sparse' | 'packed';

/** A linear layer: inputs of the node are x [..., K], weights, bias? [N], residual?. */
export interface NativeLinear {
  readonly activation: Activation;
  /** Weights are [N, K] instead of [K, N]. */
  readonly transposed: boolean;
}

export interface LinearSizes {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

function sparseKind(ctx: LowerContext, rows: number): SparseKind | undefined {
  if (rows < SEGMENT_ROWS) return undefined;
  const density = ctx.density(1);
  if (ctx.bf16 && density > ROUNDED_DENSITY) return undefined;
  const kinds: readonly SparseKind[] = ['sparse', 'packed'];
  return kinds.find((kind) => density <= sparseDensity(ctx, kind) && ctx.hasKernel(`conv.segments.${kind}.f32`));
}

/** The parameters of a convolution that is a matrix product. */
const pointwise = {
  groups: 1,
  ...{ kernel_d: 1, kernel_h: 1, kernel_w: 1, stride_d: 1, stride_h: 1, stride_w: 1 },
  ...{ dilation_d: 1, dilation_h: 1, dilation_w: 1, pad_front: 0, pad_top: 0, pad_left: 0, tile_block: 0 },
};

/** Emits a linear layer; the reason where the node has to run on its reference. */
export function lowerLinear(ctx: LowerContext, linear: NativeLinear): string | undefined {
  if (!servedByFloat32(ctx.outputDtype(0))) return `no kernel for ${ctx.outputDtype(0)}`;
  if (!ctx.constant(1) || (ctx.has(2) && !ctx.constant(2))) return 'the weights are computed at run time';
  if (sizeOf(ctx.dims(0)) === 0 || sizeOf(ctx.outputDims(0)) === 0) return 'an empty tensor';
  const [a, b] = ctx.dims(1);
  const [depth, columns] = linear.transposed ? [b, a] : [a, b];
  const sizes = { rows: sizeOf(ctx.dims(0)) / depth, depth, columns };
  const kind = ctx.outputDtype(0) === 'float32' ? sparseKind(ctx, sizes.rows) : undefined;
  if (kind) lowerSegments(ctx, linear, kind, sizes);
  else lowerRows(ctx, linear, sizes);
  return undefined;
}

function lowerSegments(ctx: LowerContext, linear: NativeLinear, kind: SparseKind, sizes: LinearSizes): void {
  const output = rowsLayout(sizes.rows, sizes.columns);
  const x = ctx.inputSegments(0, rowsLayout(sizes.rows, sizes.depth));
  const over = ctx.has(3) && ctx.segmentsOf(3)?.samePositions(output) ? ctx.outputInPlace(0, 3) : undefined;
  const residual = over ?? (ctx.has(3) ? ctx.inputSegments(3, output) : null);
  const y = over ?? ctx.outputSegments(0, output);
  const { kind: activation, alpha, beta } = linear.activation;
  const shape = { groups: 1, channels_in: sizes.depth, channels_out: sizes.columns };
  const sources = [ctx.input(1), ctx.has(2) ? ctx.input(2) : null];
  const packing = ctx.packed(`pack.conv.segments.${kind}.f32`, sources, {
    ...{ ...shape, taps: 1, transposed: linear.transposed ? 0 : 1, residual: residual !== null },
    ...{ activation, alpha, beta, column_blocks: 0 },
    // Sets the pace of prefetching alone.
    tiles: ctx.once('tiles', output.tiles),
    ...{ tile_block: 0, prefetch_output: 0 },
  });
  ctx.step(`conv.segments.${kind}.f32`, [x, packing, residual, y], {
    ...{ ...pointwise, ...shape, activation, alpha, beta, density: ctx.density(1) },
    split: ctx.threads > 1 ? 1 : 0,
    ...windowMaps(x, y, residual),
  });
}

/** True where constant input 1 has so few nonzeros that {@link sparseProduct} beats a dense product of row-major rows. */
export function suitsSparseProduct(ctx: LowerContext): boolean {
  const floats = ctx.dtype(0) === 'float32' && ctx.dtype(1) === 'float32';
  return floats && ctx.hasKernel('matmul.sparse.f32') && ctx.density(1) <= SPARSE_PRODUCT_DENSITY;
}

/** Emits y = activation(x w + bias + residual) nonzero by nonzero, of row-major operands; w is constant input 1. */
export function sparseProduct(
  ctx: LowerContext,
  { activation: { kind, alpha, beta }, transposed }: NativeLinear,
  sizes: LinearSizes,
  [x, bias, residual, y]: readonly [Operand, Operand | null, Operand | null, Operand],
): void {
  const { depth, columns } = sizes;
  const packing = ctx.packed('pack.matmul.sparse.f32', [ctx.input(1)], { depth, columns, transposed });
  const params = { ...sizes, activation: kind, alpha, beta, density: ctx.density(1) };
  ctx.step('matmul.sparse.f32', [x, packing, bias, residual, y], params);
}

function productParams(sizes: LinearSizes, packed: boolean, activation: Activation) {
  const { rows, depth, columns } = sizes;
  return {
    ...{ rows, depth, columns },
    stride_a: depth,
    stride_b: columns,
    ...{ packed_b: packed, alpha: 1, activation: activation.kind },
    ...{ activation_alpha: activation.alpha, activation_beta: activation.beta },
  };
}

function packedWeights(ctx: LowerContext, weights: Operand, transposed: boolean, sizes: LinearSizes): Operand {
  const { depth, columns } = sizes;
  const packing = { depth, columns, transposed, type: dtypeInfo(weights.dtype).onnx };
  return ctx.packed('pack.matmul.f32', [weights], packing);
}

/** Emits y = x w^T + bias of float32 operands that need not be the node's; weights [columns, depth] are constant. */
export function constantProduct(
  ctx: LowerContext,
  sizes: LinearSizes,
  [x, weights, bias, y]: readonly [Operand, Operand, Operand | null, Operand],
): void {
  const params = { ...productParams(sizes, true, NO_ACTIVATION), a_offsets: [0], b_offsets: [0] };
  ctx.step('matmul.f32', [x, packedWeights(ctx, weights, true, sizes), bias, null, y], params);
}

/** Emits y = x w + bias + residual of row-major float32 y; x, constant weights and bias are the inputs 0, 1 and 2. */
export function layerStep(
  ctx: LowerContext,
  linear: NativeLinear,
  sizes: LinearSizes,
  [residual, y]: readonly [Operand | null, Operand],
): void {
  const bias = optionalFloatInput(ctx, 2);
  if (ctx.bf16) {
    roundedLayer(ctx, sizes, linear, [bias, residual, y]);
    return;
  }
  const b = packedWeights(ctx, ctx.input(1), linear.transposed, sizes);
  const params = { ...productParams(sizes, true, linear.activation), a_offsets: [0], b_offsets: [0] };
  ctx.step('matmul.f32', [floatInput(ctx, 0), b, bias, residual, y], params);
}

function lowerRows(ctx: LowerContext, linear: NativeLinear, sizes: LinearSizes): void {
  if (sizes.rows < SEGMENT_ROWS && ctx.outputDtype(0) === 'float32' && suitsSparseProduct(ctx)) {
    const [bias, given] = [2, 3].map((i) => (ctx.has(i) ? ctx.input(i) : null));
    sparseProduct(ctx, linear, sizes, [ctx.input(0), bias, given, ctx.output(0)]);
    return;
  }
  const residual = optionalFloatInput(ctx, 3);
  intoFloatOutput(ctx, 0, (y) => layerStep(ctx, linear, sizes, [residual, y]));
}

/** Emits products of two computed stacks of matrices; `matrices` gives which of each operand's meet. */
export function lowerProducts(
  ctx: LowerContext,
  sizes: LinearSizes,
  matrices: { readonly a: ArrayLike<number>; readonly b: ArrayLike<number> },
): string | undefined {
  if (!servedByFloat32(ctx.outputDtype(0))) return `no kernel for ${ctx.outputDtype(0)}`;
  if (roundsProducts(ctx, sizes)) {
    intoFloatOutput(ctx, 0, (y) => roundedProducts(ctx, sizes, NO_ACTIVATION, matrices, y));
    return undefined;
  }
  const { rows, depth, columns } = sizes;
  const offsets = (numbers: ArrayLike<number>, size: number): number[] => Array.from(numbers, (i) => i * size);
  const a_offsets = offsets(matrices.a, rows * depth);
  const b_offsets = offsets(matrices.b, depth * columns);
  const params = { ...productParams(sizes, false, NO_ACTIVATION), a_offsets, b_offsets };
  const [a, b] = [floatInput(ctx, 0), floatInput(ctx, 1)];
  intoFloatOutput(ctx, 0, (y) => ctx.step('matmul.f32', [a, b, null, null, y], params));
  return undefined;
}

/** Native linear layers: x [..., K] times constant weights [K, N]. */

import { rowsLayout, type SegmentLayout } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import type { Activation } from './epilogue.ts';
import type { LowerContext } from './lower.ts';

/** Above this share of nonzeros the dense product is at least as fast. */
const SPARSE_DENSITY = { sparse: 0.45, packed: 0.25 } as const;

type SparseKind = 'sparse' | 'packed';

function sparseKind(ctx: LowerContext): SparseKind | undefined {
  const density = ctx.density(1);
  const kinds: readonly SparseKind[] = ['sparse', 'packed'];
  return kinds.find((kind) => density <= SPARSE_DENSITY[kind] && ctx.hasKernel(`conv.segments.${kind}.f32`));
}

/** The parameters of a convolution that is a matrix product. */
const pointwise = {
  ...{ groups: 1, in_channel: 0, out_channel: 0, res_channel: 0 },
  ...{ kernel_d: 1, kernel_h: 1, kernel_w: 1, stride_d: 1, stride_h: 1, stride_w: 1 },
  ...{ dilation_d: 1, dilation_h: 1, dilation_w: 1, pad_front: 0, pad_top: 0, pad_left: 0, tile_block: 0 },
};

/** Emits a linear layer. Inputs of the node: x, weights [K, N], bias?, residual?. */
export function lowerLinear(ctx: LowerContext, activation: Activation): string | undefined {
  if (ctx.outputDtype(0) !== 'float32') return `no kernel for ${ctx.outputDtype(0)}`;
  if (!ctx.constant(1) || (ctx.has(2) && !ctx.constant(2))) return 'the weights are computed at run time';
  if (sizeOf(ctx.dims(0)) === 0 || sizeOf(ctx.outputDims(0)) === 0) return 'an empty tensor';
  const [depth, columns] = ctx.dims(1);
  const rows = sizeOf(ctx.dims(0)) / depth;
  lowerSegments(ctx, activation, sparseKind(ctx) ?? 'dense', rowsLayout(rows, depth), rowsLayout(rows, columns));
  return undefined;
}

function lowerSegments(
  ctx: LowerContext,
  activation: Activation,
  kind: SparseKind | 'dense',
  input: SegmentLayout,
  output: SegmentLayout,
): void {
  const x = ctx.inputSegments(0, input);
  const over = ctx.has(3) && ctx.segmentsOf(3)?.samePositions(output) ? ctx.outputInPlace(0, 3) : undefined;
  const residual = over ?? (ctx.has(3) ? ctx.inputSegments(3, output) : null);
  const y = over ?? ctx.outputSegments(0, output);
  const shape = { groups: 1, channels_in: input.size.c, channels_out: output.size.c, taps: 1, transposed: 1 };
  const sources = [ctx.input(1), ctx.has(2) ? ctx.input(2) : null];
  const { kind: code, alpha, beta } = activation;
  const generated = {
    ...{ residual: residual !== null, activation: code, alpha, beta, column_blocks: 0 },
    tiles: 2 ** Math.round(Math.log2(input.tiles)),
    ...{ tile_block: 0, prefetch_output: 0 },
  };
  const packing = ctx.packed(
    `pack.conv.segments.${kind}.f32`,
    sources,
    kind === 'dense' ? shape : { ...shape, ...generated },
  );
  ctx.step(`conv.segments.${kind}.f32`, [x, packing, residual, y], {
    ...pointwise,
    channels_in: input.size.c,
    channels_out: output.size.c,
    ...{ activation: code, alpha, beta },
    ...(kind === 'dense' ? {} : { density: ctx.density(1) }),
    split: ctx.threads > 1 ? 1 : 0,
    in: x.layout as SegmentLayout,
    out: y.layout as SegmentLayout,
    res: residual?.layout ?? [],
  });
}

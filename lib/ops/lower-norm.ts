/** Native lowering of normalisations. */

import type { SegmentLayout } from '../ir/segments.ts';
import { sizeBetween, sizeOf } from '../ir/shape.ts';
import type { LowerContext, Operand } from './lower.ts';
import { noKernel } from './lower-elementwise.ts';
import {
  floatInput,
  intoFloatOutput,
  intoOptionalFloatOutput,
  optionalFloatInput,
  servedByFloat32,
} from './lower-floats.ts';

/** Which inputs and outputs of a node a layer normalisation has; -1 where the operator lacks one. */
export interface LayerNormSlots {
  readonly skip: number;
  readonly bias: number;
  readonly gamma: number;
  readonly beta: number;
  readonly sum: number;
  readonly mean: number;
  readonly inverse: number;
}

const only = (ctx: LowerContext, i: number): boolean => i >= 0 && ctx.has(i);

/** Why the operands of a layer normalisation over `n` trailing elements do not fit the kernel. */
function layerReason(ctx: LowerContext, slots: LayerNormSlots, n: number): string | undefined {
  if (!ctx.wants(0)) return 'the result is not read';
  const inputs = [0, slots.skip, slots.bias, slots.gamma, slots.beta].filter((i) => only(ctx, i));
  const odd = inputs.find((i) => !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return noKernel(ctx.dtype(odd));
  const outputs = [0, slots.sum, slots.mean, slots.inverse].filter((i) => i >= 0 && ctx.wants(i));
  const wide = outputs.find((i) => !servedByFloat32(ctx.outputDtype(i)));
  if (wide !== undefined) return noKernel(ctx.outputDtype(wide));
  if (n === 0) return 'empty rows';
  const vectors = [slots.bias, slots.gamma, slots.beta].filter((i) => only(ctx, i));
  if (vectors.some((i) => sizeOf(ctx.dims(i)) !== n)) return 'parameters that are broadcast';
  if (only(ctx, slots.skip) && sizeOf(ctx.dims(slots.skip)) !== sizeOf(ctx.dims(0)))
    return 'a residual that is broadcast';
  return undefined;
}

/** The layout of the rows where they lie in segments and nothing but gamma and beta takes part. */
function normSegments(ctx: LowerContext, slots: LayerNormSlots, n: number): SegmentLayout | undefined {
  const others = [slots.skip, slots.bias].some((i) => only(ctx, i));
  const more = [slots.sum, slots.mean, slots.inverse].some((i) => i >= 0 && ctx.wants(i));
  if (others || more || ctx.dtype(0) !== 'float32' || !ctx.hasKernel('layernorm.segments.f32')) return undefined;
  const layout = ctx.segmentsOf(0);
  return layout?.axis === 'rows' && layout.size.c === n ? layout.withoutBorders() : undefined;
}

function lowerSegments(ctx: LowerContext, slots: LayerNormSlots, layout: SegmentLayout, epsilon: number): void {
  const [gamma, beta] = [slots.gamma, slots.beta].map((i) => (i >= 0 ? optionalFloatInput(ctx, i) : null));
  const over = ctx.outputInPlace(0, 0);
  const x = over ?? ctx.inputSegments(0, layout);
  const y = over ?? ctx.outputSegments(0, layout);
  ctx.step('layernorm.segments.f32', [x, gamma, beta, y], { tiles: layout.tiles, n: layout.size.c, epsilon });
}

/** Lowers a normalisation of rows of the axes from `axis` on. */
export function lowerLayerNorm(
  ctx: LowerContext,
  slots: LayerNormSlots,
  { axis, epsilon, rms }: { readonly axis: number; readonly epsilon: number; readonly rms: boolean },
): string | undefined {
  const dims = ctx.dims(0);
  const n = sizeBetween(dims, axis, dims.length);
  const reason = layerReason(ctx, slots, n);
  if (reason) return reason;
  const segments = rms ? undefined : normSegments(ctx, slots, n);
  if (segments) {
    lowerSegments(ctx, slots, segments, epsilon);
    return undefined;
  }
  const read = (i: number): Operand | null => (i >= 0 ? optionalFloatInput(ctx, i) : null);
  const [skip, bias, gamma, beta] = [slots.skip, slots.bias, slots.gamma, slots.beta].map(read);
  const x = floatInput(ctx, 0);
  const write = <T>(i: number, emit: (y: Operand | null) => T): T =>
    i >= 0 ? intoOptionalFloatOutput(ctx, i, emit) : emit(null);
  intoFloatOutput(ctx, 0, (y) =>
    write(slots.sum, (sum) =>
      write(slots.mean, (mean) =>
        write(slots.inverse, (inverse) => {
          const operands = [x, skip, bias, gamma, beta, y, sum, mean, inverse];
          ctx.step('layernorm.f32', operands, { rms, rows: sizeOf(dims) / n, n, epsilon });
        }),
      ),
    ),
  );
  return undefined;
}

/** Lowers a normalisation of groups of channels; `scales` a group are its own, or `perGroup` for each channel. */
export function lowerGroupNorm(
  ctx: LowerContext,
  { groups, perChannel, epsilon }: { readonly groups: number; readonly perChannel: boolean; readonly epsilon: number },
): string | undefined {
  const odd = [0, 1, 2].find((i) => !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return noKernel(ctx.dtype(odd));
  const [batch, total] = ctx.dims(0);
  const plane = sizeBetween(ctx.dims(0), 2, ctx.dims(0).length);
  const channels = perChannel ? total / groups : 1;
  const inner = perChannel ? plane : (total / groups) * plane;
  if (channels * inner === 0) return 'empty groups';
  const [x, gamma, beta] = [0, 1, 2].map((i) => floatInput(ctx, i));
  intoFloatOutput(ctx, 0, (y) =>
    ctx.step('groupnorm.f32', [x, gamma, beta, y], { batch, groups, channels, inner, epsilon }),
  );
  return undefined;
}

/** Lowers a batch normalisation with given statistics. */
export function lowerBatchNorm(ctx: LowerContext, channels: number, epsilon: number): string | undefined {
  const odd = [0, 1, 2, 3, 4].find((i) => !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return noKernel(ctx.dtype(odd));
  const dims = ctx.dims(0);
  if (sizeOf(dims) === 0) return 'an empty input';
  const inner = sizeBetween(dims, 1, dims.length) / channels;
  const inputs = [0, 1, 2, 3, 4].map((i) => floatInput(ctx, i));
  intoFloatOutput(ctx, 0, (y) =>
    ctx.step('batchnorm.f32', [...inputs, y], { batch: dims[0], channels, inner, epsilon }),
  );
  return undefined;
}

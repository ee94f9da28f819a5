/** Native pools over segments. */

import { bestLayout, type SegmentLayout, type Window } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import { interiorTiles, mapSize, windowLayouts, windowMaps, windowParams } from './conv-lower.ts';
import { NO_ACTIVATION } from './epilogue.ts';
import type { LowerContext, StepParams } from './lower.ts';

/** A maximum or average over a window; padding after the last position matters to averages alone. */
export interface NativePool {
  readonly window: Window;
  readonly average?: { readonly countPadding: boolean; readonly padsAfter: readonly [number, number, number] };
}

function unsuitable(ctx: LowerContext, bytes = false): string | undefined {
  const byte = ctx.outputDtype(0) === 'uint8' || ctx.outputDtype(0) === 'int8';
  if (ctx.outputDtype(0) !== 'float32' && !(bytes && byte)) return `no kernel for ${ctx.outputDtype(0)}`;
  if (ctx.dims(0).length > 5) return `no kernel for ${ctx.dims(0).length - 2} spatial axes`;
  if (sizeOf(ctx.dims(0)) === 0 || sizeOf(ctx.outputDims(0)) === 0) return 'an empty tensor';
  return undefined;
}

/** Emits a pool; the reason where the node has to run on its reference. */
export function lowerPool(ctx: LowerContext, pool: NativePool): string | undefined {
  const { window, average } = pool;
  if (!ctx.wants(0)) return 'the maxima are not read';
  const reason = unsuitable(ctx, !average);
  if (reason) return reason;
  if (ctx.wants(1)) return 'no kernel for the indices of maxima';
  if ([...window.pads, ...(average?.padsAfter ?? [])].some((pad) => pad < 0)) return 'negative padding';
  const layouts = windowLayouts(ctx, window);
  const dtype = ctx.dtype(0);
  const lowest = dtype === 'float32' ? Number.NEGATIVE_INFINITY : dtype === 'int8' ? -128 : 0;
  const x = ctx.inputSegments(0, layouts.input, average ? 0 : lowest);
  const y = ctx.outputSegments(0, layouts.output);
  const conv = { group: 1, window, activation: NO_ACTIVATION };
  const params: StepParams = {
    ...windowParams(conv, layouts.input.size, layouts.output.size),
    split: interiorTiles(layouts.output) < 4 * ctx.threads ? 1 : 0,
    ...windowMaps(x, y, null),
  };
  if (!average) {
    const signed: StepParams = dtype === 'float32' ? {} : { signed: dtype === 'int8' };
    ctx.step(`pool.segments.max.${dtype === 'float32' ? 'f32' : 'u8'}`, [x, y], { ...params, ...signed });
    return undefined;
  }
  const [pad_back, pad_bottom, pad_right] = average.padsAfter;
  const own = { count_include_pad: average.countPadding, pad_back, pad_bottom, pad_right };
  ctx.step('pool.segments.average.f32', [x, y], { ...params, ...own });
  return undefined;
}

/** Emits a pool over all positions of each image. */
export function lowerGlobalPool(ctx: LowerContext, kind: 'average' | 'maximum'): string | undefined {
  const reason = unsuitable(ctx);
  if (reason) return reason;
  const size = mapSize(ctx.dims(0));
  const own = ctx.segmentsOf(0);
  const layout = own?.axis === 'planes' ? own : bestLayout(size, 1, 1);
  const x = ctx.inputSegments(0, layout);
  const params = { kind: kind === 'average' ? 0 : 1, map: x.layout as SegmentLayout };
  ctx.step('pool.segments.global.f32', [x, ctx.output(0)], { channel: x.channel ?? 0, channels: size.c, ...params });
  return undefined;
}

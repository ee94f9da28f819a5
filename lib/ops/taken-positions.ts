/** Strided convolutions of one tap: they read few positions of their input, which are all that has to change its layout. */

import { byteLength } from '../ir/dtype.ts';
import { SEGMENT_LANES, SegmentLayout, type Window } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import type { LowerContext, Operand } from './lower.ts';

/** A map of the positions that a window reads, and the window over it. */
export interface TakenPositions {
  readonly x: Operand;
  readonly layout: SegmentLayout;
  readonly window: Window;
}

/**
 * Takes the positions out of input 0 where it lies in other segments than `input`, which the convolution would need for
 * `output`. Undefined where nothing is gained.
 */
export function takenPositions(
  ctx: LowerContext,
  window: Window,
  { input, output }: { readonly input: SegmentLayout; readonly output: SegmentLayout },
): TakenPositions | undefined {
  const own = ctx.segmentsOf(0);
  const [depth, step_y, step_x] = window.strides;
  const oneTap = sizeOf(window.kernel) === 1 && window.pads.every((pad) => pad === 0);
  if (!oneTap || depth !== 1 || step_y * step_x === 1) return undefined;
  if (own?.axis !== 'planes' || own.samePositions(input)) return undefined;
  const { lanes, tileRows, tileColumns } = output;
  const size = { ...output.size, c: own.size.c };
  const layout = new SegmentLayout('planes', size, lanes, tileRows, tileColumns);
  const dtype = ctx.dtype(0);
  // Bytes lie in fours of channels.
  const channels = byteLength(dtype, 1) === 1 ? Math.ceil(size.c / 4) * 4 : size.c;
  const taken = { ...ctx.scratch(dtype, [layout.tiles, channels, SEGMENT_LANES]), layout };
  const x = ctx.inputSegments(0, own);
  const moved = { from_channel: x.channel ?? 0, to_channel: 0, channels: size.c };
  const params = { ...moved, borders: 0, fill: 0, step_y, step_x };
  const kernel = dtype === 'float32' ? 'segments.convert' : 'segments.convert.u8';
  ctx.step(kernel, [x, taken], { ...params, from: x.layout as SegmentLayout, to: layout });
  return { x: taken, layout, window: { ...window, strides: [1, 1, 1] } };
}

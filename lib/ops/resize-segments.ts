/** Resampling maps in segments: output tiles as sums of input tiles of the same lanes. */

import { type Borders, noBorders, SEGMENT_LANES, SegmentLayout } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import { mapSize } from './conv-lower.ts';
import type { LowerContext } from './lower.ts';
import type { ResizeAxis, ResizeWeights } from './resize-axis.ts';

const KERNEL = 'resize.segments.f32';

/** Most taps of the kernel along an axis, and its number for none. */
const MOST_TAPS = 4;
const NO_TAP = -(2 ** 31);

/** Tiles past a segment's end that taps may reach: its borders. */
const MOST_BORDER = 2;

/** One resampled axis of a map in segments. */
export interface ResampledAxis {
  readonly axis: ResizeAxis;
  readonly weights: ResizeWeights;
}

/** How the tiles of one axis are made of the input's: for each output tile input tiles, and weights by segment. */
interface AxisTiles {
  readonly tileOut: number;
  readonly taps: readonly { readonly tile: number; readonly weights: readonly number[] }[][];
}

/** The input tiles of output tile `t`; undefined where segments need other ones than their neighbours. */
function tapsOf(
  { axis, weights }: ResampledAxis,
  t: number,
  [segments, tileIn, tileOut]: readonly [number, number, number],
): AxisTiles['taps'][number] | undefined {
  const found = new Map<number, number[]>();
  const positions = Array.from({ length: segments }, (_, s) => s * tileOut + t);
  positions.forEach((position, s) => {
    if (position >= axis.output) return;
    for (let k = position * weights.taps; k < (position + 1) * weights.taps; k++) {
      if (weights.weight[k] === 0) continue;
      const tile = weights.index[k] - s * tileIn;
      const sums = found.get(tile) ?? new Array<number>(segments).fill(0);
      sums[s] += weights.weight[k];
      found.set(tile, sums);
    }
  });
  const taps = [...found].map(([tile, sums]) => ({ tile, weights: sums }));
  // A weight of 0 is for what lies outside the image, where borders hold 0: an infinity would not vanish.
  const stray = taps.some(({ tile, weights: sums }) =>
    sums.some((w, s) => w === 0 && positions[s] < axis.output && inside(s * tileIn + tile, axis)),
  );
  const near = taps.every(({ tile }) => tile >= -MOST_BORDER && tile < tileIn + MOST_BORDER);
  return stray || !near || taps.length > MOST_TAPS ? undefined : taps;
}

const inside = (position: number, { input }: ResizeAxis): boolean => position >= 0 && position < input;

function axisTiles(resampled: ResampledAxis, segments: number, tileIn: number): AxisTiles | undefined {
  const { input, output } = resampled.axis;
  const tileOut = (tileIn * output) / input;
  if (!Number.isInteger(tileOut) || resampled.weights.extrapolated.length > 0) return undefined;
  const taps: AxisTiles['taps'][number][] = [];
  for (let t = 0; t < tileOut; t++) {
    const tile = tapsOf(resampled, t, [segments, tileIn, tileOut]);
    if (!tile) return undefined;
    taps.push(tile);
  }
  return { tileOut, taps };
}

/** The tiles that taps read beyond the segments, before and behind. */
function reach({ taps }: AxisTiles, tileIn: number): [number, number] {
  const tiles = taps.flat().map(({ tile }) => tile);
  return [Math.max(0, -Math.min(...tiles)), Math.max(0, Math.max(...tiles) - tileIn + 1)];
}

/** Every output tile's input tiles, as many for each, and their lines of weights. */
function encode({ taps }: AxisTiles, segmentOf: (lane: number) => number): { tiles: number[]; lines: number[] } {
  const most = Math.max(...taps.map((list) => list.length), 1);
  const tiles: number[] = [];
  const lines: number[] = [];
  for (const list of taps) {
    for (let k = 0; k < most; k++) {
      tiles.push(list[k]?.tile ?? NO_TAP);
      for (let lane = 0; lane < SEGMENT_LANES; lane++) lines.push(list[k]?.weights[segmentOf(lane)] ?? 0);
    }
  }
  return { tiles, lines };
}

/** Borders of its input that a resampling between neighbours reads. */
export const neighbourBorders: Borders = { ...noBorders, top: 1, bottom: 1, left: 1, right: 1 };

/**
 * Resamples the last two axes where input 0 lies in segments; false where it does not, or where segments would need
 * different tiles.
 */
export function resizeSegments(ctx: LowerContext, rows: ResampledAxis, columns: ResampledAxis): boolean {
  const own = ctx.dtype(0) === 'float32' && ctx.hasKernel(KERNEL) ? ctx.segmentsOf(0) : undefined;
  if (own?.axis !== 'planes' || sizeOf(ctx.dims(0)) === 0) return false;
  const { lanes, tileRows, tileColumns } = own;
  const [down, across] = [axisTiles(rows, lanes.y, tileRows), axisTiles(columns, lanes.x, tileColumns)];
  if (!down || !across) return false;
  const [[top, bottom], [left, right]] = [reach(down, tileRows), reach(across, tileColumns)];
  const borders = { ...noBorders, top, bottom, left, right };
  const copies = [...down.taps, ...across.taps].every((list) => list.length <= 1);
  const x = ctx.inputSegments(0, own.withoutBorders().withBorders(borders), copies ? undefined : 0);
  const size = mapSize(ctx.outputDims(0));
  const y = ctx.outputSegments(0, new SegmentLayout('planes', size, lanes, down.tileOut, across.tileOut));
  const [row, column] = [
    encode(down, (lane) => Math.floor(lane / lanes.x) % lanes.y),
    encode(across, (lane) => lane % lanes.x),
  ];
  const lines = [...row.lines, ...column.lines];
  const key = `lines of ${JSON.stringify([rows.axis, columns.axis, lanes, tileRows, tileColumns])}`;
  const weights = ctx.literal(key, () => fromNumbers('float32', [lines.length], lines));
  ctx.step(KERNEL, [x, weights, y], {
    x_channel: x.channel ?? 0,
    y_channel: y.channel ?? 0,
    channels: size.c,
    x_map: x.layout as SegmentLayout,
    y_map: y.layout as SegmentLayout,
    row_tiles: row.tiles,
    column_tiles: column.tiles,
  });
  return true;
}

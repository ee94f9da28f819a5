/** Native convolution: chooses the layout, then the sparse, dense or depthwise kernel. */

import {
  bestLayout,
  LANE_ROWS,
  laneBlockRows,
  layoutEfficiency,
  type MapSize,
  SegmentLayout,
  type Window,
  windowBorders,
} from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import { ROUNDED_DENSITY } from './bf16-products.ts';
import type { Activation } from './epilogue.ts';
import type { LowerContext, Operand, StepParams } from './lower.ts';
import { takenPositions } from './taken-positions.ts';

/** A convolution over 1 to 3 spatial axes. Inputs of the node: x, weights, bias?, residual?. */
export interface NativeConv {
  readonly group: number;
  readonly window: Window;
  readonly activation: Activation;
}

type Triple = readonly [number, number, number];

/** Up to three numbers, missing ones before the first filled in: [w], [h, w], [d, h, w]. */
function triple(values: readonly number[], fill: number): Triple {
  const [d, h, w] = [...new Array<number>(3 - values.length).fill(fill), ...values];
  return [d, h, w];
}

/** Sizes of a feature map from the dims [N, C, ...spatial]. */
export function mapSize(dims: readonly number[]): MapSize {
  const [d, h, w] = triple(dims.slice(2), 1);
  return { n: dims[0], c: dims[1], d, h, w };
}

/** A layout is given up for another where less than this share of the best one's lanes would work. */
const KEEP_EFFICIENCY = 0.92;

interface LayoutPair {
  readonly input: SegmentLayout;
  readonly output: SegmentLayout;
}

/** The output's layout where the input keeps its lanes and tiles, if the stride divides them and everything fits. */
function keptLayout(input: SegmentLayout, output: MapSize, window: Window): SegmentLayout | undefined {
  const [, sy, sx] = window.strides;
  const rows = input.tileRows / sy;
  const columns = input.tileColumns / sx;
  const fits =
    input.axis === 'planes' &&
    Number.isInteger(rows) &&
    Number.isInteger(columns) &&
    input.lanes.y * rows >= output.h &&
    input.lanes.x * columns >= output.w;
  return fits ? new SegmentLayout('planes', output, input.lanes, rows, columns) : undefined;
}

/** Efficiency counted on the output, whose lanes do the work. */
function freshLayout(
  input: MapSize,
  output: MapSize,
  window: Window,
  ahead: readonly [number, number],
  block: number,
): LayoutPair {
  const [, sy, sx] = window.strides;
  const cover = {
    ...output,
    h: Math.max(output.h, Math.ceil(input.h / sy)),
    w: Math.max(output.w, Math.ceil(input.w / sx)),
  };
  let best: SegmentLayout | undefined;
  // Tiles that later strides divide save conversions, unless they waste too many lanes here.
  for (let [y, x] = ahead; ; y = Math.ceil(y / 2), x = Math.ceil(x / 2)) {
    const layout = bestLayout(cover, y, x, block);
    const gain = best ? layoutEfficiency(layout, block) / layoutEfficiency(best, block) : Number.POSITIVE_INFINITY;
    if (!best || gain * KEEP_EFFICIENCY > 1) best = layout;
    if (y === 1 && x === 1) break;
  }
  const { lanes, tileRows, tileColumns } = best;
  return {
    input: new SegmentLayout('planes', input, lanes, tileRows * sy, tileColumns * sx),
    output: new SegmentLayout('planes', output, lanes, tileRows, tileColumns),
  };
}

/**
 * Layouts of a windowed operator's input and output: the input's own where it serves, else the best. `block` is how many
 * rows a kernel with lanes as rows takes at a time, 0 where another will run.
 */
export function windowLayouts(ctx: LowerContext, window: Window, block = 0): LayoutPair {
  const input = mapSize(ctx.dims(0));
  const output = mapSize(ctx.outputDims(0));
  const fresh = freshLayout(input, output, window, ctx.stridesAhead(0), block);
  const own = ctx.segmentsOf(0);
  const kept = own && keptLayout(own, output, window);
  const pair =
    kept && layoutEfficiency(kept, block) >= KEEP_EFFICIENCY * layoutEfficiency(fresh.output, block)
      ? { input: own, output: kept }
      : fresh;
  return { input: pair.input.withBorders(windowBorders(window)), output: pair.output };
}

/** True where borders are read or positions outside the image lie among the lanes that taps read. */
export function readsBorders(window: Window): boolean {
  return sizeOf(window.kernel) > 1 || window.pads.some((pad) => pad !== 0);
}

/** The parameters that every windowed kernel over segments takes. */
export function windowParams(conv: NativeConv, input: MapSize, output: MapSize): StepParams {
  const { window, activation } = conv;
  const [kernel_d, kernel_h, kernel_w] = window.kernel;
  const [stride_d, stride_h, stride_w] = window.strides;
  const [dilation_d, dilation_h, dilation_w] = window.dilations;
  const [pad_front, pad_top, pad_left] = window.pads;
  return {
    groups: conv.group,
    channels_in: input.c,
    channels_out: output.c,
    ...{ kernel_d, kernel_h, kernel_w, stride_d, stride_h, stride_w },
    ...{ dilation_d, dilation_h, dilation_w, pad_front, pad_top, pad_left },
    activation: activation.kind,
    alpha: activation.alpha,
    beta: activation.beta,
    tile_block: 0,
  };
}

/** Where the operands of such a kernel lie. */
export function windowMaps(x: Operand, y: Operand, residual: Operand | null): StepParams {
  return {
    in_channel: x.channel ?? 0,
    out_channel: y.channel ?? 0,
    res_channel: residual?.channel ?? 0,
    in: x.layout as SegmentLayout,
    out: y.layout as SegmentLayout,
    res: residual?.layout ?? [],
  };
}

/** Above this share of nonzeros dense kernels of floats are at least as fast as a sparse one. */
export function sparseDensity(ctx: LowerContext, kind: 'sparse' | 'packed'): number {
  if (kind === 'sparse') return 0.45;
  return ctx.vectorLanes === 16 ? 0.25 : 0.5;
}

/** Code and weights of generated rows take about this many bytes a nonzero. */
const BYTES_PER_NONZERO = 15;

/** `rounded` is the dense kernel with products of bfloat16. */
type KernelKind = 'sparse' | 'packed' | 'dense' | 'lanes' | 'rounded' | 'depthwise';

const nameOf = (kind: KernelKind): string =>
  kind === 'rounded' ? 'conv.segments.dense.bf16' : `conv.segments.${kind}.f32`;

function chooseKernel(ctx: LowerContext, conv: NativeConv, channels: number): KernelKind {
  const has = (kind: KernelKind): boolean => ctx.hasKernel(nameOf(kind));
  if (conv.group === channels && conv.group > 1 && has('depthwise')) return 'depthwise';
  const density = ctx.density(1);
  // A lone channel would be half a pair.
  if (ctx.bf16 && channels > conv.group && density > ROUNDED_DENSITY) return 'rounded';
  const kinds = ['sparse', 'packed'] as const;
  return kinds.find((kind) => density <= sparseDensity(ctx, kind) && has(kind)) ?? 'dense';
}

/** Vectors of output channels in a panel of the kernel with lanes as rows; fewer channels leave it idle. */
const PANEL_VECTORS = 2;

/** Shorter sums do not pay for turning the result of the kernel with lanes as rows, in vectors of 16 or fewer. */
const LANES_DEPTH = { wide: 200, narrow: 64 } as const;

/** True where sums are long and output channels fill the panels of the kernel with lanes as rows. */
function suitsLanes(ctx: LowerContext, conv: NativeConv): boolean {
  const channels = ctx.outputDims(0)[1] / conv.group;
  const panel = PANEL_VECTORS * ctx.vectorLanes;
  const filled = channels / (Math.ceil(channels / panel) * panel);
  return filled >= 0.9 && sizeOf(ctx.dims(1).slice(1)) >= LANES_DEPTH[ctx.vectorLanes === 16 ? 'wide' : 'narrow'];
}

const usedLanes = ({ lanes }: SegmentLayout): number => lanes.images * lanes.y * lanes.x;

/** Tiles without borders. */
export function interiorTiles(layout: SegmentLayout): number {
  return Math.ceil(layout.size.n / layout.lanes.images) * layout.size.d * layout.tileRows * layout.tileColumns;
}

/** Threads share out tiles while there are many, and rows where the packed weights are what has to be read. */
export function chooseSplit(ctx: LowerContext, tiles: number, bytes: number): number {
  if (ctx.threads === 1) return 0;
  const few = tiles < 8 * ctx.threads;
  return few || (bytes > 1 << 19 && tiles < 64 * ctx.threads) ? 1 : 0;
}

/** Planes of at most so many tiles, borders included, are copied a few channels at a time by the depthwise kernel. */
const PLANE_TILES = 144;

/** True where borders make up much of what a depthwise convolution reads: its kernel then makes them itself, in cache. */
function makesBorders({ kernel, strides, dilations, pads }: Window, output: SegmentLayout): boolean {
  const along = (i: 1 | 2, tiles: number): number => (tiles - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1;
  const tiles = along(1, output.tileRows) * along(2, output.tileColumns);
  return kernel[0] === 1 && pads[0] === 0 && tiles <= PLANE_TILES;
}

/** Emits a float32 convolution; the reason where the node has to run on its reference. */
export function lowerConv(ctx: LowerContext, conv: NativeConv): string | undefined {
  if (ctx.outputDtype(0) !== 'float32') return `no kernel for ${ctx.outputDtype(0)}`;
  if (!ctx.constant(1) || (ctx.has(2) && !ctx.constant(2))) return 'the weights are computed at run time';
  if (conv.window.pads.some((pad) => pad < 0)) return 'negative padding';
  if (sizeOf(ctx.dims(0)) === 0 || sizeOf(ctx.outputDims(0)) === 0) return 'an empty tensor';
  const first = chooseKernel(ctx, conv, ctx.dims(0)[1]);
  const asRows = first === 'dense' && suitsLanes(ctx, conv);
  const layouts = windowLayouts(ctx, conv.window, asRows ? laneBlockRows(ctx.vectorLanes) : 0);
  const kind = asRows && usedLanes(layouts.output) <= LANE_ROWS ? 'lanes' : first;
  const weights = sizeOf(ctx.dims(1));
  const own = kind === 'depthwise' && makesBorders(conv.window, layouts.output);
  const taken = kind === 'depthwise' ? undefined : takenPositions(ctx, conv.window, layouts);
  const window = taken?.window ?? conv.window;
  const x =
    taken?.x ??
    (own
      ? ctx.inputSegments(0, layouts.input.withoutBorders())
      : ctx.inputSegments(0, layouts.input, readsBorders(window) ? 0 : undefined));
  const { residual, y } = placeResult(ctx, layouts.output);
  const tiles = interiorTiles(layouts.output);
  const sparse = kind === 'sparse' || kind === 'packed';
  const bytes = weights * (kind === 'sparse' ? ctx.density(1) * BYTES_PER_NONZERO : kind === 'rounded' ? 2 : 4);
  const split = kind === 'depthwise' ? 0 : chooseSplit(ctx, tiles, bytes);
  const params = {
    ...windowParams({ ...conv, window }, layouts.input.size, layouts.output.size),
    ...(sparse ? { density: ctx.density(1) } : {}),
    ...(kind === 'depthwise' ? { borders: own } : {}),
    split,
    ...windowMaps(x, y, residual),
  };
  const packing = packWeights(ctx, conv, kind, residual !== null, split === 0 ? Math.ceil(tiles / ctx.threads) : tiles);
  ctx.step(nameOf(kind), [x, packing, residual, y], params);
  return undefined;
}

/** The output, over the residual where that dies here. */
function placeResult(ctx: LowerContext, layout: SegmentLayout): { residual: Operand | null; y: Operand } {
  if (!ctx.has(3)) return { residual: null, y: ctx.outputSegments(0, layout) };
  const own = ctx.segmentsOf(3);
  const over = own?.samePositions(layout) ? ctx.outputInPlace(0, 3) : undefined;
  if (over) return { residual: over, y: over };
  const residual = ctx.inputSegments(3, layout);
  return { residual, y: ctx.outputSegments(0, layout) };
}

function packWeights(ctx: LowerContext, conv: NativeConv, kind: KernelKind, residual: boolean, tiles: number): Operand {
  const shape = {
    groups: conv.group,
    channels_in: ctx.dims(0)[1],
    channels_out: ctx.outputDims(0)[1],
    taps: sizeOf(conv.window.kernel),
  };
  const sources = [ctx.input(1), ctx.has(2) ? ctx.input(2) : null];
  const packer = `pack.${nameOf(kind)}`;
  if (kind === 'rounded') {
    const { kernel, dilations } = conv.window;
    const run_taps = conv.group === 1 && dilations[2] === 1 ? kernel[2] : 1;
    return ctx.packed(packer, sources, { ...shape, run_taps, transposed: 0 });
  }
  if (kind !== 'sparse' && kind !== 'packed') return ctx.packed(packer, sources, { ...shape, transposed: 0 });
  const { kind: activation, alpha, beta } = conv.activation;
  const batch = ctx.dims(0)[0] > 1;
  return ctx.packed(packer, sources, {
    ...shape,
    transposed: 0,
    residual,
    ...{ activation, alpha, beta, column_blocks: 0 },
    // Sets the pace of prefetching alone.
    tiles: ctx.once(batch ? 'tiles of a batch' : 'tiles', Math.max(1, tiles)),
    tile_block: 0,
    prefetch_output: batch,
  });
}

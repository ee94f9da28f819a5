/** Geometry of windowed operators: convolutions, pools and their inverses, for any number of spatial axes. */

import type { AttributeType } from '../ir/graph.ts';
import type { Window } from '../ir/segments.ts';
import type { Dim, Shape } from '../ir/shape.ts';
import type { NodeReader } from './op.ts';

/** Attributes that most windowed operators share. */
export const windowAttributes = {
  auto_pad: 'string',
  kernel_shape: 'ints',
  strides: 'ints',
  dilations: 'ints',
  pads: 'ints',
} as const satisfies Record<string, AttributeType>;

/** A sliding window over the spatial axes of `input`: one entry an axis everywhere. */
export interface SpatialWindow {
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Padding before the first element. */
  readonly begin: readonly number[];
  /** Padding after the last element. */
  readonly end: readonly number[];
}

/** The node's window attributes, checked. `pads` is undefined where `auto_pad` decides. */
export interface WindowAttributes {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly autoPad: 'NOTSET' | 'SAME_UPPER' | 'SAME_LOWER' | 'VALID';
  /** Beginnings, then ends. */
  readonly pads: readonly number[];
  readonly ceil: boolean;
}

/** Entries of window attributes beyond this are no sizes of anything, and sums of them lose digits. */
const MOST = 2 ** 31;

/** An attribute with one integer an axis. */
export function perAxis(ctx: NodeReader, name: string, rank: number, fallback: number, least: number): number[] {
  const list = ctx.ints(name, []);
  if (list.length === 0) return new Array<number>(rank).fill(fallback);
  if (list.length !== rank) throw ctx.error(`"${name}" has ${list.length} entries, expected ${rank}`);
  for (const value of list) {
    if (value < least) throw ctx.error(`"${name}" is [${list.join(',')}], expected entries of at least ${least}`);
    if (Math.abs(value) > MOST)
      throw ctx.error(`"${name}" is [${list.join(',')}], expected entries of at most ${MOST}`);
  }
  return [...list];
}

/** Reads the window attributes for `rank` spatial axes; `kernel` is the kernel's size, checked against `kernel_shape`. */
export function readWindow(ctx: NodeReader, rank: number, kernel: readonly number[] | undefined): WindowAttributes {
  const named = ctx.ints('kernel_shape', kernel ?? []);
  if (named.length !== rank) throw ctx.error(`"kernel_shape" has ${named.length} entries, expected ${rank}`);
  const size = kernel ?? named;
  if (size.some((k, i) => k !== named[i])) {
    throw ctx.error(`"kernel_shape" is [${named.join(',')}], but the weight has [${size.join(',')}]`);
  }
  if (size.some((k) => k < 1 || k > MOST)) {
    throw ctx.error(`the kernel is [${size.join(',')}], expected sizes of 1 to ${MOST}`);
  }
  const autoPad = ctx.string('auto_pad', 'NOTSET') || 'NOTSET';
  if (autoPad !== 'NOTSET' && autoPad !== 'SAME_UPPER' && autoPad !== 'SAME_LOWER' && autoPad !== 'VALID') {
    throw ctx.error(`"auto_pad" is "${autoPad}", expected NOTSET, SAME_UPPER, SAME_LOWER or VALID`);
  }
  return {
    kernel: size,
    strides: perAxis(ctx, 'strides', rank, 1, 1),
    dilations: perAxis(ctx, 'dilations', rank, 1, 1),
    autoPad,
    pads: perAxis(ctx, 'pads', 2 * rank, 0, Number.NEGATIVE_INFINITY),
    ceil: ctx.int('ceil_mode', 0) !== 0,
  };
}

/** Elements that the kernel spans along axis `i`. */
export function span(w: Pick<WindowAttributes, 'kernel' | 'dilations'>, i: number): number {
  return (w.kernel[i] - 1) * w.dilations[i] + 1;
}

/** Padding before and after along axis `i` of an input of `size`. */
function padding(w: WindowAttributes, i: number, size: number): [number, number] {
  if (w.autoPad === 'VALID') return [0, 0];
  if (w.autoPad === 'NOTSET') return [w.pads[i], w.pads[w.kernel.length + i]];
  const total = Math.max((Math.ceil(size / w.strides[i]) - 1) * w.strides[i] + span(w, i) - size, 0);
  const small = Math.floor(total / 2);
  return w.autoPad === 'SAME_UPPER' ? [small, total - small] : [total - small, small];
}

function outputSize(ctx: NodeReader, w: WindowAttributes, i: number, size: number): number {
  if (w.autoPad === 'SAME_UPPER' || w.autoPad === 'SAME_LOWER') return Math.ceil(size / w.strides[i]);
  const [begin, end] = padding(w, i, size);
  const room = size + begin + end - span(w, i);
  if (room < 0) {
    throw ctx.error(
      `the kernel spans ${span(w, i)} along spatial axis ${i}, but the padded input has ${size + begin + end}`,
    );
  }
  if (!w.ceil) return Math.floor(room / w.strides[i]) + 1;
  const count = Math.ceil(room / w.strides[i]) + 1;
  // A last window that starts in the padding after the input is left out.
  return (count - 1) * w.strides[i] >= size + begin ? count - 1 : count;
}

/** Output sizes for spatial sizes that may be unknown; a symbol is kept where the window keeps every size. */
export function windowDims(ctx: NodeReader, w: WindowAttributes, spatial: Shape): Dim[] {
  return spatial.map((dim, i) => {
    if (typeof dim === 'number') return outputSize(ctx, w, i, dim);
    if (w.strides[i] !== 1) return null;
    if (w.autoPad === 'SAME_UPPER' || w.autoPad === 'SAME_LOWER') return dim;
    const added = w.autoPad === 'VALID' ? 0 : w.pads[i] + w.pads[w.kernel.length + i];
    return added === span(w, i) - 1 ? dim : null;
  });
}

/** The window over concrete spatial sizes. */
export function makeWindow(ctx: NodeReader, w: WindowAttributes, input: readonly number[]): SpatialWindow {
  const { kernel, strides, dilations } = w;
  const pads = input.map((size, i) => padding(w, i, size));
  const output = input.map((size, i) => outputSize(ctx, w, i, size));
  return { input, output, kernel, strides, dilations, begin: pads.map((p) => p[0]), end: pads.map((p) => p[1]) };
}

/** Kernels count windows and padding up to this. */
const KERNEL_MOST = 2 ** 24;

/**
 * The window over a map of depth, height and width; undefined where there are more spatial axes, or where it is larger
 * than kernels count.
 */
export function mapWindow(w: SpatialWindow): Window | undefined {
  const missing = 3 - w.kernel.length;
  if (missing < 0) return undefined;
  const fill = (list: readonly number[], value: number): [number, number, number] => {
    const [depth, height, width] = [...new Array<number>(missing).fill(value), ...list];
    return [depth, height, width];
  };
  const all = [w.kernel, w.strides, w.dilations, w.begin, w.end].flat();
  if (all.some((entry) => Math.abs(entry) > KERNEL_MOST)) return undefined;
  const last = (w.output[0] - 1) * w.strides[0] + (w.kernel[0] - 1) * w.dilations[0] - w.begin[0];
  return {
    kernel: fill(w.kernel, 1),
    strides: fill(w.strides, 1),
    dilations: fill(w.dilations, 1),
    pads: fill(w.begin, 0),
    depthAfter: missing ? 0 : Math.max(0, last - (w.input[0] - 1)),
  };
}

/** Runs of one kernel tap: output `target[r] + j` sees input `source[r] + j * step` for j < length[r]. */
export interface TapRows {
  readonly count: number;
  readonly source: Int32Array;
  readonly target: Int32Array;
  readonly length: Int32Array;
  readonly step: number;
}

/** Where one tap of one axis falls inside the input: outputs [low, high) see inputs from `first` on. */
interface AxisTap {
  readonly tap: number;
  readonly low: number;
  readonly high: number;
  readonly first: number;
}

function axisTaps(w: SpatialWindow, i: number): AxisTap[] {
  const { input, output, kernel, strides, dilations, begin } = w;
  const taps: AxisTap[] = [];
  // Only taps that can touch the input, so that a huge kernel costs no more than the input.
  const from = Math.max(0, Math.ceil((begin[i] - (output[i] - 1) * strides[i]) / dilations[i]));
  const to = Math.min(kernel[i] - 1, Math.floor((input[i] - 1 + begin[i]) / dilations[i]));
  for (let tap = from; tap <= to; tap++) {
    const shift = tap * dilations[i] - begin[i];
    const low = Math.max(0, Math.ceil(-shift / strides[i]));
    const high = Math.min(output[i], Math.floor((input[i] - 1 - shift) / strides[i]) + 1);
    if (high > low) taps.push({ tap, low, high, first: low * strides[i] + shift });
  }
  return taps;
}

/**
 * Calls `visit` for every kernel tap (row-major, ascending) that sees any input, with its runs. Runs that continue each
 * other in both input and output are joined.
 */
export function forEachTap(w: SpatialWindow, visit: (tap: number, rows: TapRows) => void): void {
  const rank = w.input.length;
  if (rank === 0) {
    const one = Int32Array.of(0);
    visit(0, { count: 1, source: one, target: one, length: Int32Array.of(1), step: 1 });
    return;
  }
  const axes = w.input.map((_, i) => axisTaps(w, i));
  if (axes.some((taps) => taps.length === 0)) return;
  const at = new Array<number>(rank).fill(0);
  for (;;) {
    const chosen = at.map((t, i) => axes[i][t]);
    let tap = 0;
    for (let i = 0; i < rank; i++) tap = tap * w.kernel[i] + chosen[i].tap;
    visit(tap, rowsOf(w, chosen));
    let axis = rank - 1;
    while (axis >= 0 && ++at[axis] === axes[axis].length) at[axis--] = 0;
    if (axis < 0) return;
  }
}

function rowsOf(w: SpatialWindow, taps: readonly AxisTap[]): TapRows {
  const last = taps.length - 1;
  let most = 1;
  for (let i = 0; i < last; i++) most *= taps[i].high - taps[i].low;
  const source = new Int32Array(most);
  const target = new Int32Array(most);
  const length = new Int32Array(most);
  const step = w.strides[last];
  const width = taps[last].high - taps[last].low;
  const at = taps.map((t) => t.low);
  let count = 0;
  for (let r = 0; r < most; r++) {
    let from = 0;
    let to = 0;
    for (let i = 0; i <= last; i++) {
      from = from * w.input[i] + taps[i].first + (at[i] - taps[i].low) * w.strides[i];
      to = to * w.output[i] + at[i];
    }
    const held = count - 1;
    if (count > 0 && to === target[held] + length[held] && from === source[held] + length[held] * step) {
      length[held] += width;
    } else {
      source[count] = from;
      target[count] = to;
      length[count++] = width;
    }
    for (let i = last - 1; i >= 0 && ++at[i] === taps[i].high; i--) at[i] = taps[i].low;
  }
  return { count, source, target, length, step };
}

/** A function of the output position made of one table an axis: the product of the axes' entries, row-major. */
export function outerProduct(tables: readonly (readonly number[])[]): Float64Array {
  let out = Float64Array.of(1);
  for (const table of tables) {
    const next = new Float64Array(out.length * table.length);
    out.forEach((v, i) => {
      table.forEach((t, j) => {
        next[i * table.length + j] = v * t;
      });
    });
    out = next;
  }
  return out;
}

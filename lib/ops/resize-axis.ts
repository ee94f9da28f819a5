/** Resampling along one axis: where every output position looks, and with which weights. */

import { allocate } from '../ir/tensor.ts';
import { doubles } from './elements.ts';

/** How output coordinates map to input coordinates. */
export type CoordinateTransform =
  | 'half_pixel'
  | 'half_pixel_symmetric'
  | 'pytorch_half_pixel'
  | 'align_corners'
  | 'asymmetric'
  | 'tf_half_pixel_for_nn'
  | 'tf_crop_and_resize';

/** `simple` is the rule before version 11: down for magnification, up for reduction. */
export type NearestMode = 'round_prefer_floor' | 'round_prefer_ceil' | 'floor' | 'ceil' | 'simple';

/** One axis to resample. */
export interface ResizeAxis {
  readonly input: number;
  readonly output: number;
  readonly scale: number;
  /** Output length before it was rounded to `output`. */
  readonly length: number;
  readonly transform: CoordinateTransform;
  /** Region of interest in shares of the input, for tf_crop_and_resize. */
  readonly roi: readonly [number, number];
}

/** The input coordinate of output position `x`; `round` rounds every intermediate result. */
function coordinate(axis: ResizeAxis, x: number, round: (v: number) => number): number {
  const { input, output, scale, length, transform, roi } = axis;
  switch (transform) {
    case 'half_pixel':
      return round(round((x + 0.5) / scale) - 0.5);
    case 'pytorch_half_pixel':
      return length > 1 ? round(round((x + 0.5) / scale) - 0.5) : 0;
    case 'half_pixel_symmetric':
      return round((input / 2) * (1 - output / length) + (x + 0.5) / scale - 0.5);
    case 'align_corners':
      return length === 1 ? 0 : round((x * (input - 1)) / (length - 1));
    case 'asymmetric':
      return round(x / scale);
    case 'tf_half_pixel_for_nn':
      return round((x + 0.5) / scale);
    default: {
      const [start, end] = roi;
      const last = input - 1;
      if (length === 1) return round(((start + end) * last) / 2);
      return round(round(start * last) + round(round(round(x * round(end - start)) * last) / (length - 1)));
    }
  }
}

const exact = (v: number): number => v;

function outside(axis: ResizeAxis, x: number): boolean {
  return axis.transform === 'tf_crop_and_resize' && (x < 0 || x > axis.input - 1);
}

const nearestRules: Record<NearestMode, (x: number, scale: number) => number> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
  simple: (x, scale) => (scale < 1 ? Math.ceil(x) : Math.floor(x)),
};

/**
 * The input position nearest to every output position, -1 where the value is extrapolated. Coordinates are computed in
 * single precision, in which a scale such as 1/3 leads back to whole numbers.
 */
export function nearestPositions(axis: ResizeAxis, mode: NearestMode): Int32Array {
  const rule = nearestRules[mode];
  return Int32Array.from({ length: axis.output }, (_, i) => {
    const x = coordinate(axis, i, Math.fround);
    if (outside(axis, x)) return -1;
    return Math.min(Math.max(rule(x, axis.scale), 0), axis.input - 1);
  });
}

/** Weights of the inputs of every output position: `taps` entries each, unused ones of weight 0. */
export interface ResizeWeights {
  readonly taps: number;
  readonly index: Int32Array;
  readonly weight: Float64Array;
  /** Output positions that get the extrapolation value. */
  readonly extrapolated: readonly number[];
}

/** Positions taken as they are, -1 where the value is extrapolated. */
export function pickedPositions(positions: Int32Array): ResizeWeights {
  return {
    taps: 1,
    index: positions,
    weight: new Float64Array(positions.length).fill(1),
    extrapolated: [...positions.keys()].filter((i) => positions[i] < 0),
  };
}

/** An interpolation kernel: zero from `support` on. */
export interface Filter {
  readonly support: number;
  readonly at: (distance: number) => number;
}

/** Linear interpolation. */
export const linearFilter: Filter = { support: 1, at: (d) => Math.max(0, 1 - d) };

/** Cubic convolution with coefficient `a`. */
export function cubicFilter(a: number): Filter {
  const at = (d: number): number => {
    if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
  };
  return { support: 2, at };
}

/**
 * The weights of an axis. `antialias` widens the filter for reductions; `excludeOutside` drops what lies outside the
 * input instead of repeating the border.
 */
export function resizeWeights(
  axis: ResizeAxis,
  filter: Filter,
  antialias: boolean,
  excludeOutside: boolean,
): ResizeWeights {
  const { input, output } = axis;
  const widen = antialias ? Math.min(axis.scale, 1) : 1;
  const reach = filter.support / widen;
  const taps = Math.ceil(2 * reach) + 1;
  const index = allocate('int32', output * taps) as Int32Array;
  const weight = doubles(output * taps);
  const extrapolated: number[] = [];
  for (let i = 0; i < output; i++) {
    const x = coordinate(axis, i, exact);
    if (outside(axis, x)) {
      extrapolated.push(i);
      continue;
    }
    const first = Math.ceil(x - reach);
    let sum = 0;
    for (let t = 0; t < taps; t++) {
      const at = first + t;
      const inside = at >= 0 && at < input;
      const w = inside || !excludeOutside ? filter.at(Math.abs(at - x) * widen) : 0;
      index[i * taps + t] = Math.min(Math.max(at, 0), input - 1);
      weight[i * taps + t] = w;
      sum += w;
    }
    if (!(antialias || excludeOutside) || sum === 0) continue;
    for (let t = 0; t < taps; t++) weight[i * taps + t] /= sum;
  }
  return { taps, index, weight, extrapolated };
}

/** Resamples axis `input` of x [outer, input, inner] to [outer, output, inner]. */
export function resampleAxis(
  x: Float64Array,
  outer: number,
  axis: ResizeAxis,
  inner: number,
  { taps, index, weight, extrapolated }: ResizeWeights,
  extrapolation: number,
): Float64Array {
  const { input, output } = axis;
  const y = doubles(outer * output * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < output; i++) {
      const to = (o * output + i) * inner;
      for (let t = i * taps; t < (i + 1) * taps; t++) {
        const w = weight[t];
        if (w === 0) continue;
        const from = (o * input + index[t]) * inner;
        for (let j = 0; j < inner; j++) y[to + j] += w * x[from + j];
      }
    }
    for (const i of extrapolated) y.fill(extrapolation, (o * output + i) * inner, (o * output + i + 1) * inner);
  }
  return y;
}

/** Object detection: NonMaxSuppression and RoiAlign. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';
import { doubles, expectKinds, expectSame, floatKinds, integerKinds, numberSink, numbersOf } from './elements.ts';
import type { LowerContext } from './lower.ts';
import { noKernel } from './lower-elementwise.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** Most strips of the plane that kept boxes are sorted into. */
const STRIPS = 1024;

/** Boxes of one image, corners and areas an array each, and which of them are kept so far. */
class Boxes {
  readonly #top: Float64Array;
  readonly #left: Float64Array;
  readonly #bottom: Float64Array;
  readonly #right: Float64Array;
  readonly #area: Float64Array;
  readonly #from: number;
  readonly #strip: number;
  #kept: number[][] = [];

  /** `count` boxes from `at` on: [x, y, width, height] where `centred`, else two opposite corners [y, x, y, x]. */
  constructor(values: ArrayLike<number>, at: number, count: number, centred: boolean) {
    const [top, left, bottom, right, area] = Array.from({ length: 5 }, () => doubles(count));
    for (let i = 0; i < count; i++) {
      const [a, b, c, d] = [0, 1, 2, 3].map((k) => values[at + 4 * i + k]);
      top[i] = centred ? b - d / 2 : Math.min(a, c);
      left[i] = centred ? a - c / 2 : Math.min(b, d);
      bottom[i] = centred ? b + d / 2 : Math.max(a, c);
      right[i] = centred ? a + c / 2 : Math.max(b, d);
      area[i] = (bottom[i] - top[i]) * (right[i] - left[i]);
    }
    [this.#top, this.#left, this.#bottom, this.#right, this.#area] = [top, left, bottom, right, area];
    const finite = (x: number): boolean => Number.isFinite(x);
    this.#from = left.filter(finite).reduce((a, b) => Math.min(a, b), 0);
    const to = right.filter(finite).reduce((a, b) => Math.max(a, b), 0);
    // As wide as boxes are on average, so that few touch many.
    const width = right.reduce((sum, x, i) => sum + (finite(x - left[i]) ? x - left[i] : 0), 0) / Math.max(1, count);
    this.#strip = Math.max(width, (to - this.#from) / STRIPS) || 1;
  }

  /** Begins anew with no box kept. */
  clear(): void {
    this.#kept = [];
  }

  /** The first and the last strip that a box touches. */
  #stripsOf(i: number): readonly [number, number] {
    const strip = (x: number): number => {
      const at = Math.floor((x - this.#from) / this.#strip);
      return at >= 0 ? Math.min(at, STRIPS) : 0;
    };
    return [strip(this.#left[i]), strip(this.#right[i])];
  }

  keep(i: number): void {
    const [first, last] = this.#stripsOf(i);
    for (let strip = first; strip <= last; strip++) {
      this.#kept[strip] ??= [];
      this.#kept[strip].push(i);
    }
  }

  /** True where box `i` shares more than `limit` of its union with a kept one; empty boxes share nothing. */
  overlapsKept(i: number, limit: number): boolean {
    if (!(this.#area[i] > 0)) return false;
    const [first, last] = this.#stripsOf(i);
    for (let strip = first; strip <= last; strip++) {
      for (const k of this.#kept[strip] ?? []) if (this.#overlap(i, k) > limit) return true;
    }
    return false;
  }

  /** Intersection over union. */
  #overlap(i: number, k: number): number {
    const width = Math.min(this.#right[k], this.#right[i]) - Math.max(this.#left[k], this.#left[i]);
    const height = Math.min(this.#bottom[k], this.#bottom[i]) - Math.max(this.#top[k], this.#top[i]);
    if (width <= 0 || height <= 0 || !(this.#area[k] > 0)) return 0;
    const shared = width * height;
    return shared / (this.#area[k] + this.#area[i] - shared);
  }
}

function checkBoxes(ctx: NodeReader, boxes: Shape | undefined, scores: Shape | undefined): void {
  if (boxes && (boxes.length !== 3 || (typeof boxes[2] === 'number' && boxes[2] !== 4))) {
    throw ctx.error(`the boxes are ${shapeText(boxes)}, expected [batch, boxes, 4]`);
  }
  const differs = (a: Dim | undefined, b: Dim | undefined): boolean =>
    typeof a === 'number' && typeof b === 'number' && a !== b;
  if (scores && (scores.length !== 3 || differs(scores[0], boxes?.[0]) || differs(scores[2], boxes?.[1]))) {
    throw ctx.error(`the scores are ${shapeText(scores)}, which does not fit boxes of ${shapeText(boxes)}`);
  }
}

/** The one element of an optional input; an empty tensor counts as omitted. */
function optionalScalar(ctx: ReferenceContext, i: number): number | undefined {
  const t = ctx.optional(i);
  return t && sizeOf(t.dims) > 0 ? Number(numbersOf(t)[0]) : undefined;
}

function nonMaxSuppression(ctx: ReferenceContext): HostTensor[] {
  const [bt, st] = [ctx.tensor(0), ctx.tensor(1)];
  checkBoxes(ctx, bt.dims, st.dims);
  const most = optionalScalar(ctx, 2) ?? 0;
  const limit = optionalScalar(ctx, 3) ?? 0;
  const threshold = optionalScalar(ctx, 4) ?? Number.NEGATIVE_INFINITY;
  if (!(limit >= 0 && limit <= 1)) throw ctx.error(`iou_threshold is ${limit}, expected one of [0, 1]`);
  const centred = ctx.int('center_point_box', 0) !== 0;
  const [values, scores] = [numbersOf(bt), numbersOf(st)];
  const [batch, count] = bt.dims;
  const classes = st.dims[1];
  const selected: number[] = [];
  for (let n = 0; n < batch; n++) {
    const boxes = new Boxes(values, 4 * n * count, count, centred);
    for (let c = 0; c < classes; c++) {
      const row = (n * classes + c) * count;
      const order = Array.from({ length: count }, (_, i) => i).filter((i) => scores[row + i] > threshold);
      order.sort((a, b) => scores[row + b] - scores[row + a] || a - b);
      boxes.clear();
      let kept = 0;
      for (const i of order) {
        if (kept >= most) break;
        if (boxes.overlapsKept(i, limit)) continue;
        boxes.keep(i);
        selected.push(n, c, i);
        kept++;
      }
    }
  }
  return [tensor('int64', [selected.length / 3, 3], BigInt64Array.from(selected, BigInt))];
}

interface AlignRule {
  readonly rows: number;
  readonly columns: number;
  readonly scale: number;
  readonly ratio: number;
  readonly max: boolean;
  /** Regions are shifted by half an element, and may be smaller than one. */
  readonly halfPixel: boolean;
}

function readAlign(ctx: NodeReader): AlignRule {
  const mode = ctx.string('mode', 'avg');
  if (mode !== 'avg' && mode !== 'max') throw ctx.error(`"mode" is "${mode}", expected avg or max`);
  const transform = ctx.string('coordinate_transformation_mode', ctx.version < 16 ? 'output_half_pixel' : 'half_pixel');
  if (transform !== 'half_pixel' && transform !== 'output_half_pixel') {
    throw ctx.error(`"coordinate_transformation_mode" is "${transform}", expected half_pixel or output_half_pixel`);
  }
  const [rows, columns] = [ctx.int('output_height', 1), ctx.int('output_width', 1)];
  const ratio = ctx.int('sampling_ratio', 0);
  if (rows < 1 || columns < 1 || ratio < 0)
    throw ctx.error(`output ${rows}x${columns}, sampling_ratio ${ratio} are no sizes`);
  const scale = ctx.float('spatial_scale', 1);
  return { rows, columns, scale, ratio, max: mode === 'max', halfPixel: transform === 'half_pixel' };
}

function alignedShape(
  ctx: NodeReader,
  x: Shape | undefined,
  rois: Shape | undefined,
  images: Shape | undefined,
): Dim[] {
  const { rows, columns } = readAlign(ctx);
  if (x && x.length !== 4) throw ctx.error(`input 0 is ${shapeText(x)}, expected [batch, channels, height, width]`);
  if (rois && (rois.length !== 2 || (typeof rois[1] === 'number' && rois[1] !== 4))) {
    throw ctx.error(`the regions are ${shapeText(rois)}, expected [regions, 4]`);
  }
  const count = rois?.[0] ?? images?.[0] ?? null;
  if (
    images &&
    (images.length !== 1 || (typeof images[0] === 'number' && typeof count === 'number' && images[0] !== count))
  ) {
    throw ctx.error(`batch_indices is ${shapeText(images)}, expected ${shapeText([count])}`);
  }
  return [count, x ? x[1] : null, rows, columns];
}

/** Samples of all bins along one axis: lower neighbour and the weight of the upper one. */
interface AxisPoints {
  /** Samples a bin. */
  readonly perBin: number;
  /** Lower element, -1 for a sample outside. */
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly share: Float64Array;
}

function axisPoints(
  ctx: NodeReader,
  start: number,
  end: number,
  bins: number,
  size: number,
  rule: AlignRule,
): AxisPoints {
  const length = rule.halfPixel ? end - start : Math.max(end - start, 1);
  const bin = length / bins;
  const perBin = rule.ratio > 0 ? rule.ratio : Math.max(Math.ceil(bin), 0);
  if (!(perBin <= 2 ** 20)) throw ctx.error(`a region from ${start} to ${end} is too large to sample`);
  const low = new Int32Array(bins * perBin);
  const high = new Int32Array(bins * perBin);
  const share = new Float64Array(bins * perBin);
  for (let i = 0; i < low.length; i++) {
    const v = start + Math.floor(i / perBin) * bin + (((i % perBin) + 0.5) * bin) / perBin;
    if (!(v >= -1 && v <= size)) {
      low[i] = -1;
      continue;
    }
    const at = Math.max(v, 0);
    low[i] = Math.min(Math.floor(at), size - 1);
    high[i] = Math.min(low[i] + 1, size - 1);
    share[i] = high[i] === low[i] ? 0 : at - low[i];
  }
  return { perBin, low, high, share };
}

/** Pools the samples of bin (row, column) of a plane that begins at `plane`. */
function poolBin(
  x: ArrayLike<number>,
  plane: number,
  width: number,
  vertical: AxisPoints,
  horizontal: AxisPoints,
  [row, column]: readonly [number, number],
  max: boolean,
): number {
  let sum = 0;
  let best = Number.NEGATIVE_INFINITY;
  for (let i = row * vertical.perBin; i < (row + 1) * vertical.perBin; i++) {
    for (let j = column * horizontal.perBin; j < (column + 1) * horizontal.perBin; j++) {
      const outside = vertical.low[i] < 0 || horizontal.low[j] < 0;
      const [lower, upper] = [plane + vertical.low[i] * width, plane + vertical.high[i] * width];
      const [left, right] = [horizontal.low[j], horizontal.high[j]];
      const [v, h] = [vertical.share[i], horizontal.share[j]];
      const a = outside ? 0 : (1 - v) * (1 - h) * x[lower + left];
      const b = outside ? 0 : (1 - v) * h * x[lower + right];
      const c = outside ? 0 : v * (1 - h) * x[upper + left];
      const d = outside ? 0 : v * h * x[upper + right];
      sum += a + b + c + d;
      // The standard takes the largest weighted neighbour, not the largest interpolated value.
      best = Math.max(best, a, b, c, d);
    }
  }
  const count = vertical.perBin * horizontal.perBin;
  if (count === 0) return 0;
  return max ? best : sum / count;
}

function roiAlign(ctx: ReferenceContext): HostTensor[] {
  const [xt, rt, bt] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const rule = readAlign(ctx);
  const dims = alignedShape(ctx, xt.dims, rt.dims, bt.dims) as number[];
  const [batch, channels, height, width] = xt.dims;
  const [x, rois] = [numbersOf(xt), numbersOf(rt)];
  const images = ctx.integers(2);
  const offset = rule.halfPixel ? 0.5 : 0;
  const sink = numberSink(xt.dtype, dims);
  let out = 0;
  for (let r = 0; r < dims[0]; r++) {
    const n = images[r];
    if (!(n >= 0 && n < batch)) throw ctx.error(`region ${r} is of image ${n}, but the batch has ${batch}`);
    const [x1, y1, x2, y2] = [0, 1, 2, 3].map((i) => rois[4 * r + i] * rule.scale - offset);
    const vertical = axisPoints(ctx, y1, y2, rule.rows, height, rule);
    const horizontal = axisPoints(ctx, x1, x2, rule.columns, width, rule);
    if (vertical.perBin * horizontal.perBin > 2 ** 26) throw ctx.error(`region ${r} is too large to sample`);
    for (let c = 0; c < channels; c++) {
      const plane = (n * channels + c) * height * width;
      for (let i = 0; i < rule.rows; i++) {
        for (let j = 0; j < rule.columns; j++) {
          sink.values[out++] = poolBin(x, plane, width, vertical, horizontal, [i, j], rule.max);
        }
      }
    }
  }
  return [sink.finish()];
}

function lowerRoiAlign(ctx: LowerContext): string | undefined {
  if (ctx.dtype(0) !== 'float32') return noKernel(ctx.dtype(0));
  if (!['int32', 'int64'].includes(ctx.dtype(2))) return noKernel(ctx.dtype(2));
  const rule = readAlign(ctx);
  const [images, channels, height, width] = ctx.dims(0);
  if (rule.rows > 2 ** 16 || rule.columns > 2 ** 16 || rule.ratio > 2 ** 16) return 'its grid is very large';
  ctx.step('roialign.f32', [ctx.input(0), ctx.input(1), ctx.input(2), ctx.output(0)], {
    ...{ images, channels, height, width, rois: ctx.dims(1)[0], rows: rule.rows, columns: rule.columns },
    ...{ ratio: rule.ratio, max: Number(rule.max), half: Number(rule.halfPixel) },
    ...{ wide: Number(ctx.dtype(2) === 'int64'), scale: rule.scale },
  });
  return undefined;
}

function suppressionInfer(ctx: InferContext): ValueType[] {
  checkBoxes(ctx, ctx.shape(0), ctx.shape(1));
  expectKinds(ctx, [0, 1, 3, 4], floatKinds);
  expectKinds(ctx, [2], integerKinds);
  return [tensorType('int64', [null, 3])];
}

export const detectionOps: readonly OpDefinition[] = [
  defineOp({
    name: 'NonMaxSuppression',
    since: [10, 11],
    inputs: [2, 5],
    outputs: [1, 1],
    attributes: { center_point_box: 'int' },
    infer: suppressionInfer,
    reference: nonMaxSuppression,
  }),
  defineOp({
    name: 'RoiAlign',
    since: [10, 16, 22],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: {
      coordinate_transformation_mode: 'string',
      mode: 'string',
      output_height: 'int',
      output_width: 'int',
      sampling_ratio: 'int',
      spatial_scale: 'float',
    },
    infer: (ctx) => {
      expectKinds(ctx, [2], integerKinds);
      return [tensorType(expectSame(ctx, 2, floatKinds), alignedShape(ctx, ctx.shape(0), ctx.shape(1), ctx.shape(2)))];
    },
    reference: roiAlign,
    lower: lowerRoiAlign,
  }),
];

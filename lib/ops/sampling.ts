/** Sampling at computed positions: GridSample and AffineGrid. */

import { dtypeInfo } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeBetween, sizeOf, stridesOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, pick, toParts } from '../ir/tensor.ts';
import { doubles, expectKind, expectKinds, floatKinds, integerKinds, numbersOf } from './elements.ts';
import { withExtraElement } from './extra-element.ts';
import type { LowerContext } from './lower.ts';
import { noKernel } from './lower-elementwise.ts';
import { floatInput, intoFloatOutput, servedByFloat32 } from './lower-floats.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { cubicFilter, type Filter, linearFilter } from './resize-axis.ts';
import { saturated } from './saturate.ts';
import { roundHalfEven } from './special-functions.ts';

type Padding = 'zeros' | 'border' | 'reflection';

interface SampleRule {
  /** Undefined for the nearest element. */
  readonly filter: Filter | undefined;
  readonly padding: Padding;
  readonly align: boolean;
}

const filters: Readonly<Record<string, Filter | undefined>> = {
  nearest: undefined,
  linear: linearFilter,
  bilinear: linearFilter,
  cubic: cubicFilter(-0.75),
  bicubic: cubicFilter(-0.75),
};

function readRule(ctx: NodeReader): SampleRule {
  const mode = ctx.string('mode', 'linear');
  if (!Object.hasOwn(filters, mode)) throw ctx.error(`"mode" is "${mode}", expected linear, nearest or cubic`);
  const padding = ctx.string('padding_mode', 'zeros');
  if (padding !== 'zeros' && padding !== 'border' && padding !== 'reflection') {
    throw ctx.error(`"padding_mode" is "${padding}", expected zeros, border or reflection`);
  }
  return { filter: filters[mode], padding, align: ctx.int('align_corners', 0) !== 0 };
}

/** The element that stands at position `at` of an axis, -1 for a zero. */
function paddedIndex(at: number, size: number, { padding, align }: SampleRule): number {
  if (at >= 0 && at < size) return at;
  if (padding === 'zeros' || size === 0) return -1;
  if (padding === 'border') return at < 0 ? 0 : size - 1;
  // Mirrors lie on the border elements or, without aligned corners, between them and the outside.
  const period = align ? Math.max(2 * (size - 1), 1) : 2 * size;
  const within = ((at % period) + period) % period;
  if (within < size) return within;
  return align ? period - within : period - 1 - within;
}

/** Elements along one axis that a sample takes, with weights. */
interface AxisSample {
  readonly index: number[];
  readonly weight: number[];
}

/** Beyond every position of an axis, and still exact in all arithmetic on positions. */
const far = 2 ** 40;

function sampleAxis(coordinate: number, size: number, rule: SampleRule, out: AxisSample): void {
  out.index.length = 0;
  out.weight.length = 0;
  const scaled = rule.align ? ((coordinate + 1) / 2) * (size - 1) : ((coordinate + 1) * size - 1) / 2;
  // What is not a number lies outside.
  const x = Number.isNaN(scaled) ? -far : Math.min(Math.max(scaled, -far), far);
  const add = (at: number, weight: number): void => {
    out.index.push(paddedIndex(at, size, rule));
    out.weight.push(weight);
  };
  if (!rule.filter) {
    add(roundHalfEven(x), 1);
    return;
  }
  const { support, at } = rule.filter;
  for (let i = Math.floor(x) - support + 1; i <= Math.floor(x) + support; i++) add(i, at(Math.abs(i - x)));
}

/** Elements of a plane that one sample takes. */
interface Sample {
  count: number;
  readonly index: number[];
  readonly weight: number[];
}

/** The product of the axes' samples; elements outside are left out. */
function combine(axes: readonly AxisSample[], strides: readonly number[], out: Sample): void {
  out.count = 0;
  const visit = (axis: number, index: number, weight: number): void => {
    if (axis === axes.length) {
      out.index[out.count] = index;
      out.weight[out.count++] = weight;
      return;
    }
    axes[axis].index.forEach((at, i) => {
      if (at >= 0) visit(axis + 1, index + at * strides[axis], weight * axes[axis].weight[i]);
    });
  };
  visit(0, 0, 1);
}

/** Calls `visit` with the sample of every output position of every image. */
function forEachSample(
  x: readonly number[],
  grid: HostTensor,
  rule: SampleRule,
  visit: (image: number, position: number, sample: Sample) => void,
): void {
  const spatial = x.slice(2);
  const rank = spatial.length;
  const strides = stridesOf(spatial);
  const positions = sizeBetween(grid.dims, 1, grid.dims.length - 1);
  const coordinates = numbersOf(grid);
  const axes = spatial.map((): AxisSample => ({ index: [], weight: [] }));
  const sample: Sample = { count: 0, index: [], weight: [] };
  for (let n = 0; n < x[0]; n++) {
    for (let p = 0; p < positions; p++) {
      // The grid's last axis counts the spatial axes from the innermost one.
      const at = (n * positions + p) * rank;
      for (let i = 0; i < rank; i++) sampleAxis(coordinates[at + rank - 1 - i], spatial[i], rule, axes[i]);
      combine(axes, strides, sample);
      visit(n, p, sample);
    }
  }
}

function sampledShape(ctx: NodeReader, x: Shape | undefined, grid: Shape | undefined): Dim[] | undefined {
  if (x && x.length < 3) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
  if (x && x.length > 8) throw ctx.error(`there are ${x.length - 2} spatial axes, expected at most 6`);
  if (x && grid) {
    const axes = grid.at(-1);
    const differs = (a: Dim, b: Dim): boolean => typeof a === 'number' && typeof b === 'number' && a !== b;
    if (grid.length !== x.length || differs(axes ?? null, x.length - 2) || differs(grid[0], x[0])) {
      throw ctx.error(`the grid is ${shapeText(grid)}, which does not fit an input of ${shapeText(x)}`);
    }
  }
  if (!grid) return x && [x[0], x[1], ...x.slice(2).map(() => null)];
  return [x ? x[0] : grid[0], x ? x[1] : null, ...grid.slice(1, -1)];
}

function gridSample(ctx: ReferenceContext): HostTensor[] {
  const [x, grid] = [ctx.tensor(0), ctx.tensor(1)];
  const rule = readRule(ctx);
  const dims = sampledShape(ctx, x.dims, grid.dims) as number[];
  const [, channels] = dims;
  const inPlane = sizeBetween(x.dims, 2, x.dims.length);
  const outPlane = sizeBetween(dims, 2, dims.length);
  if (!rule.filter) {
    const source = doubles(sizeOf(dims));
    const outside = sizeOf(x.dims);
    forEachSample(x.dims, grid, rule, (n, p, { count, index }) => {
      for (let c = n * channels; c < (n + 1) * channels; c++) {
        source[c * outPlane + p] = count ? c * inPlane + index[0] : outside;
      }
    });
    return [pick(withExtraElement(x, 0), dims, (i) => source[i])];
  }
  if (x.dtype === 'string') throw ctx.error('strings can only be sampled in mode "nearest"');
  const parts = dtypeInfo(x.dtype).kind === 'complex' ? 2 : 1;
  const values = toParts(x);
  const y = doubles(sizeOf(dims) * parts);
  forEachSample(x.dims, grid, rule, (n, p, { count, index, weight }) => {
    for (let c = n * channels; c < (n + 1) * channels; c++) {
      for (let part = 0; part < parts; part++) {
        let sum = 0;
        for (let i = 0; i < count; i++) sum += weight[i] * values[(c * inPlane + index[i]) * parts + part];
        y[(c * outPlane + p) * parts + part] = sum;
      }
    }
  });
  return [fromNumbers(x.dtype, dims, saturated(x.dtype, y))];
}

const modeCodes: Readonly<Record<string, number>> = { nearest: 0, linear: 1, bilinear: 1, cubic: 2, bicubic: 2 };
const paddingCodes: Readonly<Record<Padding, number>> = { zeros: 0, border: 1, reflection: 2 };

function lowerGridSample(ctx: LowerContext): string | undefined {
  const odd = [0, 1].find((i) => !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return noKernel(ctx.dtype(odd));
  const [batch, channels, ...spatial] = ctx.dims(0);
  if (spatial.length > 3) return 'more than three spatial axes';
  if (sizeOf(ctx.dims(0)) === 0 || sizeOf(ctx.outputDims(0)) === 0) return 'an empty map';
  const { padding, align } = readRule(ctx);
  const mode = modeCodes[ctx.string('mode', 'linear')];
  const [x, grid] = [floatInput(ctx, 0), floatInput(ctx, 1)];
  const maps = { in: spatial, out: ctx.outputDims(0).slice(2) };
  const params = { batch, channels, mode, padding: paddingCodes[padding], align, ...maps };
  intoFloatOutput(ctx, 0, (y) => ctx.step('grid_sample.f32', [x, grid, y], params));
  return undefined;
}

/** Output shape [N, ..., axes] for the size [N, C, ...] of an image. */
function gridShape(ctx: NodeReader, theta: Shape | undefined, size: readonly number[] | undefined): Dim[] | undefined {
  const axes = size ? size.length - 2 : theta?.[1];
  if (size && ((axes !== 2 && axes !== 3) || size.some((n) => n < 0))) {
    throw ctx.error(`size is [${size.join(',')}], expected batch, channels and two or three sizes`);
  }
  if (theta) {
    const want = [size ? size[0] : null, axes ?? null, typeof axes === 'number' ? axes + 1 : null];
    const differs = want.some((dim, i) => typeof dim === 'number' && typeof theta[i] === 'number' && theta[i] !== dim);
    if (theta.length !== 3 || differs) throw ctx.error(`theta is ${shapeText(theta)}, expected ${shapeText(want)}`);
  }
  return size && [size[0], ...size.slice(2), size.length - 2];
}

function affineGrid(ctx: ReferenceContext): HostTensor[] {
  const theta = ctx.tensor(0);
  const size = ctx.integers(1);
  const dims = gridShape(ctx, theta.dims, size) as number[];
  const align = ctx.int('align_corners', 0) !== 0;
  const spatial = size.slice(2);
  const rank = spatial.length;
  const strides = stridesOf(spatial);
  const positions = sizeOf(spatial);
  const matrix = numbersOf(theta);
  const y = doubles(sizeOf(dims));
  const place = (i: number, n: number): number => {
    if (!align) return (2 * i + 1) / n - 1;
    // A single element lies in the middle.
    return n === 1 ? 0 : (2 * i) / (n - 1) - 1;
  };
  for (let n = 0; n < size[0]; n++) {
    for (let p = 0; p < positions; p++) {
      // Innermost axis first, as in the grid's last axis.
      const point = spatial.map((dim, i) => place(Math.floor(p / strides[i]) % dim, dim)).reverse();
      for (let r = 0; r < rank; r++) {
        const row = (n * rank + r) * (rank + 1);
        let sum = matrix[row + rank];
        for (let k = 0; k < rank; k++) sum += matrix[row + k] * point[k];
        y[(n * positions + p) * rank + r] = sum;
      }
    }
  }
  return [fromNumbers(theta.dtype, dims, y)];
}

function gridInfer(ctx: InferContext): ValueType[] {
  readRule(ctx);
  expectKinds(ctx, [1], floatKinds);
  return [tensorType(ctx.dtype(0), sampledShape(ctx, ctx.shape(0), ctx.shape(1)))];
}

export const samplingOps: readonly OpDefinition[] = [
  defineOp({
    name: 'GridSample',
    since: [16, 20, 22],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { align_corners: 'int', mode: 'string', padding_mode: 'string' },
    infer: gridInfer,
    reference: gridSample,
    lower: lowerGridSample,
  }),
  defineOp({
    name: 'AffineGrid',
    since: [20],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { align_corners: 'int' },
    infer: (ctx) => {
      expectKinds(ctx, [1], integerKinds);
      return [tensorType(expectKind(ctx, 0, floatKinds), gridShape(ctx, ctx.shape(0), ctx.integers(1)))];
    },
    reference: affineGrid,
  }),
];

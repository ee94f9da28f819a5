/** Resize and Upsample. */

import { type DType, dtypeInfo } from '../ir/dtype.ts';
import { type AttributeType, tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, isConcrete, type Shape, shapeText, sizeBetween, sizeOf, stridesOf } from '../ir/shape.ts';
import { allocate, fromNumbers, type HostTensor, pick, tensor, toNumbers, toParts, zeros } from '../ir/tensor.ts';
import { expectKinds, floatKinds, integerKinds } from './elements.ts';
import { withExtraElement } from './extra-element.ts';
import { firstAlone, spareRows } from './keeps-rows.ts';
import type { LowerContext, Operand } from './lower.ts';
import { noKernel } from './lower-elementwise.ts';
import { floatInput, intoFloatOutput, servedByFloat32 } from './lower-floats.ts';
import { lowerAxisMaps } from './lower-movement.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';
import {
  type CoordinateTransform,
  cubicFilter,
  type Filter,
  linearFilter,
  type NearestMode,
  nearestPositions,
  pickedPositions,
  type ResizeAxis,
  type ResizeWeights,
  resampleAxis,
  resizeWeights,
} from './resize-axis.ts';
import { neighbourBorders, resizeSegments } from './resize-segments.ts';
import { saturated } from './saturate.ts';

const transforms: readonly string[] = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
  'tf_half_pixel_for_nn',
  'tf_crop_and_resize',
] satisfies CoordinateTransform[];

const nearestModes: readonly string[] = [
  'round_prefer_floor',
  'round_prefer_ceil',
  'floor',
  'ceil',
] satisfies NearestMode[];

/** What the node asks for, apart from the input: the extents, as far as they are known. */
interface Request {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly transform: CoordinateTransform;
  readonly nearest: NearestMode;
  readonly scales: readonly number[] | undefined;
  readonly sizes: readonly number[] | undefined;
  readonly roi: readonly number[] | undefined;
}

function choice<T extends string>(ctx: NodeReader, name: string, fallback: T, allowed: readonly string[]): T {
  const value = ctx.string(name, fallback);
  if (!allowed.includes(value)) throw ctx.error(`"${name}" is "${value}", expected ${allowed.join(', ')}`);
  return value as T;
}

/** Interpolation mode under its names of all versions. */
function readMode(ctx: NodeReader): Request['mode'] {
  const mode = choice<Request['mode'] | 'bilinear'>(ctx, 'mode', 'nearest', ['nearest', 'linear', 'bilinear', 'cubic']);
  return mode === 'bilinear' ? 'linear' : mode;
}

/** Gives the content of an input as numbers, or undefined where it is omitted, empty, or not known. */
type Reader = (i: number) => readonly number[] | undefined;

function upsampleRequest(ctx: NodeReader, read: Reader): Request {
  const scales =
    ctx.version >= 9
      ? read(1)
      : ctx.version >= 7
        ? ctx.floats('scales')
        : [1, 1, ctx.float('height_scale'), ctx.float('width_scale')];
  const shared = { sizes: undefined, roi: undefined, transform: 'asymmetric', nearest: 'floor' } as const;
  return { mode: readMode(ctx), scales, ...shared };
}

function resizeRequest(ctx: NodeReader, read: Reader): Request {
  const mode = readMode(ctx);
  if (ctx.version < 11) {
    return { mode, transform: 'asymmetric', nearest: 'simple', scales: read(1), sizes: undefined, roi: undefined };
  }
  const transform = choice<CoordinateTransform>(ctx, 'coordinate_transformation_mode', 'half_pixel', transforms);
  const nearest = choice<NearestMode>(ctx, 'nearest_mode', 'round_prefer_floor', nearestModes);
  return { mode, transform, nearest, scales: read(2), sizes: read(3), roi: read(1) };
}

/** The axes that scales, sizes and regions speak of. */
function axesOf(ctx: NodeReader, rank: number): number[] {
  const listed = ctx.ints('axes', []);
  if (listed.length === 0) return Array.from({ length: rank }, (_, i) => i);
  const axes = listed.map((axis) => normalizeAxis(ctx, axis, rank));
  if (new Set(axes).size !== axes.length) throw ctx.error(`"axes" [${listed.join(',')}] repeats an axis`);
  return axes;
}

function checkCount(ctx: NodeReader, what: string, list: readonly number[], count: number): void {
  if (list.length !== count) throw ctx.error(`${what} has ${list.length} entries, expected ${count}`);
}

/** An extent: the output size, its length before rounding, and the scale. */
interface Extent {
  readonly output: number;
  readonly length: number;
  readonly scale: number;
}

function scaledExtent(ctx: NodeReader, size: number, scale: number): Extent {
  if (!(scale > 0)) throw ctx.error(`a scale is ${scale}, expected a positive number`);
  return { output: Math.floor(Math.fround(size * scale)), length: size * scale, scale };
}

/** Extents of the resized axes of known size. */
function extents(ctx: NodeReader, input: readonly number[], request: Request): Extent[] | undefined {
  const { scales, sizes } = request;
  if (scales && sizes) throw ctx.error('both scales and sizes are given');
  if (scales) {
    checkCount(ctx, 'scales', scales, input.length);
    return input.map((size, i) => scaledExtent(ctx, size, scales[i]));
  }
  if (!sizes) return undefined;
  checkCount(ctx, 'sizes', sizes, input.length);
  if (sizes.some((size) => size < 0)) throw ctx.error(`sizes is [${sizes.join(',')}], expected no negative ones`);
  const ratios = sizes.map((size, i) => size / input[i]);
  const policies = ['stretch', 'not_larger', 'not_smaller'];
  const policy = choice(ctx, 'keep_aspect_ratio_policy', 'stretch', policies);
  if (policy === 'stretch') return sizes.map((size, i) => ({ output: size, length: size, scale: ratios[i] }));
  const scale = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios);
  return input.map((size) => ({ output: Math.floor(scale * size + 0.5), length: scale * size, scale }));
}

function resizedShape(ctx: NodeReader, x: Shape | undefined, request: Request): Dim[] | undefined {
  if (!x) return undefined;
  const axes = axesOf(ctx, x.length);
  const picked = axes.map((axis) => x[axis]);
  const out = [...x];
  const { scales, sizes } = request;
  if (isConcrete(picked)) {
    const known = extents(ctx, picked, request);
    axes.forEach((axis, i) => {
      out[axis] = known ? known[i].output : null;
    });
    return out;
  }
  const stretched = sizes && ctx.string('keep_aspect_ratio_policy', 'stretch') === 'stretch';
  const listed = scales ?? sizes;
  if (listed) checkCount(ctx, scales ? 'scales' : 'sizes', listed, axes.length);
  axes.forEach((axis, i) => {
    const dim = x[axis];
    if (stretched) out[axis] = sizes[i];
    else if (scales && typeof dim === 'number') out[axis] = scaledExtent(ctx, dim, scales[i]).output;
    else if (scales?.[i] !== 1) out[axis] = null;
  });
  return out;
}

/** Nearest mode: every element is one of the input's, or the extrapolation value. */
function resizeNearest(
  x: HostTensor,
  dims: readonly number[],
  positions: readonly Int32Array[],
  fill: number,
): HostTensor {
  const from = stridesOf(x.dims);
  const to = stridesOf(dims);
  const count = sizeOf(x.dims);
  const index = (i: number): number => {
    let rest = i;
    let at = 0;
    for (let axis = 0; axis < dims.length; axis++) {
      const position = positions[axis][Math.floor(rest / to[axis])];
      if (position < 0) return count;
      at += position * from[axis];
      rest %= to[axis];
    }
    return at;
  };
  if (positions.every((list) => list.every((p) => p >= 0))) return pick(x, dims, index);
  return pick(withExtraElement(x, fill), dims, index);
}

function filterOf(ctx: NodeReader, mode: string): Filter {
  return mode === 'cubic' ? cubicFilter(ctx.float('cubic_coeff_a', -0.75)) : linearFilter;
}

const isKept = (axis: ResizeAxis): boolean =>
  axis.output === axis.input && axis.scale === 1 && axis.transform !== 'tf_crop_and_resize';

function resizeFiltered(
  ctx: NodeReader,
  x: HostTensor,
  axes: readonly ResizeAxis[],
  mode: string,
  fill: number,
): HostTensor {
  if (x.dtype === 'string') throw ctx.error(`strings cannot be resized in mode "${mode}"`);
  const filter = filterOf(ctx, mode);
  const antialias = ctx.int('antialias', 0) !== 0;
  const exclude = ctx.int('exclude_outside', 0) !== 0;
  const dims = [...x.dims];
  // The two parts of complex numbers are one more innermost axis.
  const parts = dtypeInfo(x.dtype).kind === 'complex' ? 2 : 1;
  let values = toParts(x);
  axes.forEach((axis, i) => {
    if (isKept(axis)) return;
    const inner = sizeBetween(dims, i + 1, dims.length) * parts;
    const weights = resizeWeights(axis, filter, antialias, exclude);
    values = resampleAxis(values, sizeBetween(dims, 0, i), axis, inner, weights, fill);
    dims[i] = axis.output;
  });
  return fromNumbers(x.dtype, dims, saturated(x.dtype, values));
}

/** How every axis of a tensor is resampled. */
function resizeAxes(ctx: NodeReader, whole: readonly number[], request: Request): ResizeAxis[] {
  const chosen = axesOf(ctx, whole.length);
  const input = chosen.map((axis) => whole[axis]);
  const known = extents(ctx, input, request);
  if (!known) throw ctx.error('neither scales nor sizes are given');
  const crops = request.transform === 'tf_crop_and_resize';
  if (crops) checkCount(ctx, 'roi', request.roi ?? [], 2 * chosen.length);
  return whole.map((size, axis): ResizeAxis => {
    const i = chosen.indexOf(axis);
    const { transform } = request;
    if (i < 0) return { input: size, output: size, length: size, scale: 1, transform: 'asymmetric', roi: [0, 1] };
    const roi: [number, number] = request.roi && crops ? [request.roi[i], request.roi[chosen.length + i]] : [0, 1];
    return { input: size, ...known[i], transform, roi };
  });
}

function resize(ctx: ReferenceContext, request: Request): HostTensor[] {
  const x = ctx.tensor(0);
  const axes = resizeAxes(ctx, x.dims, request);
  const dims = axes.map((axis) => axis.output);
  if (sizeOf(dims) === 0) return [zeros(x.dtype, dims)];
  if (sizeOf(x.dims) === 0)
    throw ctx.error(`an empty input ${shapeText(x.dims)} cannot be resized to ${shapeText(dims)}`);
  // Fails early where the output cannot be held.
  allocate('uint8', sizeOf(dims));
  const fill = ctx.float('extrapolation_value', 0);
  if (request.mode !== 'nearest') return [resizeFiltered(ctx, x, axes, request.mode, fill)];
  return [
    resizeNearest(
      x,
      dims,
      axes.map((axis) => nearestPositions(axis, request.nearest)),
      fill,
    ),
  ];
}

/** One pass for every axis that changes: gathers for nearest, weighted sums for the filters. */
function lowerResize(ctx: LowerContext, request: Request): string | undefined {
  if (!request.scales && !request.sizes) return 'extents that are not known';
  const whole = ctx.dims(0);
  const axes = resizeAxes(ctx, whole, request);
  if (sizeOf(whole) === 0 || axes.some((axis) => axis.output === 0)) return 'an empty tensor';
  if (lowerSegments(ctx, request, axes)) return undefined;
  if (request.mode === 'nearest') {
    const maps = axes.map((axis) => Float64Array.from(nearestPositions(axis, request.nearest)));
    return maps.some((map) => map.includes(-1)) ? 'extrapolation' : lowerAxisMaps(ctx, maps, undefined);
  }
  if (!servedByFloat32(ctx.dtype(0))) return noKernel(ctx.dtype(0));
  const passes = axes.flatMap((axis, at) =>
    isKept(axis) ? [] : [{ at, axis, weights: axisWeights(ctx, axis, request) }],
  );
  if (passes.some(({ weights }) => weights.extrapolated.length > 0)) return 'extrapolation';
  if (passes.length === 0) {
    ctx.alias(0, 0);
    return undefined;
  }
  // Few numbers are made along the last axis, where they come one by one: it shrinks last and grows first.
  const grows = ({ axis }: (typeof passes)[number]): boolean => axis.output > axis.input;
  passes.sort((a, b) => Number(grows(a)) - Number(grows(b)) || (grows(a) ? b.at - a.at : a.at - b.at));
  const x = floatInput(ctx, 0);
  intoFloatOutput(ctx, 0, (y) => {
    let held = x;
    passes.forEach(({ at, axis, weights }, k) => {
      const dims = held.dims.map((dim, i) => (i === at ? axis.output : dim));
      const to = k === passes.length - 1 ? y : ctx.scratch('float32', dims);
      resampleStep(ctx, [held, to], at, axis, weights);
      held = to;
    });
  });
  return undefined;
}

/** Where every position of an axis looks. */
function axisWeights(ctx: NodeReader, axis: ResizeAxis, { mode, nearest }: Request): ResizeWeights {
  if (mode === 'nearest') return pickedPositions(nearestPositions(axis, nearest));
  return resizeWeights(axis, filterOf(ctx, mode), ctx.int('antialias', 0) !== 0, ctx.int('exclude_outside', 0) !== 0);
}

/** Resamples positions of a map that lies in segments; false where it has to be done row-major. */
function lowerSegments(ctx: LowerContext, request: Request, axes: readonly ResizeAxis[]): boolean {
  const spatial = axes.length - 2;
  if (spatial < 1 || spatial > 3 || !axes.slice(0, -2).every(isKept) || (spatial === 1 && !isKept(axes[1])))
    return false;
  if (axes.every(isKept) || ctx.segmentsOf(0)?.axis !== 'planes') return false;
  const still: ResizeAxis = { input: 1, output: 1, length: 1, scale: 1, transform: 'asymmetric', roi: [0, 1] };
  const [rows, columns] = (spatial === 1 ? [still, axes[2]] : axes.slice(-2)).map((axis) => ({
    axis,
    weights: axisWeights(ctx, axis, request),
  }));
  return resizeSegments(ctx, rows, columns);
}

function resampleStep(
  ctx: LowerContext,
  [x, y]: readonly [Operand, Operand],
  at: number,
  axis: ResizeAxis,
  { taps, index, weight }: ResizeWeights,
): void {
  const { input, output } = axis;
  const key = `axis ${at}: ${JSON.stringify(axis)}`;
  const indices = ctx.literal(`indices of ${key}`, () => tensor('int32', [output, taps], index));
  const factors = ctx.literal(`weights of ${key}`, () => fromNumbers('float32', [output, taps], weight));
  const inner = sizeBetween(x.dims, at + 1, x.dims.length);
  const params = { outer: sizeBetween(x.dims, 0, at), axis: input, out: output, inner, taps };
  ctx.step('resample.f32', [x, indices, factors, y], params);
}

/** Reader for inference: contents where they are constant. */
function constantReader(ctx: Pick<InferContext, 'has' | 'constant'>): Reader {
  return (i) => {
    const t = ctx.has(i) ? ctx.constant(i) : undefined;
    return t && sizeOf(t.dims) > 0 ? Array.from(toNumbers(t)) : undefined;
  };
}

function inputReader(ctx: ReferenceContext): Reader {
  return (i) => {
    const t = ctx.optional(i);
    return t && sizeOf(t.dims) > 0 ? Array.from(toNumbers(t)) : undefined;
  };
}

/** True where axis 0 stays as it is: by a scale of 1, or sizes that keep its size. */
const keepsResizedRows: NonNullable<OpDefinition['keepsRows']> = (node, inputs) => {
  const crops = node.string('coordinate_transformation_mode', '') === 'tf_crop_and_resize';
  const fits = node.string('keep_aspect_ratio_policy', 'stretch') === 'stretch';
  if (!firstAlone(inputs) || crops || !fits) return false;
  const axes = node.ints('axes', []);
  if (axes.length > 0) return spareRows(axes, inputs.ranks[0]);
  const scales = inputs.numbers(node.op === 'Upsample' || node.version < 11 ? 1 : 2);
  return scales && scales.length > 0 ? scales[0] === 1 : node.has(3);
};

function resizer(
  name: string,
  since: readonly number[],
  until: number | undefined,
  attributes: Record<string, AttributeType>,
  request: (ctx: NodeReader, read: Reader) => Request,
): OpDefinition {
  return defineOp({
    name,
    since,
    until,
    inputs: [1, name === 'Resize' ? 4 : 2],
    outputs: [1, 1],
    attributes: { mode: 'string', ...attributes },
    infer: (ctx): ValueType[] => {
      const dtype: DType = ctx.dtype(0);
      if (ctx.version < 11) expectKinds(ctx, [1], floatKinds);
      else {
        expectKinds(ctx, [1, 2], floatKinds);
        expectKinds(ctx, [3], integerKinds);
      }
      return [tensorType(dtype, resizedShape(ctx, ctx.shape(0), request(ctx, constantReader(ctx))))];
    },
    borders: (node) => (readMode(node) === 'nearest' ? undefined : neighbourBorders),
    keepsRows: keepsResizedRows,
    sizeInputs: name === 'Resize' ? [3] : [],
    reference: (ctx) => resize(ctx, request(ctx, inputReader(ctx))),
    lower: (ctx) => lowerResize(ctx, request(ctx, constantReader(ctx))),
  });
}

const resizeAttributes: Record<string, AttributeType> = {
  antialias: 'int',
  axes: 'ints',
  coordinate_transformation_mode: 'string',
  cubic_coeff_a: 'float',
  exclude_outside: 'int',
  extrapolation_value: 'float',
  keep_aspect_ratio_policy: 'string',
  nearest_mode: 'string',
};

export const resizeOps: readonly OpDefinition[] = [
  resizer('Resize', [10, 11, 13, 18, 19], undefined, resizeAttributes, resizeRequest),
  resizer('Upsample', [1, 7, 9], 9, { scales: 'floats', height_scale: 'float', width_scale: 'float' }, upsampleRequest),
];

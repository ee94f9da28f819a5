/** Operators that take parts of a tensor: Slice, Split, ReverseSequence, Trilu. */

import { tensorType } from '../ir/graph.ts';
import { segmentChannels } from '../ir/segments.ts';
import { type Dim, type Shape, shapeText, sizeOf, stridesOf } from '../ir/shape.ts';
import { type HostTensor, unpacked } from '../ir/tensor.ts';
import { inferIntegers, normalizeAxes, readIntegers, unknownDims } from './axes.ts';
import { axesOf, firstAlone, keepsBeside, spareRows } from './keeps-rows.ts';
import type { LowerContext } from './lower.ts';
import { wholeBytes } from './lower-elementwise.ts';
import { immovable, lowerMove, moveStep, type StridedMove, tooManyAxes } from './lower-movement.ts';
import { Assembly, strided } from './movement.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';

/** Where a slice of one axis starts, and how many elements it takes at which step. */
interface AxisSlice {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

const clamp = (v: number, low: number, high: number): number => Math.min(Math.max(v, low), high);

/** The slice of an axis of `dim` elements; unlike in numpy, a negative step starts inside of it at the latest. */
function sliceAxis(dim: number, start: number, end: number, step: number): AxisSlice {
  const from = start < 0 ? start + dim : start;
  const to = end < 0 ? end + dim : end;
  const first = step > 0 ? clamp(from, 0, dim) : clamp(from, 0, dim - 1);
  const last = step > 0 ? clamp(to, 0, dim) : clamp(to, -1, dim - 1);
  return { start: first, step, count: Math.max(Math.ceil((last - first) / step), 0) };
}

/** The four lists of a slice, with their defaults filled in. */
interface SliceLists {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly axes: readonly number[];
  readonly steps: readonly number[];
}

function checkLists(ctx: NodeReader, rank: number, lists: Partial<SliceLists>): SliceLists {
  const { starts, ends } = lists;
  if (!starts || !ends) throw ctx.error('starts and ends are required');
  const axes = normalizeAxes(ctx, lists.axes ?? starts.map((_, i) => i), rank);
  const steps = lists.steps ?? starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    throw ctx.error(`starts, ends, axes and steps differ in length, starts has ${starts.length}`);
  }
  if (steps.includes(0)) throw ctx.error('a step is 0');
  return { starts, ends, axes, steps };
}

/** The size of a sliced axis whose own size is not a number: known only where everything is taken. */
function symbolicSlice(dim: Dim, start: number, end: number, step: number): Dim {
  const everything = 2 ** 31 - 1;
  if (step === 1 && start === 0 && end >= everything) return dim;
  if (step === -1 && (start === -1 || start >= everything) && end <= -everything) return dim;
  return null;
}

function inferSlice(ctx: InferContext): Shape | undefined {
  const shape = ctx.shape(0);
  if (!shape) return undefined;
  const lists = ['starts', 'ends', 'axes'].map((name, i) => inferIntegers(ctx, name, i + 1, 10));
  const steps = ctx.version >= 10 && ctx.has(4) ? (ctx.integers(4) ?? null) : undefined;
  const [starts, ends, axes] = lists;
  if (axes === null) return unknownDims(shape.length);
  if (starts === null || ends === null || steps === null) {
    const touched = axes && new Set(normalizeAxes(ctx, axes, shape.length));
    return shape.map((dim, i) => (touched && !touched.has(i) ? dim : null));
  }
  const known = checkLists(ctx, shape.length, { starts, ends, axes, steps });
  const out: Dim[] = [...shape];
  known.axes.forEach((axis, k) => {
    const dim = shape[axis];
    const [start, end, step] = [known.starts[k], known.ends[k], known.steps[k]];
    out[axis] = typeof dim === 'number' ? sliceAxis(dim, start, end, step).count : symbolicSlice(dim, start, end, step);
  });
  return out;
}

/** A part of a tensor: its shape, and how it lies in the whole. */
interface Part {
  readonly dims: number[];
  readonly strides: number[];
  readonly offset: number;
}

function slicePart(ctx: NodeReader, whole: readonly number[], given: Partial<SliceLists>): Part {
  const lists = checkLists(ctx, whole.length, given);
  const strides = stridesOf(whole);
  const dims = [...whole];
  let offset = 0;
  lists.axes.forEach((axis, k) => {
    const part = sliceAxis(whole[axis], lists.starts[k], lists.ends[k], lists.steps[k]);
    dims[axis] = part.count;
    offset += part.start * strides[axis];
    strides[axis] *= part.step;
  });
  return { dims, strides, offset };
}

function slice(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const [starts, ends, axes] = ['starts', 'ends', 'axes'].map((name, i) => readIntegers(ctx, name, i + 1, 10));
  const steps = ctx.version >= 10 && ctx.has(4) ? ctx.integers(4) : undefined;
  const part = slicePart(ctx, x.dims, { starts, ends, axes, steps });
  return strided(x, part.dims, part.strides, part.offset);
}

function lowerSlice(ctx: LowerContext): string | undefined {
  const [starts, ends, axes] = ['starts', 'ends', 'axes'].map((name, i) => inferIntegers(ctx, name, i + 1, 10));
  const steps = ctx.version >= 10 && ctx.has(4) ? (ctx.integers(4) ?? null) : undefined;
  if (starts === null || ends === null || axes === null || steps === null) return 'bounds that are not known';
  const lists = { starts, ends, axes, steps };
  const part = slicePart(ctx, ctx.dims(0), lists);
  const first = firstChannel(ctx, part);
  if (first !== undefined && inSegments(ctx, [first, first + part.dims[1]])) {
    ctx.sliceSegments(0, 0, first);
    return undefined;
  }
  return lowerMove(ctx, part.dims, part.strides, part.offset);
}

/** The first channel of a part that is some neighbouring channels of all positions of a map; undefined for others. */
function firstChannel(ctx: LowerContext, part: Part): number | undefined {
  const dims = ctx.dims(0);
  const strides = stridesOf(dims);
  const only = dims.every((dim, axis) => axis === 1 || dim === part.dims[axis]);
  return only && part.strides.every((stride, axis) => stride === strides[axis]) && part.dims[1] > 0
    ? part.offset / strides[1]
    : undefined;
}

/** True where input 0 lies in segments that can be cut before these channels. */
function inSegments(ctx: LowerContext, cuts: readonly number[]): boolean {
  const dims = ctx.dims(0);
  if (sizeOf(dims) === 0 || ctx.segmentsOf(0)?.axis !== 'planes') return false;
  return cuts.every((channel) => channel === dims[1] || segmentChannels(ctx.dtype(0), channel));
}

/** The outputs that are wanted, each one copy, or none where input 0 lies in segments and channels are split. */
function lowerSplit(ctx: LowerContext): string | undefined {
  const dims = ctx.dims(0);
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), dims.length);
  const split = inferIntegers(ctx, 'split', 1, splitSince(ctx));
  if (split === null) return 'sizes that are not known';
  const reason = immovable(ctx);
  if (reason) return reason;
  const sizes = splitSizes(ctx, dims[axis], split);
  const firsts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
  if (axis === 1 && !sizes.includes(0) && inSegments(ctx, firsts)) {
    firsts.forEach((first, i) => {
      if (ctx.wants(i)) ctx.sliceSegments(i, 0, first);
    });
    return undefined;
  }
  const strides = stridesOf(dims);
  let start = 0;
  const moves = sizes.map((size): StridedMove => {
    start += size;
    const part = dims.map((dim, i) => (i === axis ? size : dim));
    return { dims: part, x: strides, y: stridesOf(part), xOffset: (start - size) * strides[axis] };
  });
  const many = tooManyAxes(moves);
  if (many) return many;
  const x = ctx.input(0);
  moves.forEach((move, i) => {
    if (ctx.wants(i)) moveStep(ctx, x, ctx.output(i), move);
  });
  return undefined;
}

/** `count` elements of `axis` from `start` on. */
export function sliceOf(t: HostTensor, axis: number, start: number, count: number): HostTensor {
  const strides = stridesOf(t.dims);
  const dims = t.dims.map((dim, i) => (i === axis ? count : dim));
  return strided(t, dims, strides, start * strides[axis]);
}

/** Sizes of equal parts; the last is smaller where `dim` is no multiple, which versions before 18 refuse. */
function equalParts(ctx: NodeReader, dim: number): number[] {
  const count = ctx.version >= 18 ? ctx.int('num_outputs', ctx.outputCount) : ctx.outputCount;
  if (count !== ctx.outputCount) throw ctx.error(`num_outputs is ${count}, the node has ${ctx.outputCount} outputs`);
  if (ctx.version < 18 && dim % count !== 0)
    throw ctx.error(`a size of ${dim} does not split into ${count} equal parts`);
  const part = Math.ceil(dim / count);
  return Array.from({ length: count }, (_, i) => clamp(dim - i * part, 0, part));
}

function splitSizes(ctx: NodeReader, dim: number, split: readonly number[] | undefined): readonly number[] {
  if (!split || split.length === 0) return equalParts(ctx, dim);
  const sum = split.reduce((a, b) => a + b, 0);
  if (sum !== dim || split.some((part) => part < 0) || split.length < ctx.outputCount) {
    throw ctx.error(`the parts [${split.join(',')}] do not split a size of ${dim} into ${ctx.outputCount} outputs`);
  }
  return split;
}

/** Version 1 takes the sizes as an attribute or as input 1, versions 2 to 12 as an attribute, later ones as input 1. */
function splitSince(ctx: NodeReader): number {
  return ctx.version === 1 && ctx.has(1) ? 1 : 13;
}

function inferSplit(ctx: InferContext): (Shape | undefined)[] {
  const shape = ctx.shape(0);
  const outputs = Array.from({ length: ctx.outputCount });
  if (!shape) return outputs.map(() => undefined);
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), shape.length);
  const split = inferIntegers(ctx, 'split', 1, splitSince(ctx));
  const dim = shape[axis];
  const sizes = split !== null && typeof dim === 'number' ? splitSizes(ctx, dim, split) : (split ?? []);
  return outputs.map((_, i) => shape.map((d, k) => (k === axis ? (sizes[i] ?? null) : d)));
}

function split(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), x.dims.length);
  const sizes = splitSizes(ctx, x.dims[axis], readIntegers(ctx, 'split', 1, splitSince(ctx)));
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return sliceOf(x, axis, start - size, size);
  });
}

function reverseSequence(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const [batchAxis, timeAxis] = [ctx.int('batch_axis', 1), ctx.int('time_axis', 0)];
  if (x.dims.length < 2 || Math.min(batchAxis, timeAxis) !== 0 || Math.max(batchAxis, timeAxis) !== 1) {
    throw ctx.error(`batch_axis ${batchAxis} and time_axis ${timeAxis} must be 0 and 1, on ${shapeText(x.dims)}`);
  }
  const lengths = ctx.integers(1);
  const [batch, time] = [x.dims[batchAxis], x.dims[timeAxis]];
  if (lengths.length !== batch || lengths.some((length) => length < 0 || length > time)) {
    throw ctx.error(`sequence_lens [${lengths.join(',')}] does not fit ${batch} sequences of ${time} steps`);
  }
  const strides = stridesOf(x.dims);
  const block = sizeOf(x.dims.slice(2));
  const out = new Assembly(x.dtype, x.dims);
  const from = unpacked(x);
  for (let b = 0; b < batch && block > 0; b++) {
    for (let s = 0; s < time; s++) {
      const source = s < lengths[b] ? lengths[b] - 1 - s : s;
      const base = b * strides[batchAxis];
      out.copy(from, base + source * strides[timeAxis], base + s * strides[timeAxis], block);
    }
  }
  return out.tensor();
}

function trilu(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const rank = x.dims.length;
  const upper = ctx.int('upper', 1) !== 0;
  const k = ctx.has(1) ? ctx.integers(1)[0] : 0;
  const [rows, columns] = [x.dims[rank - 2], x.dims[rank - 1]];
  const matrices = sizeOf(x.dims.slice(0, rank - 2));
  const out = new Assembly(x.dtype, x.dims);
  const from = unpacked(x);
  for (let row = 0; row < matrices * rows && columns > 0; row++) {
    const diagonal = (row % rows) + k;
    const start = upper ? clamp(diagonal, 0, columns) : 0;
    const end = upper ? columns : clamp(diagonal + 1, 0, columns);
    if (end > start) out.copy(from, row * columns + start, row * columns + start, end - start);
  }
  return out.tensor();
}

function lowerTrilu(ctx: LowerContext): string | undefined {
  const dims = ctx.dims(0);
  const k = ctx.has(1) ? ctx.integers(1)?.[0] : 0;
  const reason = immovable(ctx);
  if (reason) return reason;
  if (k === undefined || !Number.isSafeInteger(k)) return 'a diagonal that is not known';
  const [rows, columns] = dims.slice(-2);
  ctx.step('triangle', [ctx.input(0), ctx.output(0)], {
    width: wholeBytes(ctx.dtype(0)),
    upper: ctx.int('upper', 1) !== 0,
    batch: sizeOf(dims.slice(0, -2)),
    rows,
    columns,
    k,
  });
  return undefined;
}

/** More rows than any batch has: what exporters write who mean all. */
const ALL_ROWS = 1e9;

/** True where axis 0 is left as it is. */
const keepsSlicedRows: NonNullable<OpDefinition['keepsRows']> = (node, inputs) => {
  const [starts, ends, axes] = ['starts', 'ends', 'axes'].map((name, i) => axesOf(node, inputs, [name, i + 1, 10]));
  const steps = node.version >= 10 && node.has(4) ? inputs.numbers(4) : starts?.map(() => 1);
  const known = node.version >= 10 && node.has(3) ? axes : (axes ?? starts?.map((_, i) => i));
  if (!firstAlone(inputs) || !starts || !ends || !steps || !known) return false;
  const cut = known.filter((_, i) => starts[i] !== 0 || ends[i] < ALL_ROWS || steps[i] !== 1);
  return spareRows(cut, inputs.ranks[0]);
};

export const sliceOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Slice',
    since: [1, 10, 11, 13],
    inputs: [1, 5],
    outputs: [1, 1],
    attributes: { starts: 'ints', ends: 'ints', axes: 'ints' },
    traits: ['movement'],
    channels: () => 'slice',
    keepsRows: keepsSlicedRows,
    infer: (ctx) => [tensorType(ctx.dtype(0), inferSlice(ctx))],
    reference: (ctx) => [slice(ctx)],
    lower: lowerSlice,
  }),
  defineOp({
    name: 'Split',
    since: [1, 2, 11, 13, 18],
    inputs: [1, 2],
    outputs: [1, Number.POSITIVE_INFINITY],
    attributes: { axis: 'int', split: 'ints', num_outputs: 'int' },
    traits: ['movement'],
    channels: (node, rank) => (normalizeAxis(node, node.int('axis', 0), rank) === 1 ? 'split' : undefined),
    keepsRows: keepsBeside((node) => node.int('axis', 0)),
    infer: (ctx) => inferSplit(ctx).map((shape) => tensorType(ctx.dtype(0), shape)),
    reference: (ctx) => split(ctx),
    lower: lowerSplit,
  }),
  defineOp({
    name: 'ReverseSequence',
    since: [10, 28],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { batch_axis: 'int', time_axis: 'int' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: (ctx) => [reverseSequence(ctx)],
  }),
  defineOp({
    name: 'Trilu',
    since: [14],
    inputs: [1, 2],
    outputs: [1, 1],
    attributes: { upper: 'int' },
    infer: (ctx) => {
      const shape = ctx.shape(0);
      if (shape && shape.length < 2) throw ctx.error(`the input is ${shapeText(shape)}, expected at least rank 2`);
      return [tensorType(ctx.dtype(0), shape)];
    },
    keepsRows: (_, inputs) => firstAlone(inputs) && inputs.ranks[0] > 2,
    reference: (ctx) => [trilu(ctx)],
    lower: lowerTrilu,
  }),
];

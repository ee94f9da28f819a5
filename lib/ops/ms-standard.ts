/** Operators of com.microsoft that the default domain has too, or nearly. */

import type { DType } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, shapeText, sizeBetween } from '../ir/shape.ts';
import { fromNumbers, type HostValue, int64Vector, pick, reshaped, toNumbers } from '../ir/tensor.ts';
import { type Delegation, delegateInfer, delegateReference, member } from './delegate.ts';
import { comparables } from './elements.ts';
import { gatherOps } from './gather.ts';
import { defineOp, type InferContext, normalizeAxis, type OpDefinition, type ReferenceContext } from './op.ts';
import { padOps } from './pad.ts';
import { samplingOps } from './sampling.ts';
import { sliceOps } from './slice.ts';

const domain = 'com.microsoft';

/** The default domain's operator of the same name, as it was in `version`. */
function same(
  family: readonly OpDefinition[],
  name: string,
  version: number,
  inputs: readonly [number, number],
  attributes?: OpDefinition['attributes'],
): OpDefinition {
  const delegation: Delegation = { op: member(family, name), version };
  return defineOp({
    name,
    domain,
    since: [1],
    inputs,
    outputs: [1, 1],
    attributes,
    infer: (ctx) => delegateInfer(ctx, delegation),
    reference: (ctx) => delegateReference(ctx, delegation),
  });
}

/** Distinct elements in the order in which they occur, where each went, and how often each came. */
function unique(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const values = comparables(x);
  const places = new Map<unknown, number>();
  const [first, counts, index]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < values.length; i++) {
    let place = places.get(values[i]);
    if (place === undefined) {
      place = first.push(i) - 1;
      places.set(values[i], place);
      counts.push(0);
    }
    counts[place]++;
    index.push(place);
  }
  return [pick(x, [first.length], (i) => first[i]), int64Vector(index), int64Vector(counts)];
}

function rangeLength(start: number, limit: number, delta: number): number {
  return Math.max(Math.ceil((limit - start) / delta), 0);
}

function inferRange(ctx: InferContext): (ValueType | undefined)[] {
  const bound = (i: number): number | undefined => {
    const t = ctx.constant(i);
    return t && toNumbers(t)[0];
  };
  const [start, limit, delta] = [bound(0), bound(1), ctx.has(2) ? bound(2) : 1];
  const known = start !== undefined && limit !== undefined && delta !== undefined && delta !== 0;
  return [tensorType(ctx.dtype(0), [known ? rangeLength(start, limit, delta) : null])];
}

function range(ctx: ReferenceContext): HostValue[] {
  const [start, limit, delta] = [0, 1, 2].map((i) => (ctx.has(i) ? toNumbers(ctx.tensor(i))[0] : 1));
  if (delta === 0) throw ctx.error('delta is 0');
  const length = rangeLength(start, limit, delta);
  const values = Array.from({ length }, (_, i) => start + i * delta);
  return [fromNumbers(ctx.tensor(0).dtype, [length], values)];
}

function expand<T>(ctx: ReferenceContext | InferContext, dims: readonly T[], axis: number, one: T): T[] {
  const at = normalizeAxis(ctx, axis, dims.length + 1);
  return [...dims.slice(0, at), one, ...dims.slice(at)];
}

interface Unfold {
  readonly axis: number;
  readonly size: number;
  readonly step: number;
}

function readUnfold(ctx: ReferenceContext | InferContext, rank: number): Unfold {
  const [size, step] = [ctx.int('size'), ctx.int('step', 1)];
  if (!(size > 0 && step > 0)) throw ctx.error(`slices of ${size} every ${step}`);
  return { axis: normalizeAxis(ctx, ctx.int('dim', -1), rank, 'dim'), size, step };
}

function unfold(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const { axis, size, step } = readUnfold(ctx, x.dims.length);
  const length = x.dims[axis];
  if (size > length) throw ctx.error(`slices of ${size} of an axis of ${shapeText(x.dims)}`);
  const count = Math.floor((length - size) / step) + 1;
  const inner = sizeBetween(x.dims, axis + 1, x.dims.length);
  const dims = [...x.dims.map((dim, i) => (i === axis ? count : dim)), size];
  const from = (i: number): number => {
    const s = i % size;
    const within = Math.floor(i / size);
    const slice = Math.floor(within / inner) % count;
    const outer = Math.floor(within / (inner * count));
    return (outer * length + slice * step + s) * inner + (within % inner);
  };
  return [pick(x, dims, from)];
}

const int64: DType = 'int64';

export const msStandardOps: readonly OpDefinition[] = [
  same(gatherOps, 'GatherND', 11, [2, 2]),
  same(padOps, 'Pad', 13, [2, 3], { mode: 'string' }),
  same(samplingOps, 'GridSample', 16, [2, 2], { align_corners: 'int', mode: 'string', padding_mode: 'string' }),
  same(sliceOps, 'Trilu', 14, [1, 2], { upper: 'int' }),
  defineOp({
    name: 'Unique',
    domain,
    since: [1],
    inputs: [1, 1],
    outputs: [1, 3],
    infer: (ctx) => [tensorType(ctx.dtype(0), [null]), tensorType(int64, ctx.shape(0)), tensorType(int64, [null])],
    reference: unique,
  }),
  defineOp({
    name: 'Range',
    domain,
    since: [1],
    inputs: [2, 3],
    outputs: [1, 1],
    infer: inferRange,
    reference: range,
  }),
  defineOp({
    name: 'ExpandDims',
    domain,
    since: [1],
    inputs: [2, 2],
    outputs: [1, 1],
    infer: (ctx) => {
      const [x, axis] = [ctx.shape(0), ctx.integers(1)?.[0]];
      const shape: Dim[] | undefined = x && (axis === undefined ? [...x, 1].map(() => null) : expand(ctx, x, axis, 1));
      return [tensorType(ctx.dtype(0), shape)];
    },
    reference: (ctx) => [reshaped(ctx.tensor(0), expand(ctx, ctx.tensor(0).dims, ctx.integers(1)[0], 1))],
  }),
  defineOp({
    name: 'UnfoldTensor',
    domain,
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { dim: 'int', size: 'int', step: 'int' },
    infer: (ctx) => {
      const x = ctx.shape(0);
      if (!x) return [tensorType(ctx.dtype(0), undefined)];
      const { axis, size, step } = readUnfold(ctx, x.length);
      const count = (dim: Dim): Dim => (typeof dim === 'number' ? Math.floor((dim - size) / step) + 1 : null);
      return [tensorType(ctx.dtype(0), [...x.map((dim, i) => (i === axis ? count(dim) : dim)), size])];
    },
    reference: unfold,
  }),
];

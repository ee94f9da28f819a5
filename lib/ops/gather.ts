/** Gather, GatherElements, GatherND, OneHot, Compress. */

import { tensorType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeBetween, sizeOf, stridesOf } from '../ir/shape.ts';
import { type HostTensor, reshaped, toIntegers, toNumbers, unpacked } from '../ir/tensor.ts';
import { forEachRow } from './broadcast.ts';
import type { LowerContext } from './lower.ts';
import { MAX_RANK, wholeBytes } from './lower-elementwise.ts';
import { gatherStep, immovable, indexBytes } from './lower-movement.ts';
import { Assembly } from './movement.ts';
import { lowerOneHotAxis } from './one-hot-lower.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
  sparesRows,
} from './op.ts';

/** A non-negative index into a size of `dim`; throws outside of it. */
export function checkedIndex(ctx: NodeReader, index: number, dim: number): number {
  const at = index < 0 ? index + dim : index;
  if (!(at >= 0 && at < dim)) throw ctx.error(`index ${index} is outside [${-dim}, ${dim - 1}]`);
  return at;
}

function inferGather(ctx: InferContext): Shape | undefined {
  const [data, indices] = [ctx.shape(0), ctx.shape(1)];
  if (!data) return undefined;
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), data.length);
  return indices && [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)];
}

/** Slices of `data` along `axis` by the indices. */
export function gathered(ctx: NodeReader, data: HostTensor, indices: HostTensor, axis: number): HostTensor {
  const dim = data.dims[axis];
  const picks = toIntegers(indices).map((index) => checkedIndex(ctx, index, dim));
  const outer = sizeBetween(data.dims, 0, axis);
  const inner = sizeBetween(data.dims, axis + 1, data.dims.length);
  const dims = [...data.dims.slice(0, axis), ...indices.dims, ...data.dims.slice(axis + 1)];
  const out = new Assembly(data.dtype, dims);
  const from = unpacked(data);
  let at = 0;
  for (let o = 0; o < outer && inner * picks.length > 0; o++) {
    for (const pick of picks) {
      out.copy(from, (o * dim + pick) * inner, at, inner);
      at += inner;
    }
  }
  return out.tensor();
}

/**
 * Offset in `data` of each element of `indices`, an array of data's rank: the element's own position, with its
 * index along `axis`. Shared by GatherElements and ScatterElements.
 */
export function elementOffsets(ctx: NodeReader, data: HostTensor, indices: HostTensor, axis: number): Float64Array {
  const fits =
    indices.dims.length === data.dims.length && indices.dims.every((d, i) => i === axis || d <= data.dims[i]);
  if (!fits)
    throw ctx.error(`indices ${shapeText(indices.dims)} do not fit data ${shapeText(data.dims)} on axis ${axis}`);
  const picks = toIntegers(indices);
  const dim = data.dims[axis];
  const strides = stridesOf(data.dims);
  const along = strides[axis];
  strides[axis] = 0;
  const offsets = new Float64Array(picks.length);
  forEachRow(indices.dims, [strides], (at, count, [offset], [step]) => {
    for (let i = at; i < at + count; i++)
      offsets[i] = offset + (i - at) * step + checkedIndex(ctx, picks[i], dim) * along;
  });
  return offsets;
}

function gatherElements(ctx: ReferenceContext): HostTensor {
  const [data, indices] = [ctx.tensor(0), ctx.tensor(1)];
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), data.dims.length);
  const offsets = elementOffsets(ctx, data, indices, axis);
  const out = new Assembly(data.dtype, indices.dims);
  const from = unpacked(data);
  offsets.forEach((offset, i) => {
    out.copy(from, offset, i, 1);
  });
  return out.tensor();
}

function gatherNdShape(ctx: NodeReader, data: Shape, indices: Shape): Dim[] | undefined {
  const batch = ctx.int('batch_dims', 0);
  const depth = indices[indices.length - 1];
  if (batch < 0 || indices.length < 1 || batch >= Math.min(data.length, indices.length)) {
    throw ctx.error(`batch_dims ${batch} does not fit ${shapeText(data)} and ${shapeText(indices)}`);
  }
  for (let i = 0; i < batch; i++) {
    if (typeof data[i] === 'number' && typeof indices[i] === 'number' && data[i] !== indices[i]) {
      throw ctx.error(`the batches of ${shapeText(data)} and ${shapeText(indices)} differ`);
    }
  }
  if (typeof depth !== 'number') return undefined;
  if (depth < 1 || batch + depth > data.length) {
    throw ctx.error(`indices of ${depth} entries do not fit ${shapeText(data)} after ${batch} batch dimensions`);
  }
  return [...indices.slice(0, -1), ...data.slice(batch + depth)];
}

function gatherNd(ctx: ReferenceContext): HostTensor {
  const [data, indices] = [ctx.tensor(0), ctx.tensor(1)];
  const dims = gatherNdShape(ctx, data.dims, indices.dims) as number[];
  const batch = ctx.int('batch_dims', 0);
  const depth = indices.dims[indices.dims.length - 1];
  const strides = stridesOf(data.dims);
  const picks = toIntegers(indices);
  const count = picks.length / depth;
  const batches = sizeBetween(data.dims, 0, batch);
  const batchStride = sizeBetween(data.dims, batch, data.dims.length);
  const run = sizeBetween(data.dims, batch + depth, data.dims.length);
  const out = new Assembly(data.dtype, dims);
  const from = unpacked(data);
  for (let i = 0; i < count; i++) {
    let offset = Math.floor((i * batches) / count) * batchStride;
    for (let k = 0; k < depth; k++) {
      offset += checkedIndex(ctx, picks[i * depth + k], data.dims[batch + k]) * strides[batch + k];
    }
    out.copy(from, offset, i * run, run);
  }
  return out.tensor();
}

function inferOneHot(ctx: InferContext): Shape | undefined {
  const shape = ctx.shape(0);
  if (!shape) return undefined;
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), shape.length + 1);
  const depth = ctx.constant(1);
  return [...shape.slice(0, axis), depth ? oneHotDepth(ctx, depth) : null, ...shape.slice(axis)];
}

function oneHotDepth(ctx: NodeReader, depth: HostTensor): number {
  const size = sizeOf(depth.dims) === 1 ? Math.trunc(toNumbers(depth)[0]) : -1;
  if (!(size >= 0)) throw ctx.error('depth must be one non-negative number');
  return size;
}

function oneHot(ctx: ReferenceContext): HostTensor {
  const [indices, values] = [ctx.tensor(0), ctx.tensor(2)];
  const depth = oneHotDepth(ctx, ctx.tensor(1));
  if (sizeOf(values.dims) !== 2) throw ctx.error(`values has ${sizeOf(values.dims)} elements, expected [off, on]`);
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), indices.dims.length + 1);
  const dims = [...indices.dims.slice(0, axis), depth, ...indices.dims.slice(axis)];
  const inner = sizeBetween(indices.dims, axis, indices.dims.length);
  const out = new Assembly(values.dtype, dims);
  const from = unpacked(values);
  out.fill(from, 0, sizeOf(dims));
  toNumbers(indices).forEach((value, i) => {
    const given = Math.trunc(value);
    const at = given < 0 ? given + depth : given;
    if (!(at >= 0 && at < depth)) return;
    const outer = Math.floor(i / inner);
    out.copy(from, 1, (outer * depth + at) * inner + (i % inner), 1);
  });
  return out.tensor();
}

function compress(ctx: ReferenceContext): HostTensor {
  const given = ctx.tensor(0);
  const flat = !ctx.hasAttribute('axis');
  const data = flat ? reshaped(given, [sizeOf(given.dims)]) : given;
  const axis = flat ? 0 : normalizeAxis(ctx, ctx.int('axis'), data.dims.length);
  const kept = toIntegers(ctx.tensor(1)).flatMap((keep, i) => (keep ? [i] : []));
  return gathered(
    ctx,
    data,
    { kind: 'tensor', dtype: 'int32', dims: [kept.length], data: Int32Array.from(kept) },
    axis,
  );
}

/** Why data or indices have no native gather. */
function gatherReason(ctx: LowerContext): string | undefined {
  if (indexBytes(ctx, 1) === undefined) return `indices of type ${ctx.dtype(1)}`;
  return immovable(ctx);
}

function lowerGather(ctx: LowerContext): string | undefined {
  const reason = gatherReason(ctx);
  if (reason) return reason;
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), ctx.dims(0).length);
  gatherStep(ctx, [ctx.input(0), ctx.input(1), ctx.output(0)], axis);
  return undefined;
}

function lowerGatherElements(ctx: LowerContext): string | undefined {
  const reason = gatherReason(ctx);
  if (reason) return reason;
  const [data, dims] = [ctx.dims(0), ctx.dims(1)];
  if (data.length >= MAX_RANK) return `${data.length} axes`;
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), data.length);
  if (dims.length !== data.length || dims.some((dim, i) => i !== axis && dim > data[i]))
    return 'indices that do not fit';
  const strides = stridesOf(data);
  ctx.step('gather.elements', [ctx.input(0), ctx.input(1), ctx.output(0)], {
    width: wholeBytes(ctx.dtype(0)),
    index_bytes: indexBytes(ctx, 1) ?? 0,
    axis: data[axis],
    axis_stride: strides[axis],
    dims,
    strides: strides.map((stride, i) => (i === axis ? 0 : stride)),
  });
  return undefined;
}

function lowerGatherNd(ctx: LowerContext): string | undefined {
  const reason = gatherReason(ctx);
  if (reason) return reason;
  const [data, indices] = [ctx.dims(0), ctx.dims(1)];
  const batch = ctx.int('batch_dims', 0);
  const depth = indices[indices.length - 1];
  if (depth > MAX_RANK) return `indices of ${depth} entries`;
  const batches = sizeBetween(data, 0, batch);
  ctx.step('gather.points', [ctx.input(0), ctx.input(1), ctx.output(0)], {
    batch: batches,
    count: sizeBetween(indices, batch, indices.length - 1),
    slice: sizeBetween(data, batch + depth, data.length) * wholeBytes(ctx.dtype(0)),
    index_bytes: indexBytes(ctx, 1) ?? 0,
    dims: data.slice(batch, batch + depth),
  });
  return undefined;
}

export const gatherOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Gather',
    since: [1, 11, 13],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), inferGather(ctx))],
    keepsRows: (node, { ranks, shared }) => {
      const rows = sparesRows(node.int('axis', 0), ranks[0]);
      return shared[0] ? !rows : rows && shared[1];
    },
    rowNumbers: (node) => (node.int('axis', 0) === 0 ? 'each' : undefined),
    reference: (ctx) => {
      const data = ctx.tensor(0);
      return [gathered(ctx, data, ctx.tensor(1), normalizeAxis(ctx, ctx.int('axis', 0), data.dims.length))];
    },
    lower: lowerGather,
  }),
  defineOp({
    name: 'GatherElements',
    since: [11, 13],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(1))],
    keepsRows: (node, { ranks, shared }) => !shared[1] && sparesRows(node.int('axis', 0), ranks[0]) !== shared[0],
    reference: (ctx) => [gatherElements(ctx)],
    lower: lowerGatherElements,
  }),
  defineOp({
    name: 'GatherND',
    since: [11, 12, 13],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { batch_dims: 'int' },
    traits: ['movement'],
    infer: (ctx) => {
      const [data, indices] = [ctx.shape(0), ctx.shape(1)];
      return [tensorType(ctx.dtype(0), data && indices && gatherNdShape(ctx, data, indices))];
    },
    keepsRows: (node, { ranks, shared }) => !shared[1] && ranks[1] > 1 && node.int('batch_dims', 0) > 0 !== shared[0],
    rowNumbers: (node) => (node.int('batch_dims', 0) === 0 ? 'first' : undefined),
    reference: (ctx) => [gatherNd(ctx)],
    lower: lowerGatherNd,
  }),
  defineOp({
    name: 'OneHot',
    since: [9, 11, 28],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    infer: (ctx) => [tensorType(ctx.dtype(2), inferOneHot(ctx))],
    keepsRows: (node, { ranks, shared }) =>
      sparesRows(node.int('axis', -1), ranks[0] + 1) && !shared[0] && shared[1] && shared[2],
    reference: (ctx) => [oneHot(ctx)],
    lower: (ctx) => lowerOneHotAxis(ctx, normalizeAxis(ctx, ctx.int('axis', -1), ctx.dims(0).length + 1)),
  }),
  defineOp({
    name: 'Compress',
    since: [9, 11, 28],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    traits: ['movement'],
    infer: (ctx) => {
      const shape = ctx.shape(0);
      const kept = ctx.integers(1)?.filter((keep) => keep !== 0).length ?? null;
      if (!ctx.hasAttribute('axis')) return [tensorType(ctx.dtype(0), [kept])];
      const axis = shape && normalizeAxis(ctx, ctx.int('axis'), shape.length);
      return [
        tensorType(
          ctx.dtype(0),
          shape?.map((dim, i) => (i === axis ? kept : dim)),
        ),
      ];
    },
    reference: (ctx) => [compress(ctx)],
  }),
];

/** QLinear operators of com.microsoft: real functions between quantised tensors. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { broadcastStrides, type Dim, type Shape, shapeText, sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { softmaxRow } from './attention-core.ts';
import { normalizeAxes } from './axes.ts';
import { broadcastDims, broadcastInfer, forEachRow, zip } from './broadcast.ts';
import { delegateReference, member } from './delegate.ts';
import { addDims } from './dims.ts';
import { moveChannels } from './ms-conv.ts';
import { dequantize, type Linear, linearInput, quantized, quantizer } from './ms-quantization.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';
import { poolOps } from './pool.ts';
import { saturated } from './saturate.ts';
import { sigmoid } from './special-functions.ts';
import { readWindow, windowAttributes, windowDims } from './window.ts';

const domain = 'com.microsoft';

/** A function of one quantised tensor: X, its scale and zero point, then those of Y. */
function unary(name: string, attributes: OpDefinition['attributes'], f: (ctx: NodeReader) => (x: number) => number) {
  return defineOp({
    name,
    domain,
    since: [1],
    inputs: [4, 5],
    omittable: [2],
    outputs: [1, 1],
    attributes,
    traits: ['elementwise'],
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: (ctx) => {
      const x = ctx.tensor(0);
      const scalar = f(ctx);
      const values = dequantize(x, linearInput(ctx, 1, 'X')).map((value) => Math.fround(scalar(value)));
      return [quantized(x.dtype, x.dims, values, linearInput(ctx, 3, 'Y'))];
    },
  });
}

/** Levels of C, before rounding, from levels of A and B. */
type Combine = (a: Linear, b: Linear, c: Linear) => (x: number, y: number) => number;

// Sums and products fold their scales into constants first and stay in float32: where a result falls half way between
// two levels, this decides which one it is.
const add: Combine = (a, b, c) => {
  const [ra, rb] = [Math.fround(a.scale / c.scale), Math.fround(b.scale / c.scale)];
  const fixed = Math.fround(c.zero - Math.fround(Math.fround(ra * a.zero) + Math.fround(rb * b.zero)));
  return (x, y) => Math.fround(Math.fround(fixed + x * ra) + y * rb);
};

const multiply: Combine = (a, b, c) => {
  const ratio = Math.fround(Math.fround(a.scale * b.scale) / c.scale);
  return (x, y) => Math.fround(Math.fround((x - a.zero) * (y - b.zero) * ratio) + c.zero);
};

/** A function of two quantised tensors: A, B and C, each with scale and zero point. */
function binary(name: string, combine: Combine): OpDefinition {
  return defineOp({
    name,
    domain,
    since: [1],
    inputs: [7, 8],
    omittable: [2, 5],
    outputs: [1, 1],
    infer: (ctx) => [tensorType(ctx.dtype(0), broadcastInfer(ctx, [ctx.shape(0), ctx.shape(3)]))],
    reference: (ctx) => {
      const [a, b] = [ctx.tensor(0), ctx.tensor(3)];
      const dims = broadcastDims(ctx, [a.dims, b.dims]);
      const out = new Float64Array(sizeOf(dims));
      const f = combine(linearInput(ctx, 1, 'A'), linearInput(ctx, 4, 'B'), linearInput(ctx, 6, 'C'));
      zip(dims, { values: toNumbers(a), dims: a.dims }, { values: toNumbers(b), dims: b.dims }, f, out);
      return [fromNumbers(a.dtype, dims, saturated(a.dtype, out))];
    },
  });
}

function whereReference(ctx: ReferenceContext): HostValue[] {
  const [condition, x, y] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(4)];
  const dims = broadcastDims(ctx, [condition.dims, x.dims, y.dims]);
  const out = new Float64Array(sizeOf(dims));
  const strides = [condition, x, y].map((t) => broadcastStrides(t.dims, dims));
  const [c, left, right] = [
    toNumbers(condition),
    dequantize(x, linearInput(ctx, 2, 'X')),
    dequantize(y, linearInput(ctx, 5, 'Y')),
  ];
  forEachRow(dims, strides, (at, count, [p, q, r], [dp, dq, dr]) => {
    for (let i = 0; i < count; i++) out[at + i] = c[p + i * dp] ? left[q + i * dq] : right[r + i * dr];
  });
  return [quantized(x.dtype, dims, out, linearInput(ctx, 7, 'Z'))];
}

/** Shape of a concatenation of the tensors in inputs 2, 5, 8 ... */
function concatShape(ctx: InferContext): Shape | undefined {
  const shapes: Shape[] = [];
  for (let i = 2; i < ctx.inputCount; i += 3) {
    const shape = ctx.shape(i);
    if (!shape) return undefined;
    shapes.push(shape);
  }
  const axis = normalizeAxis(ctx, ctx.int('axis'), shapes[0].length);
  return shapes[0].map((dim, i): Dim => {
    if (i === axis) return addDims(...shapes.map((shape) => shape[i]));
    return shapes.map((shape) => shape[i]).find((d) => typeof d === 'number') ?? dim;
  });
}

function concatReference(ctx: ReferenceContext): HostValue[] {
  const parts: { t: HostTensor; input: number }[] = [];
  for (let i = 2; i < ctx.inputCount; i += 3) parts.push({ t: ctx.tensor(i), input: i });
  const first = parts[0].t;
  const axis = normalizeAxis(ctx, ctx.int('axis'), first.dims.length);
  const dims = [...first.dims];
  dims[axis] = 0;
  for (const { t } of parts) {
    const fits = t.dims.length === dims.length && t.dims.every((dim, i) => i === axis || dim === dims[i]);
    if (!fits) throw ctx.error(`cannot concatenate ${shapeText(first.dims)} and ${shapeText(t.dims)} along ${axis}`);
    dims[axis] += t.dims[axis];
  }
  const quantize = quantizer(first.dtype, linearInput(ctx, 0, 'Y'));
  const outer = sizeBetween(dims, 0, axis);
  const row = sizeBetween(dims, axis, dims.length);
  const out = new Float64Array(sizeOf(dims));
  let offset = 0;
  for (const { t, input } of parts) {
    const values = dequantize(t, linearInput(ctx, input + 1, `input ${input}`)).map(quantize);
    const width = sizeBetween(t.dims, axis, dims.length);
    for (let o = 0; o < outer; o++) out.set(values.subarray(o * width, (o + 1) * width), o * row + offset);
    offset += width;
  }
  return [fromNumbers(first.dtype, dims, out)];
}

function softmaxReference(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const rank = x.dims.length;
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), Math.max(rank, 1));
  const joined = ctx.int('opset') < 13;
  const values = dequantize(x, linearInput(ctx, 1, 'X'));
  const count = joined ? sizeBetween(x.dims, axis, rank) : (x.dims[axis] ?? 1);
  const stride = joined ? 1 : sizeBetween(x.dims, axis + 1, rank);
  const row = new Float64Array(count);
  for (let i = 0; i * count < values.length; i++) {
    const from = Math.floor(i / stride) * stride * count + (i % stride);
    for (let j = 0; j < count; j++) row[j] = values[from + j * stride];
    softmaxRow(row);
    for (let j = 0; j < count; j++) values[from + j * stride] = row[j];
  }
  return [quantized(x.dtype, x.dims, values, linearInput(ctx, 3, 'Y'))];
}

/** The axes of a reduction, from the attribute, which replaces nothing where it is empty. */
function meanAxes(ctx: NodeReader, rank: number): Set<number> {
  const axes = ctx.ints('axes', []);
  return new Set(axes.length ? normalizeAxes(ctx, axes, rank) : Array.from({ length: rank }, (_, i) => i));
}

function inferMean(ctx: InferContext): (ValueType | undefined)[] {
  const shape = ctx.shape(0);
  if (!shape) return [tensorType(ctx.dtype(0), undefined)];
  const axes = meanAxes(ctx, shape.length);
  const keep = ctx.int('keepdims', 1) !== 0;
  const reduced: Dim[] = shape.map((dim, i) => (axes.has(i) ? 1 : dim));
  return [tensorType(ctx.dtype(0), keep ? reduced : reduced.filter((_, i) => !axes.has(i)))];
}

/** Means over axes of [dims]; the result has the reduced axes as 1. */
function means(values: Float64Array, dims: readonly number[], axes: ReadonlySet<number>): Float64Array {
  const kept = dims.map((dim, i) => (axes.has(i) ? 1 : dim));
  const out = new Float64Array(sizeOf(kept));
  forEachRow(dims, [broadcastStrides(kept, dims)], (at, count, [to], [step]) => {
    for (let i = 0; i < count; i++) out[to + i * step] += values[at + i];
  });
  const size = values.length / Math.max(out.length, 1);
  return out.map((sum) => sum / size);
}

function meanReference(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const axes = meanAxes(ctx, x.dims.length);
  const keep = ctx.int('keepdims', 1) !== 0;
  const reduced = x.dims.map((dim, i) => (axes.has(i) ? 1 : dim));
  const values = means(dequantize(x, linearInput(ctx, 1, 'the data')), x.dims, axes);
  const dims = keep ? reduced : reduced.filter((_, i) => !axes.has(i));
  return [quantized(x.dtype, dims, values, linearInput(ctx, 3, 'the result'))];
}

const isLast = (ctx: NodeReader): boolean => ctx.int('channels_last', 0) !== 0;

/** Axes of a pooled value in the channels-first order. */
function spatialAxes(ctx: NodeReader, rank: number): number[] {
  return Array.from({ length: Math.max(rank - 2, 0) }, (_, i) => (isLast(ctx) ? i + 1 : i + 2));
}

function globalReference(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const axes = new Set(spatialAxes(ctx, x.dims.length));
  const dims = x.dims.map((dim, i) => (axes.has(i) ? 1 : dim));
  const values = means(dequantize(x, linearInput(ctx, 1, 'X')), x.dims, axes);
  return [quantized(x.dtype, dims, values, linearInput(ctx, 3, 'Y'))];
}

function inferPool(ctx: InferContext): (ValueType | undefined)[] {
  const x = ctx.shape(0);
  if (!x) return [tensorType(ctx.dtype(0), undefined)];
  const axes = spatialAxes(ctx, x.length);
  const spatial = axes.map((i) => x[i]);
  const sizes = windowDims(ctx, readWindow(ctx, spatial.length, undefined), spatial);
  return [
    tensorType(
      ctx.dtype(0),
      x.map((dim, i) => (axes.includes(i) ? sizes[axes.indexOf(i)] : dim)),
    ),
  ];
}

function poolReference(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const real = fromNumbers('float64', x.dims, dequantize(x, linearInput(ctx, 1, 'X')));
  const delegation = { op: member(poolOps, 'AveragePool'), version: 19, inputs: [0] };
  const [pooled] = delegateReference(ctx, delegation, [isLast(ctx) ? moveChannels(real, 'first') : real]) as [
    HostTensor,
  ];
  const y = isLast(ctx) ? moveChannels(pooled, 'last') : pooled;
  return [quantized(x.dtype, y.dims, toNumbers(y), linearInput(ctx, 3, 'Y'))];
}

export const msQLinearOps: readonly OpDefinition[] = [
  unary('QLinearSigmoid', undefined, () => sigmoid),
  unary('QLinearLeakyRelu', { alpha: 'float' }, (ctx) => {
    const alpha = ctx.float('alpha', 0.01);
    return (x) => (x < 0 ? alpha * x : x);
  }),
  binary('QLinearAdd', add),
  binary('QLinearMul', multiply),
  defineOp({
    name: 'QLinearWhere',
    domain,
    since: [1],
    inputs: [9, 9],
    outputs: [1, 1],
    infer: (ctx) => [tensorType(ctx.dtype(1), broadcastInfer(ctx, [ctx.shape(0), ctx.shape(1), ctx.shape(4)]))],
    reference: whereReference,
  }),
  defineOp({
    name: 'QLinearConcat',
    domain,
    since: [1],
    inputs: [5, Number.POSITIVE_INFINITY],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    infer: (ctx) => [tensorType(ctx.dtype(1), concatShape(ctx))],
    reference: concatReference,
  }),
  defineOp({
    name: 'QLinearSoftmax',
    domain,
    since: [1],
    inputs: [5, 5],
    omittable: [2],
    outputs: [1, 1],
    attributes: { axis: 'int', opset: 'int' },
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: softmaxReference,
  }),
  defineOp({
    name: 'QLinearReduceMean',
    domain,
    since: [1],
    inputs: [4, 5],
    omittable: [2],
    outputs: [1, 1],
    attributes: { axes: 'ints', keepdims: 'int' },
    infer: inferMean,
    reference: meanReference,
  }),
  defineOp({
    name: 'QLinearGlobalAveragePool',
    domain,
    since: [1],
    inputs: [5, 5],
    outputs: [1, 1],
    attributes: { channels_last: 'int' },
    infer: (ctx) => {
      const x = ctx.shape(0);
      const axes = x && spatialAxes(ctx, x.length);
      return [
        tensorType(
          ctx.dtype(0),
          x?.map((dim, i) => (axes?.includes(i) ? 1 : dim)),
        ),
      ];
    },
    reference: globalReference,
  }),
  defineOp({
    name: 'QLinearAveragePool',
    domain,
    since: [1],
    inputs: [4, 5],
    omittable: [2],
    outputs: [1, 1],
    attributes: { ...windowAttributes, ceil_mode: 'int', channels_last: 'int', count_include_pad: 'int' },
    infer: inferPool,
    reference: poolReference,
  }),
];

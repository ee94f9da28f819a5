/** Operators that look for elements: ArgMax, ArgMin, TopK, NonZero, Unique. */

import { isBig } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Shape, sizeBetween, sizeOf, stridesOf } from '../ir/shape.ts';
import { type HostTensor, int64Vector, reshaped, tensor, unpacked } from '../ir/tensor.ts';
import { comparables, expectKind, numberKinds, numbersOf } from './elements.ts';
import { gathered } from './gather.ts';
import { keepsBeside } from './keeps-rows.ts';
import type { LowerContext } from './lower.ts';
import { kernelFor, noKernel } from './lower-elementwise.ts';
import { lowerArg } from './lower-reduce.ts';
import { Assembly, entryWidth } from './movement.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';
import { reducedDims } from './reduce.ts';

const isNaNumber = (x: unknown): boolean => Number.isNaN(x);

/** Ascending order of comparable elements; NaN is above everything, as numpy sorts. */
export function compareElements(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return 0;
  return Number(isNaNumber(a)) - Number(isNaNumber(b));
}

/** A walk over the lines of a tensor along `axis`: index of the line, its first element, count, stride. */
function forEachLine(
  dims: readonly number[],
  axis: number,
  visit: (line: number, at: number, count: number, stride: number) => void,
): void {
  const count = dims[axis];
  const stride = sizeBetween(dims, axis + 1, dims.length);
  const outer = sizeOf(dims) === 0 ? 0 : sizeBetween(dims, 0, axis);
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < stride; k++) visit(o * stride + k, o * count * stride + k, count, stride);
  }
}

/** Before version 12 the first extreme element counts, whatever the node says. */
const selectsLast = (ctx: NodeReader): boolean => ctx.version >= 12 && ctx.int('select_last_index', 0) !== 0;

/** Index of the first or last extreme element of each line. NaN counts as extreme, like in numpy. */
function argExtreme(ctx: ReferenceContext, sign: 1 | -1): HostTensor {
  const x = ctx.tensor(0);
  const last = selectsLast(ctx);
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), x.dims.length);
  if (x.dims[axis] === 0) throw ctx.error(`axis ${axis} has no elements to choose from`);
  const values = comparables(x);
  const out = new BigInt64Array(sizeOf(x.dims) / x.dims[axis]);
  forEachLine(x.dims, axis, (line, at, count, stride) => {
    let best = 0;
    for (let i = 1; i < count; i++) {
      const [held, v] = [values[at + best * stride], values[at + i * stride]];
      const better = isNaNumber(v) ? !isNaNumber(held) : sign > 0 ? v > held : v < held;
      if (better || (last && (v === held || (isNaNumber(v) && isNaNumber(held))))) best = i;
    }
    out[line] = BigInt(best);
  });
  return tensor('int64', reducedDims(x.dims, [axis], ctx.int('keepdims', 1) !== 0), out);
}

function argOp(name: string, sign: 1 | -1): OpDefinition {
  return defineOp({
    name,
    since: [1, 11, 12, 13],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { axis: 'int', keepdims: 'int', select_last_index: 'int' },
    traits: ['reduction'],
    infer: (ctx) => {
      expectKind(ctx, 0, numberKinds);
      const shape = ctx.shape(0);
      if (!shape) return [tensorType('int64', undefined)];
      const axis = normalizeAxis(ctx, ctx.int('axis', 0), shape.length);
      return [tensorType('int64', reducedDims(shape, [axis], ctx.int('keepdims', 1) !== 0))];
    },
    keepsRows: keepsBeside((node) => node.int('axis', 0)),
    reference: (ctx) => [argExtreme(ctx, sign)],
    lower: (ctx) => {
      const axis = normalizeAxis(ctx, ctx.int('axis', 0), ctx.dims(0).length);
      return lowerArg(ctx, sign < 0, selectsLast(ctx), axis);
    },
  });
}

/** Number of elements that TopK takes: an attribute before version 10. */
function topCount(ctx: NodeReader, given: readonly number[] | undefined): number | undefined {
  const k = ctx.version < 10 ? ctx.int('k') : given?.[0];
  if (k !== undefined && !(k >= 0)) throw ctx.error(`K is ${k}, expected a non-negative number`);
  return k;
}

function inferTopK(ctx: InferContext): ValueType[] {
  const shape = ctx.shape(0);
  const k = topCount(ctx, ctx.version < 10 ? undefined : ctx.integers(1));
  let dims: Shape | undefined;
  if (shape) {
    const axis = normalizeAxis(ctx, ctx.int('axis', -1), shape.length);
    const dim = shape[axis];
    if (k !== undefined && typeof dim === 'number' && k > dim) throw ctx.error(`K is ${k}, axis ${axis} has ${dim}`);
    dims = shape.map((d, i) => (i === axis ? (k ?? null) : d));
  }
  return [tensorType(expectKind(ctx, 0, numberKinds), dims), tensorType('int64', dims)];
}

function topK(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const k = topCount(ctx, ctx.version < 10 ? undefined : ctx.integers(1)) as number;
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), x.dims.length);
  if (k > x.dims[axis]) throw ctx.error(`K is ${k}, axis ${axis} has ${x.dims[axis]} elements`);
  const sign = ctx.version < 11 || ctx.int('largest', 1) !== 0 ? -1 : 1;
  const values = comparables(x);
  const from = unpacked(x);
  const dims = x.dims.map((d, i) => (i === axis ? k : d));
  const out = new Assembly(x.dtype, dims);
  const indices = new BigInt64Array(sizeOf(dims));
  const order = new Uint32Array(x.dims[axis]);
  forEachLine(x.dims, axis, (_, at, count, stride) => {
    for (let i = 0; i < count; i++) order[i] = i;
    const sorted = order.sort(
      (a, b) => sign * compareElements(values[at + a * stride], values[at + b * stride]) || a - b,
    );
    const inner = at % stride;
    const base = Math.floor(at / (count * stride)) * k * stride + inner;
    for (let i = 0; i < k; i++) {
      out.copy(from, at + sorted[i] * stride, base + i * stride, 1);
      indices[base + i * stride] = BigInt(sorted[i]);
    }
  });
  return [out.tensor(), tensor('int64', dims, indices)];
}

function lowerTopK(ctx: LowerContext): string | undefined {
  const dims = ctx.dims(0);
  const k = topCount(ctx, ctx.version < 10 ? undefined : ctx.integers(1));
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), dims.length);
  const kernel = kernelFor(ctx, 'topk', ctx.dtype(0));
  if (k === undefined) return 'a K that is not known';
  if (!kernel || k > dims[axis]) return noKernel(ctx.dtype(0));
  const kept = dims.map((dim, i) => (i === axis ? k : dim));
  const values = ctx.wants(0) ? ctx.output(0) : ctx.scratch(ctx.dtype(0), kept);
  const indices = ctx.wants(1) ? ctx.output(1) : ctx.scratch('int64', kept);
  ctx.step(kernel, [ctx.input(0), values, indices], {
    least: ctx.version >= 11 && ctx.int('largest', 1) === 0,
    outer: sizeBetween(dims, 0, axis),
    axis: dims[axis],
    inner: sizeBetween(dims, axis + 1, dims.length),
    k,
  });
  return undefined;
}

/** Positions of the elements that are not zero (not empty, for strings), one column each. */
function nonZero(x: HostTensor): HostTensor {
  const dims = x.dims.length === 0 ? [1] : x.dims;
  const found = nonZeroPositions(x, sizeOf(dims));
  const strides = stridesOf(dims);
  // Low and high words of int64: a number at a time becomes a bigint slowly.
  const words = new Int32Array(2 * dims.length * found.length);
  dims.forEach((dim, axis) => {
    const at = 2 * axis * found.length;
    for (let i = 0; i < found.length; i++) {
      const index = Math.floor(found[i] / strides[axis]) % dim;
      words[at + 2 * i] = index;
      words[at + 2 * i + 1] = index / 2 ** 32;
    }
  });
  return tensor('int64', [dims.length, found.length], new BigInt64Array(words.buffer));
}

/** Row-major positions of the elements that are not zero; NaN is none. */
function nonZeroPositions(x: HostTensor, count: number): Float64Array {
  const found = new Float64Array(count);
  let length = 0;
  if (x.dtype === 'string' || isBig(x.dtype)) {
    const values = x.data as ArrayLike<unknown>;
    for (let i = 0; i < count; i++) if (values[i]) found[length++] = i;
  } else {
    const values = numbersOf(x);
    const width = entryWidth(x.dtype);
    for (let i = 0; i < count; i++) {
      if (values[i * width] !== 0 || (width === 2 && values[2 * i + 1] !== 0)) found[length++] = i;
    }
  }
  return found.subarray(0, length);
}

/** Distinct items in the order of first occurrence: where each begins, which one each item is, how often it occurs. */
interface Distinct {
  readonly first: number[];
  readonly which: number[];
  readonly counts: number[];
}

function distinct(count: number, key: (i: number) => unknown): Distinct {
  const seen = new Map<unknown, number>();
  const result: Distinct = { first: [], which: [], counts: [] };
  for (let i = 0; i < count; i++) {
    const k = key(i);
    let at = seen.get(k);
    if (at === undefined) {
      at = result.first.length;
      seen.set(k, at);
      result.first.push(i);
      result.counts.push(0);
    }
    result.which.push(at);
    result.counts[at]++;
  }
  return result;
}

function unique(ctx: ReferenceContext): HostTensor[] {
  const given = ctx.tensor(0);
  const flat = !ctx.hasAttribute('axis');
  const x = flat ? reshaped(given, [sizeOf(given.dims)]) : given;
  const axis = flat ? 0 : normalizeAxis(ctx, ctx.int('axis'), x.dims.length);
  const width = entryWidth(x.dtype);
  const values = comparables(x);
  const inner = sizeBetween(x.dims, axis + 1, x.dims.length) * width;
  const outer = sizeBetween(x.dims, 0, axis);
  const count = x.dims[axis];
  const size = outer * inner;
  // Element j of item i, in row-major order of the item.
  const element = (i: number, j: number) => values[(Math.floor(j / inner) * count + i) * inner + (j % inner)];
  const listed = (i: number) => Array.from({ length: size }, (_, j) => element(i, j));
  const key = (i: number) =>
    size === 1
      ? element(i, 0)
      : listed(i)
          .map(String)
          .map((s) => `${s.length}:${s}`)
          .join();
  const { first, which, counts } = distinct(count, key);
  const order = first.map((_, i) => i);
  if (ctx.int('sorted', 1) !== 0) {
    order.sort((a, b) => {
      for (let j = 0; j < size; j++) {
        const sign = compareElements(element(first[a], j), element(first[b], j));
        if (sign !== 0) return sign;
      }
      return 0;
    });
  }
  const rank = new Array<number>(order.length);
  order.forEach((at, i) => {
    rank[at] = i;
  });
  const indices = int64Vector(order.map((at) => first[at]));
  return [
    gathered(ctx, x, indices, axis),
    indices,
    int64Vector(which.map((at) => rank[at])),
    int64Vector(order.map((at) => counts[at])),
  ];
}

function inferUnique(ctx: InferContext): ValueType[] {
  const shape = ctx.shape(0);
  const vector = tensorType('int64', [null]);
  if (!ctx.hasAttribute('axis')) return [tensorType(ctx.dtype(0), [null]), vector, vector, vector];
  const axis = shape && normalizeAxis(ctx, ctx.int('axis'), shape.length);
  const dims = shape?.map((dim, i) => (i === axis ? null : dim));
  return [tensorType(ctx.dtype(0), dims), vector, vector, vector];
}

export const selectionOps: readonly OpDefinition[] = [
  argOp('ArgMax', 1),
  argOp('ArgMin', -1),
  defineOp({
    name: 'TopK',
    since: [1, 10, 11, 24],
    inputs: [1, 2],
    outputs: [2, 2],
    attributes: { axis: 'int', k: 'int', largest: 'int', sorted: 'int' },
    infer: inferTopK,
    keepsRows: keepsBeside((node) => node.int('axis', -1)),
    reference: (ctx) => topK(ctx),
    lower: lowerTopK,
  }),
  defineOp({
    name: 'NonZero',
    since: [9, 13],
    inputs: [1, 1],
    outputs: [1, 1],
    infer: (ctx) => {
      const rank = ctx.shape(0)?.length;
      return [tensorType('int64', [rank === undefined ? null : Math.max(rank, 1), null])];
    },
    reference: (ctx) => [nonZero(ctx.tensor(0))],
  }),
  defineOp({
    name: 'Unique',
    since: [11, 28],
    inputs: [1, 1],
    outputs: [1, 4],
    attributes: { axis: 'int', sorted: 'int' },
    infer: inferUnique,
    reference: (ctx) => unique(ctx),
  }),
];

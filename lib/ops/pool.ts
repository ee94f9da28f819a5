/** Sliding pools (MaxPool, AveragePool, LpPool) and pools over whole planes. */

import { dtypeInfo, isFloat } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf, stridesOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { doubles, expectKind, floatKinds } from './elements.ts';
import type { LowerContext } from './lower.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { lowerGlobalPool, lowerPool, type NativePool } from './pool-lower.ts';
import {
  forEachTap,
  makeWindow,
  mapWindow,
  outerProduct,
  readWindow,
  type SpatialWindow,
  windowAttributes,
  windowDims,
} from './window.ts';

function spatialOf(ctx: NodeReader, x: Shape): Shape {
  if (x.length < 3) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
  return x.slice(2);
}

function poolShape(ctx: NodeReader, x: Shape | undefined): Dim[] | undefined {
  if (!x) return undefined;
  const spatial = spatialOf(ctx, x);
  return [x[0], x[1], ...windowDims(ctx, readWindow(ctx, spatial.length, undefined), spatial)];
}

/** The window of a pool over concrete dims. */
export function poolWindow(ctx: NodeReader, dims: readonly number[]): SpatialWindow {
  const spatial = spatialOf(ctx, dims) as number[];
  return makeWindow(ctx, readWindow(ctx, spatial.length, undefined), spatial);
}

/** Elements of the padded input (`padded`) or of the input alone that each output's window covers. */
function windowCounts(w: SpatialWindow, padded: boolean): Float64Array {
  return outerProduct(
    w.output.map((outputs, i) => {
      const low = padded ? -w.begin[i] : 0;
      const high = w.input[i] + (padded ? w.end[i] : 0);
      return Array.from({ length: outputs }, (_, o) => {
        const start = o * w.strides[i] - w.begin[i];
        const first = Math.max(0, Math.ceil((low - start) / w.dilations[i]));
        const last = Math.min(w.kernel[i] - 1, Math.ceil((high - start) / w.dilations[i]) - 1);
        return Math.max(0, last - first + 1);
      });
    }),
  );
}

/** Sums f of the inputs in every window. */
function windowSums(w: SpatialWindow, planes: number, x: Float64Array): Float64Array {
  const inPlane = sizeOf(w.input);
  const outPlane = sizeOf(w.output);
  const y = doubles(planes * outPlane);
  if (y.length === 0) return y;
  forEachTap(w, (_, { count, source, target, length, step }) => {
    for (let plane = 0; plane < planes; plane++) {
      for (let r = 0; r < count; r++) {
        const start = plane * outPlane + target[r];
        let at = plane * inPlane + source[r];
        for (let o = start; o < start + length[r]; o++) {
          y[o] += x[at];
          at += step;
        }
      }
    }
  });
  return y;
}

function averagePool(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const w = poolWindow(ctx, x.dims);
  const y = windowSums(w, x.dims[0] * x.dims[1], toNumbers(x));
  const dims = [x.dims[0], x.dims[1], ...w.output];
  if (y.length === 0) return [fromNumbers(x.dtype, dims, y)];
  const counts = windowCounts(w, ctx.int('count_include_pad', 0) !== 0);
  for (let i = 0; i < y.length; i++) {
    // A window that lies in the padding alone averages nothing.
    const count = counts[i % counts.length];
    y[i] = count === 0 ? 0 : y[i] / count;
  }
  return [fromNumbers(x.dtype, dims, y)];
}

/** The exponent of an Lp norm: a float in version 1, an int later. */
function exponent(ctx: NodeReader): number {
  if (!ctx.hasAttribute('p')) return 2;
  const p = ctx.version < 2 ? ctx.float('p') : ctx.int('p');
  if (!(p > 0)) throw ctx.error(`"p" is ${p}, expected a positive number`);
  return p;
}

function power(p: number): (x: number) => number {
  if (p === 1) return Math.abs;
  if (p === 2) return (x) => x * x;
  return (x) => Math.abs(x) ** p;
}

function root(p: number): (x: number) => number {
  if (p === 1) return (x) => x;
  return p === 2 ? Math.sqrt : (x) => x ** (1 / p);
}

function lpPool(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const w = poolWindow(ctx, x.dims);
  const p = exponent(ctx);
  const y = windowSums(w, x.dims[0] * x.dims[1], toNumbers(x).map(power(p)));
  return [fromNumbers(x.dtype, [x.dims[0], x.dims[1], ...w.output], y.map(root(p)))];
}

function lowest(t: HostTensor): number {
  const { kind, bits } = dtypeInfo(t.dtype);
  if (kind === 'float') return Number.NEGATIVE_INFINITY;
  return kind === 'int' ? -(2 ** (bits - 1)) : 0;
}

/** Largest element of every window, and its position in the plane (-1 where the window sees none). */
function windowMaxima(w: SpatialWindow, planes: number, x: Float64Array, least: number): [Float64Array, Int32Array] {
  const inPlane = sizeOf(w.input);
  const outPlane = sizeOf(w.output);
  const y = doubles(planes * outPlane).fill(least);
  const index = new Int32Array(y.length).fill(-1);
  if (y.length === 0) return [y, index];
  forEachTap(w, (_, { count, source, target, length, step }) => {
    for (let plane = 0; plane < planes; plane++) {
      const base = plane * inPlane;
      for (let r = 0; r < count; r++) {
        const start = plane * outPlane + target[r];
        let at = source[r];
        for (let o = start; o < start + length[r]; o++) {
          const v = x[base + at];
          if (v > y[o] || index[o] < 0 || (Number.isNaN(v) && !Number.isNaN(y[o]))) {
            y[o] = v;
            index[o] = at;
          }
          at += step;
        }
      }
    }
  });
  return [y, index];
}

/** Positions in the whole input, its planes read by rows or (`storage_order` 1) by columns. */
function flatIndices(w: SpatialWindow, planes: number, index: Int32Array, columns: boolean): BigInt64Array {
  const inPlane = sizeOf(w.input);
  const outPlane = sizeOf(w.output);
  const own = stridesOf(w.input);
  const reversed = stridesOf([...w.input].reverse()).reverse();
  const out = new BigInt64Array(planes * outPlane);
  if (inPlane === 0) return out;
  for (let i = 0; i < out.length; i++) {
    let at = Math.max(index[i], 0);
    if (columns) {
      let rest = at;
      at = 0;
      for (let axis = 0; axis < own.length; axis++) {
        at += Math.floor(rest / own[axis]) * reversed[axis];
        rest %= own[axis];
      }
    }
    out[i] = BigInt(Math.floor(i / outPlane) * inPlane + at);
  }
  return out;
}

function maxPool(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const w = poolWindow(ctx, x.dims);
  const planes = x.dims[0] * x.dims[1];
  const dims = [x.dims[0], x.dims[1], ...w.output];
  const [y, index] = windowMaxima(w, planes, toNumbers(x), lowest(x));
  const out = [fromNumbers(x.dtype, dims, y)];
  if (!ctx.wants(1)) return out;
  return [...out, tensor('int64', dims, flatIndices(w, planes, index, ctx.int('storage_order', 0) === 1))];
}

function maxPoolInfer(ctx: InferContext): ValueType[] {
  const shape = poolShape(ctx, ctx.shape(0));
  const dtype = ctx.dtype(0);
  if (!isFloat(dtype) && dtype !== 'int8' && dtype !== 'uint8') {
    throw ctx.error(`input 0 is of type ${dtype}, expected a float, int8 or uint8`);
  }
  return [tensorType(dtype, shape), tensorType('int64', shape)];
}

/** Padding behind the last position that an average counts; ceil_mode reaches further, but not into what counts. */
function nativeAverage(ctx: LowerContext, w: SpatialWindow): NativePool['average'] {
  const [back, bottom, right] = [...new Array<number>(3 - w.end.length).fill(0), ...w.end];
  return { countPadding: ctx.int('count_include_pad', 0) !== 0, padsAfter: [back, bottom, right] };
}

function lowerWith(average: boolean): (ctx: LowerContext) => string | undefined {
  return (ctx) => {
    const w = poolWindow(ctx, ctx.dims(0));
    const window = mapWindow(w);
    if (!window) return `no kernel for ${w.kernel.length} spatial axes`;
    return lowerPool(ctx, average ? { window, average: nativeAverage(ctx, w) } : { window });
  };
}

/** The pools that have kernels. */
const lowerings: Readonly<Record<string, OpDefinition['lower']>> = {
  MaxPool: lowerWith(false),
  AveragePool: lowerWith(true),
  GlobalMaxPool: (ctx) => lowerGlobalPool(ctx, 'maximum'),
  GlobalAveragePool: (ctx) => lowerGlobalPool(ctx, 'average'),
};

function pool(
  name: string,
  since: readonly number[],
  attributes: OpDefinition['attributes'],
  reference: (ctx: ReferenceContext) => HostTensor[],
): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [1, 1],
    outputs: [1, name === 'MaxPool' ? 2 : 1],
    attributes: { ...windowAttributes, ceil_mode: 'int', ...attributes },
    infer:
      name === 'MaxPool'
        ? maxPoolInfer
        : (ctx) => [tensorType(expectKind(ctx, 0, floatKinds), poolShape(ctx, ctx.shape(0)))],
    reference,
    lower: lowerings[name],
    window: (ctx, dims) => mapWindow(poolWindow(ctx, dims(0))),
  });
}

/** A pool over all spatial axes; `fold` gets one plane. */
function globalPool(
  name: string,
  since: readonly number[],
  attributes: OpDefinition['attributes'],
  fold: (ctx: NodeReader) => (plane: Float64Array) => number,
): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [1, 1],
    outputs: [1, 1],
    attributes,
    traits: ['reduction'],
    keepsRows: () => true,
    lower: lowerings[name],
    infer: (ctx) => {
      const x = ctx.shape(0);
      return [tensorType(expectKind(ctx, 0, floatKinds), x && [x[0], x[1], ...spatialOf(ctx, x).map(() => 1)])];
    },
    reference: (ctx) => {
      const x = ctx.tensor(0);
      const spatial = spatialOf(ctx, x.dims) as number[];
      const plane = sizeOf(spatial);
      const values = toNumbers(x);
      const f = fold(ctx);
      const y = Array.from({ length: x.dims[0] * x.dims[1] }, (_, c) => f(values.subarray(c * plane, (c + 1) * plane)));
      return [fromNumbers(x.dtype, [x.dims[0], x.dims[1], ...spatial.map(() => 1)], y)];
    },
  });
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);

export const poolOps: readonly OpDefinition[] = [
  pool('MaxPool', [1, 8, 10, 11, 12, 22], { storage_order: 'int' }, maxPool),
  pool('AveragePool', [1, 7, 10, 11, 19, 22], { count_include_pad: 'int' }, averagePool),
  pool('LpPool', [1, 2, 11, 18, 22], { p: ['int', 'float'] }, lpPool),
  globalPool('GlobalMaxPool', [1, 22], {}, () => (v) => v.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)),
  globalPool('GlobalAveragePool', [1, 22], {}, () => (v) => sum(v) / v.length),
  globalPool('GlobalLpPool', [1, 2, 22], { p: ['int', 'float'] }, (ctx) => {
    const p = exponent(ctx);
    return (v) => root(p)(sum(v.map(power(p))));
  }),
];

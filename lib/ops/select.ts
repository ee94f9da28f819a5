/** Where and Clip: one of several values, element by element. */

import { isBig, type NumericStorage } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { broadcastStrides, sizeOf } from '../ir/shape.ts';
import { fromBigInts, type HostTensor, packed, toBigInts, unpacked } from '../ir/tensor.ts';
import { broadcastDims, broadcastInfer, forEachRow } from './broadcast.ts';
import { expectKind, expectSame, numberKinds, numberSink, numbersOf } from './elements.ts';
import { lowerClip, lowerWhere } from './lower-elementwise.ts';
import { allocateEntries, entryWidth } from './movement.ts';
import { defineOp, type OpDefinition, type ReferenceContext } from './op.ts';

function where(ctx: ReferenceContext): HostTensor {
  const operands = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const dtype = operands[1].dtype;
  const dims = broadcastDims(
    ctx,
    operands.map((t) => t.dims),
  );
  const condition = operands[0].data as Uint8Array;
  const [x, y] = [unpacked(operands[1]) as NumericStorage, unpacked(operands[2]) as NumericStorage];
  const out = allocateEntries(dtype, sizeOf(dims)) as NumericStorage;
  const width = entryWidth(dtype);
  const strides = operands.map((t) => broadcastStrides(t.dims, dims));
  forEachRow(dims, strides, (at, count, [c, p, q], [dc, dp, dq]) => {
    for (let i = 0; i < count; i++) {
      const taken = condition[c + i * dc] !== 0;
      const from = taken ? x : y;
      const index = taken ? p + i * dp : q + i * dq;
      for (let w = 0; w < width; w++) out[(at + i) * width + w] = from[index * width + w];
    }
  });
  return packed(dtype, dims, out);
}

/** The one element of a bound, or undefined where the bound is omitted. */
function bound(ctx: ReferenceContext, i: number): HostTensor | undefined {
  const t = ctx.optional(i);
  if (t && sizeOf(t.dims) !== 1) throw ctx.error(`input ${i} has ${sizeOf(t.dims)} elements, expected a scalar`);
  return t;
}

function clip(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const bounds = ctx.version < 11 ? [undefined, undefined] : [bound(ctx, 1), bound(ctx, 2)];
  if (isBig(x.dtype)) {
    const [low, high] = bounds.map((t) => t && toBigInts(t)[0]);
    const out = Array.from(toBigInts(x), (v) => {
      const raised = low !== undefined && v < low ? low : v;
      return high !== undefined && raised > high ? high : raised;
    });
    return fromBigInts(x.dtype, x.dims, out);
  }
  const attribute = (name: string) => (ctx.version < 11 && ctx.hasAttribute(name) ? ctx.float(name) : undefined);
  const low = (bounds[0] && numbersOf(bounds[0])[0]) ?? attribute('min') ?? Number.NEGATIVE_INFINITY;
  const high = (bounds[1] && numbersOf(bounds[1])[0]) ?? attribute('max') ?? Number.POSITIVE_INFINITY;
  const source = numbersOf(x);
  const sink = numberSink(x.dtype, x.dims);
  for (let i = 0; i < source.length; i++) sink.values[i] = Math.min(Math.max(source[i], low), high);
  return sink.finish();
}

export const selectOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Where',
    since: [9, 16],
    inputs: [3, 3],
    outputs: [1, 1],
    traits: ['elementwise'],
    affine: ([condition]) => !condition,
    infer: (ctx) => {
      expectKind(ctx, 0, ['bool']);
      const dtype = ctx.type(1) ? ctx.dtype(1) : ctx.dtype(2);
      if (ctx.type(2) && ctx.dtype(2) !== dtype) {
        throw ctx.error(`the inputs are of types ${dtype} and ${ctx.dtype(2)}, expected the same`);
      }
      return [tensorType(dtype, broadcastInfer(ctx, [ctx.shape(0), ctx.shape(1), ctx.shape(2)]))];
    },
    reference: (ctx) => [where(ctx)],
    lower: lowerWhere,
  }),
  defineOp({
    name: 'Clip',
    since: [1, 6, 11, 12, 13],
    inputs: [1, 3],
    outputs: [1, 1],
    attributes: { min: 'float', max: 'float' },
    traits: ['elementwise'],
    infer: (ctx) => {
      if (ctx.version < 11 && ctx.inputCount > 1) throw ctx.error('bounds are inputs from version 11 on only');
      const dtype = expectSame(ctx, 3, numberKinds);
      return [tensorType(dtype, ctx.shape(0))];
    },
    reference: (ctx) => [clip(ctx)],
    lower: lowerClip,
  }),
];

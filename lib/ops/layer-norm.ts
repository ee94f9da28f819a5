/** Normalizations over trailing axes: LayerNormalization, RMSNormalization, SimplifiedLayerNormalization. */

import { type DType, dtypeFromOnnx, isFloat } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { broadcastShapes, broadcastStrides, type Shape, shapeText, sizeBetween, sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { forEachRow } from './broadcast.ts';
import { expectKinds, floatKinds, numberSink, numbersOf } from './elements.ts';
import { keepsBeside } from './keeps-rows.ts';
import type { LowerContext } from './lower.ts';
import { type LayerNormSlots, lowerLayerNorm } from './lower-norm.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';

/** Type of the statistics: what `stash_type` names, float32 by default. */
function stashType(ctx: NodeReader): DType {
  const dtype = dtypeFromOnnx(ctx.int('stash_type', 1));
  if (dtype === undefined || !isFloat(dtype))
    throw ctx.error(`"stash_type" is ${ctx.int('stash_type', 1)}, expected a float type`);
  return dtype;
}

/** Checks that scale or bias broadcasts to the input and not the other way round. */
function checkParameter(ctx: NodeReader, what: string, shape: Shape | undefined, x: Shape): void {
  if (!shape) return;
  const joint = broadcastShapes([shape, x]);
  const grown = joint?.some((dim, i) => typeof dim === 'number' && typeof x[i] === 'number' && dim !== x[i]);
  if (!joint || joint.length !== x.length || grown) {
    throw ctx.error(`the ${what} ${shapeText(shape)} does not broadcast to the input ${shapeText(x)}`);
  }
}

function layerInfer(ctx: InferContext, output: DType): ValueType[] {
  const x = ctx.shape(0);
  expectKinds(ctx, [0, 1, 2], floatKinds);
  if (!x) return [tensorType(output, x), tensorType(stashType(ctx), x), tensorType(stashType(ctx), x)];
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), x.length);
  checkParameter(ctx, 'scale', ctx.shape(1), x);
  checkParameter(ctx, 'bias', ctx.shape(2), x);
  const rows = tensorType(
    stashType(ctx),
    x.map((dim, i) => (i < axis ? dim : 1)),
  );
  return [tensorType(output, x), rows, rows];
}

/** A parameter laid out like the input. */
function spread(t: HostTensor, dims: readonly number[]): Float64Array {
  const out = new Float64Array(sizeOf(dims));
  const values = numbersOf(t);
  forEachRow(dims, [broadcastStrides(t.dims, dims)], (at, count, [from], [step]) => {
    for (let i = 0; i < count; i++) out[at + i] = values[from + i * step];
  });
  return out;
}

/** Normalizes with (`centred`) or without subtracting the mean; gives Y, Mean and InvStdDev. */
function normalizeRows(ctx: ReferenceContext, centred: boolean, output: DType): HostTensor[] {
  const xt = ctx.tensor(0);
  const { dims } = xt;
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), dims.length);
  const bt = centred ? ctx.optional(2) : undefined;
  checkParameter(ctx, 'scale', ctx.tensor(1).dims, dims);
  checkParameter(ctx, 'bias', bt?.dims, dims);
  const length = sizeBetween(dims, axis, dims.length);
  const epsilon = ctx.float('epsilon', 1e-5);
  const x = numbersOf(xt);
  const scale = spread(ctx.tensor(1), dims);
  const bias = bt && spread(bt, dims);
  const y = numberSink(output, dims);
  const rowDims = dims.map((dim, i) => (i < axis ? dim : 1));
  const means = numberSink(stashType(ctx), rowDims);
  const inverses = numberSink(stashType(ctx), rowDims);
  for (let row = 0; row < sizeOf(rowDims); row++) {
    const from = row * length;
    let mean = 0;
    if (centred) for (let i = from; i < from + length; i++) mean += x[i] / length;
    let squares = 0;
    for (let i = from; i < from + length; i++) squares += (x[i] - mean) * (x[i] - mean);
    const inverse = 1 / Math.sqrt(squares / length + epsilon);
    for (let i = from; i < from + length; i++) {
      y.values[i] = (x[i] - mean) * inverse * scale[i] + (bias ? bias[i] : 0);
    }
    means.values[row] = mean;
    inverses.values[row] = inverse;
  }
  return centred ? [y.finish(), means.finish(), inverses.finish()] : [y.finish(), inverses.finish()];
}

const attributes = { axis: 'int', epsilon: 'float', stash_type: 'int' } as const;

function lowerRows(
  ctx: LowerContext,
  slots: Pick<LayerNormSlots, 'beta' | 'mean' | 'inverse'>,
  rms: boolean,
): string | undefined {
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), ctx.dims(0).length);
  const all = { skip: -1, bias: -1, gamma: 1, sum: -1, ...slots };
  return lowerLayerNorm(ctx, all, { axis, epsilon: ctx.float('epsilon', 1e-5), rms });
}

function simplifiedLayerNorm(domain: string): OpDefinition {
  return defineOp({
    name: 'SimplifiedLayerNormalization',
    domain,
    since: [1],
    inputs: [2, 2],
    outputs: [1, 2],
    attributes,
    infer: (ctx) => layerInfer(ctx, ctx.dtype(1)),
    keepsRows: keepsBeside((node) => node.int('axis', -1)),
    reference: (ctx) => normalizeRows(ctx, false, ctx.tensor(1).dtype),
    lower: (ctx) => lowerRows(ctx, { beta: -1, mean: -1, inverse: 1 }, true),
  });
}

export const layerNormOps: readonly OpDefinition[] = [
  defineOp({
    name: 'LayerNormalization',
    since: [1, 17],
    inputs: [2, 3],
    outputs: [1, 3],
    attributes,
    infer: (ctx) => layerInfer(ctx, ctx.dtype(0)),
    keepsRows: keepsBeside((node) => node.int('axis', -1)),
    reference: (ctx) => normalizeRows(ctx, true, ctx.tensor(0).dtype),
    lower: (ctx) => lowerRows(ctx, { beta: 2, mean: 1, inverse: 2 }, false),
  }),
  defineOp({
    name: 'RMSNormalization',
    since: [23],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes,
    infer: (ctx) => layerInfer(ctx, ctx.dtype(1)),
    keepsRows: keepsBeside((node) => node.int('axis', -1)),
    reference: (ctx) => normalizeRows(ctx, false, ctx.tensor(1).dtype),
    lower: (ctx) => lowerRows(ctx, { beta: -1, mean: -1, inverse: -1 }, true),
  }),
  // Not in the standard: what ONNX Runtime's optimizer writes, into either domain.
  simplifiedLayerNorm(''),
  simplifiedLayerNorm('com.microsoft'),
];

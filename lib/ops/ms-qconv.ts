/** com.microsoft QLinearConv, and the quantisation operators of that domain. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { shapeText, sizeBetween } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { convAttributes, convolve, convProblem, convShape } from './conv.ts';
import { channelsFirst, moveChannels } from './ms-conv.ts';
import { perColumn, quantizer, scalarInput } from './ms-quantization.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';

function inferConv(ctx: InferContext): (ValueType | undefined)[] {
  const last = ctx.int('channels_last', 0) !== 0;
  const shape = convShape(ctx, last ? channelsFirst(ctx.shape(0)) : ctx.shape(0), ctx.shape(3), ctx.shape(8));
  return [tensorType(ctx.dtype(7), last && shape ? [shape[0], ...shape.slice(2), shape[1]] : shape)];
}

function convReference(ctx: ReferenceContext): HostValue[] {
  const last = ctx.int('channels_last', 0) !== 0;
  const x = last ? moveChannels(ctx.tensor(0), 'first') : ctx.tensor(0);
  const weight = ctx.tensor(3);
  const bias = ctx.optional(8);
  const p = convProblem(ctx, x.dims, weight.dims, bias?.dims);
  const xZero = scalarInput(ctx, 2, "x's zero point");
  const xScale = scalarInput(ctx, 1, "x's scale");
  const wZeros = perColumn(ctx, ctx.tensor(5), p.outputs, "w's zero point");
  const wScales = perColumn(ctx, ctx.tensor(4), p.outputs, "w's scale");
  const perOutput = weight.data.length / Math.max(p.outputs, 1);
  const w = Float64Array.from(toNumbers(weight), (q, i) => q - wZeros[Math.floor(i / perOutput)]);
  const y = new Float64Array(p.dims.reduce((size, dim) => size * dim, 1));
  convolve(
    p,
    Float64Array.from(toNumbers(x), (q) => q - xZero),
    w,
    y,
  );
  const yZero = ctx.tensor(7);
  const quantize = quantizer(yZero.dtype, {
    scale: scalarInput(ctx, 6, "y's scale"),
    zero: scalarInput(ctx, 7, "y's zero point"),
  });
  const plane = sizeBetween(p.dims, 2, p.dims.length);
  const b = bias && toNumbers(bias);
  const out = y.map((sum, i) => {
    const m = Math.floor(i / plane) % p.outputs;
    return quantize((sum + (b ? b[m] : 0)) * xScale * wScales[m]);
  });
  const output = fromNumbers(yZero.dtype, p.dims, out);
  return [last ? moveChannels(output, 'last') : output];
}

/** Which parameter belongs to element `i`: one for all, or one along the axis. */
function parameterIndex(ctx: NodeReader, x: HostTensor, count: number): (i: number) => number {
  if (count === 1) return () => 0;
  if (!ctx.hasAttribute('axis')) throw ctx.error(`${count} scales need the attribute "axis"`);
  const axis = normalizeAxis(ctx, ctx.int('axis'), x.dims.length);
  if (x.dims[axis] !== count) throw ctx.error(`${count} scales for axis ${axis} of ${shapeText(x.dims)}`);
  const inner = sizeBetween(x.dims, axis + 1, x.dims.length);
  return (i) => Math.floor(i / inner) % count;
}

/** Scales and zero points of inputs 1 and 2. */
function parameters(ctx: ReferenceContext): { scales: Float64Array; zeros: Float64Array } {
  const scales = toNumbers(ctx.tensor(1));
  const zero = ctx.optional(2);
  const zeros = zero ? toNumbers(zero) : new Float64Array(scales.length);
  if (zeros.length !== scales.length) throw ctx.error(`${scales.length} scales and ${zeros.length} zero points`);
  return { scales, zeros };
}

function quantizeReference(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const dtype = ctx.optional(2)?.dtype ?? 'uint8';
  const { scales, zeros } = parameters(ctx);
  const at = parameterIndex(ctx, x, scales.length);
  const makers = Array.from(scales, (scale, i) => quantizer(dtype, { scale, zero: zeros[i] }));
  return [
    fromNumbers(
      dtype,
      x.dims,
      Float64Array.from(toNumbers(x), (value, i) => makers[at(i)](value)),
    ),
  ];
}

function dequantizeReference(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const { scales, zeros } = parameters(ctx);
  const at = parameterIndex(ctx, x, scales.length);
  const values = Float64Array.from(toNumbers(x), (q, i) => (q - zeros[at(i)]) * scales[at(i)]);
  return [fromNumbers(ctx.tensor(1).dtype, x.dims, values)];
}

export const msQConvOps: readonly OpDefinition[] = [
  defineOp({
    name: 'QLinearConv',
    domain: 'com.microsoft',
    since: [1],
    inputs: [8, 9],
    outputs: [1, 1],
    attributes: { ...convAttributes, channels_last: 'int' },
    infer: inferConv,
    reference: convReference,
  }),
  defineOp({
    name: 'QuantizeLinear',
    domain: 'com.microsoft',
    since: [1],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    infer: (ctx) => [tensorType(ctx.has(2) ? ctx.dtype(2) : 'uint8', ctx.shape(0))],
    reference: quantizeReference,
  }),
  defineOp({
    name: 'DequantizeLinear',
    domain: 'com.microsoft',
    since: [1],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    infer: (ctx) => [tensorType(ctx.dtype(1), ctx.shape(0))],
    reference: dequantizeReference,
  }),
];

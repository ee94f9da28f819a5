/** Convolutions of quantized operands: ConvInteger and QLinearConv. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, tensor } from '../ir/tensor.ts';
import { type ConvProblem, convAttributes, convolve, convProblem, convShape } from './conv.ts';
import { doubles, expectKinds, floatKinds, integerKinds, numbersOf } from './elements.ts';
import { bytes, expectType, expectZeros } from './integer-matmul.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { quantizer } from './quantize.ts';
import { mapWindow } from './window.ts';
import { shiftSlices } from './zero-points.ts';

/** Exact sums of products; what lies outside the input is the zero point, so it adds nothing. */
function integerSums(ctx: NodeReader, p: ConvProblem, operands: readonly (HostTensor | undefined)[]): Float64Array {
  const [x, w, xZero, wZero] = operands;
  const y = doubles(sizeOf(p.dims));
  convolve(p, shiftSlices(ctx, x as HostTensor, xZero, true), shiftSlices(ctx, w as HostTensor, wZero, false), y);
  return y;
}

function convInteger(ctx: ReferenceContext): HostTensor[] {
  const [x, w] = [ctx.tensor(0), ctx.tensor(1)];
  const p = convProblem(ctx, x.dims, w.dims);
  const sums = integerSums(ctx, p, [x, w, ctx.optional(2), ctx.optional(3)]);
  return [tensor('int32', p.dims, Int32Array.from(sums))];
}

function integerInfer(ctx: InferContext): ValueType[] {
  expectZeros(ctx, [
    [0, 2],
    [1, 3],
  ]);
  for (const i of [0, 1]) expectType(ctx, i, bytes);
  return [tensorType('int32', convShape(ctx, ctx.shape(0), ctx.shape(1), undefined))];
}

/** A parameter of the output: one number, or one a channel. */
function channelParameter(ctx: NodeReader, what: string, t: HostTensor, channels: number): (c: number) => number {
  const values = numbersOf(t);
  if (values.length === 1) return () => values[0];
  if (values.length !== channels) {
    throw ctx.error(`the ${what} is ${shapeText(t.dims)}, expected one number or [${channels}]`);
  }
  return (c) => values[c];
}

function linearConv(ctx: ReferenceContext): HostTensor[] {
  const [x, w, zero] = [ctx.tensor(0), ctx.tensor(3), ctx.tensor(7)];
  const bias = ctx.optional(8);
  const p = convProblem(ctx, x.dims, w.dims, bias?.dims);
  const sums = integerSums(ctx, p, [x, w, ctx.tensor(2), ctx.tensor(5)]);
  const b = bias && numbersOf(bias);
  const scaleX = channelParameter(ctx, 'input scale', ctx.tensor(1), 1)(0);
  const scaleW = channelParameter(ctx, 'weight scale', ctx.tensor(4), p.outputs);
  const scaleY = channelParameter(ctx, 'output scale', ctx.tensor(6), 1)(0);
  const zeroY = channelParameter(ctx, 'output zero point', zero, 1)(0);
  const put = quantizer(zero.dtype);
  const plane = sizeOf(p.window.output);
  const { fround } = Math;
  for (let i = 0; i < sums.length; i++) {
    const c = Math.floor(i / plane) % p.outputs;
    const factor = fround(fround(scaleX * scaleW(c)) / scaleY);
    sums[i] = put(fround(fround(sums[i] + (b ? b[c] : 0)) * factor), zeroY);
  }
  return [fromNumbers(zero.dtype, p.dims, sums)];
}

function linearInfer(ctx: InferContext): ValueType[] {
  expectZeros(ctx, [
    [0, 2],
    [3, 5],
  ]);
  expectKinds(ctx, [1, 4, 6], floatKinds);
  expectKinds(ctx, [8], integerKinds);
  for (const i of [0, 3]) expectType(ctx, i, bytes);
  return [tensorType(expectType(ctx, 7, bytes), convShape(ctx, ctx.shape(0), ctx.shape(3), ctx.shape(8)))];
}

export const integerConvOps: readonly OpDefinition[] = [
  defineOp({
    name: 'ConvInteger',
    since: [10],
    inputs: [2, 4],
    outputs: [1, 1],
    attributes: convAttributes,
    infer: integerInfer,
    reference: convInteger,
    window: (ctx, dims) => mapWindow(convProblem(ctx, dims(0), dims(1)).window),
  }),
  defineOp({
    name: 'QLinearConv',
    since: [10],
    inputs: [8, 9],
    outputs: [1, 1],
    attributes: convAttributes,
    infer: linearInfer,
    reference: linearConv,
    window: (ctx, dims) => mapWindow(convProblem(ctx, dims(0), dims(3)).window),
  }),
];

/** Activation functions. */

import { isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromBigInts, type HostTensor, reshaped, toBigInts } from '../ir/tensor.ts';
import { broadcastDims, zip } from './broadcast.ts';
import { expectSame, floatKinds, numberKinds, numberSink, numbersOf } from './elements.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { erf, sigmoid, softplus } from './special-functions.ts';
import { type ScalarOf, unary } from './unary.ts';

const elu: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 1);
  return (x) => (x < 0 ? alpha * Math.expm1(x) : x);
};

const celu: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 1);
  return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha));
};

const selu: ScalarOf = (ctx) => {
  const oldest = ctx.version < 6;
  const alpha = ctx.float('alpha', oldest ? 1.6732 : 1.6732631921768188);
  const gamma = ctx.float('gamma', oldest ? 1.0507 : 1.0507010221481323);
  return (x) => gamma * (x <= 0 ? alpha * Math.expm1(x) : x);
};

const leakyRelu: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 0.01);
  return (x) => (x < 0 ? alpha * x : x);
};

const thresholdedRelu: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 1);
  return (x) => (x <= alpha ? 0 : x);
};

const hardSigmoid: ScalarOf = (ctx) => {
  const [alpha, beta] = [ctx.float('alpha', 0.2), ctx.float('beta', 0.5)];
  return (x) => Math.max(0, Math.min(1, alpha * x + beta));
};

const hardSwish: ScalarOf = () => (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5));

const gelu: ScalarOf = (ctx) => {
  const approximate = ctx.string('approximate', 'none');
  if (approximate === 'none') return (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));
  if (approximate !== 'tanh') throw ctx.error(`approximate is "${approximate}", expected "none" or "tanh"`);
  const scale = Math.sqrt(2 / Math.PI);
  return (x) => 0.5 * x * (1 + Math.tanh(scale * (x + 0.044715 * x ** 3)));
};

const swish: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 1);
  return (x) => x * sigmoid(alpha * x);
};

const shrink: ScalarOf = (ctx) => {
  const [bias, lambd] = [ctx.float('bias', 0), ctx.float('lambd', 0.5)];
  return (x) => (x < -lambd ? x + bias : x > lambd ? x - bias : 0);
};

/** Before version 7 a slope vector belongs to the channels, axis 1. */
function slopeDims(ctx: NodeReader, x: readonly number[], slope: readonly number[]): readonly number[] {
  if (ctx.version >= 7 || slope.length !== 1 || slope[0] === 1 || x.length < 2) return slope;
  return [slope[0], ...new Array<number>(x.length - 2).fill(1)];
}

function prelu(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const raw = ctx.tensor(1);
  const slope = reshaped(raw, slopeDims(ctx, x.dims, raw.dims));
  const dims = broadcastDims(ctx, [x.dims, slope.dims]);
  if (sizeOf(dims) !== sizeOf(x.dims)) {
    throw ctx.error(`the slope of shape [${raw.dims.join(',')}] does not broadcast to [${x.dims.join(',')}]`);
  }
  if (isBig(x.dtype)) {
    const out: bigint[] = new Array(sizeOf(dims));
    const [a, b] = [
      { values: toBigInts(x), dims: x.dims },
      { values: toBigInts(slope), dims: slope.dims },
    ];
    zip<bigint, bigint, bigint>(dims, a, b, (v, s) => (v < 0n ? v * s : v), out);
    return fromBigInts(x.dtype, x.dims, out);
  }
  const sink = numberSink(x.dtype, x.dims);
  const [a, b] = [
    { values: numbersOf(x), dims: x.dims },
    { values: numbersOf(slope), dims: slope.dims },
  ];
  zip(dims, a, b, (v: number, s: number) => (v < 0 ? v * s : v), sink.values);
  return sink.finish();
}

function swiglu(ctx: ReferenceContext): HostTensor {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  if (a.dims.length !== b.dims.length || a.dims.some((dim, i) => dim !== b.dims[i])) {
    throw ctx.error(`the inputs are of shapes [${a.dims.join(',')}] and [${b.dims.join(',')}], expected the same`);
  }
  const gate = swish(ctx);
  const [x, y] = [numbersOf(a), numbersOf(b)];
  const sink = numberSink(a.dtype, a.dims);
  for (let i = 0; i < x.length; i++) sink.values[i] = gate(x[i]) * y[i];
  return sink.finish();
}

export const activationOps: readonly OpDefinition[] = [
  unary('Relu', [1, 6, 13, 14], () => (x) => Math.max(x, 0), {
    big: (x) => (x < 0n ? 0n : x),
  }),
  unary('LeakyRelu', [1, 6, 16], leakyRelu, { attributes: { alpha: 'float' } }),
  unary('ThresholdedRelu', [10, 22], thresholdedRelu, { attributes: { alpha: 'float' } }),
  unary('Elu', [1, 6, 22], elu, { attributes: { alpha: 'float' } }),
  unary('Celu', [12, 28], celu, { attributes: { alpha: 'float' } }),
  unary('Selu', [1, 6, 22], selu, { attributes: { alpha: 'float', gamma: 'float' } }),
  unary('HardSigmoid', [1, 6, 22], hardSigmoid, { attributes: { alpha: 'float', beta: 'float' } }),
  unary('HardSwish', [14, 22], hardSwish),
  unary('Gelu', [20], gelu, { attributes: { approximate: 'string' } }),
  unary('Swish', [24], swish, { attributes: { alpha: 'float' } }),
  unary('Mish', [18, 22], () => (x) => x * Math.tanh(softplus(x))),
  unary('Softplus', [1, 22], () => softplus),
  unary('Softsign', [1, 22], () => (x) => x / (1 + Math.abs(x))),
  unary('Shrink', [9], shrink, { attributes: { bias: 'float', lambd: 'float' }, kinds: numberKinds }),
  defineOp({
    name: 'PRelu',
    since: [1, 6, 7, 9, 16],
    inputs: [2, 2],
    outputs: [1, 1],
    traits: ['elementwise'],
    infer: (ctx) => [tensorType(expectSame(ctx, 2, numberKinds), ctx.shape(0))],
    reference: (ctx) => [prelu(ctx)],
  }),
  defineOp({
    name: 'SwiGLU',
    since: [28],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { alpha: 'float' },
    traits: ['elementwise'],
    infer: (ctx) => [tensorType(expectSame(ctx, 2, floatKinds), ctx.shape(0) ?? ctx.shape(1))],
    reference: (ctx) => [swiglu(ctx)],
  }),
];

/** Activation functions. */

import { isBig } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { isConcrete, shapeText, sizeOf } from '../ir/shape.ts';
import { type HostTensor, reshaped, toBigInts } from '../ir/tensor.ts';
import { broadcastDims, zip } from './broadcast.ts';
import { bigSink, expectSame, floatKinds, numberKinds, numberSink, numbersOf } from './elements.ts';
import { lowerBinary, lowerUnary, type UnaryName, type UnaryParameters } from './lower-elementwise.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { erf, sigmoid, softplus } from './special-functions.ts';
import { type ScalarOf, unary } from './unary.ts';

const withAlpha = (name: UnaryName, fallback: number) =>
  lowerUnary(name, (ctx) => ({ alpha: ctx.float('alpha', fallback) }));

const elu: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 1);
  return (x) => (x < 0 ? alpha * Math.expm1(x) : x);
};

const celu: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 1);
  return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha));
};

function seluNumbers(ctx: NodeReader): Required<UnaryParameters> {
  const oldest = ctx.version < 6;
  return {
    alpha: ctx.float('alpha', oldest ? 1.6732 : 1.6732631921768188),
    beta: ctx.float('gamma', oldest ? 1.0507 : 1.0507010221481323),
  };
}

const selu: ScalarOf = (ctx) => {
  const { alpha, beta: gamma } = seluNumbers(ctx);
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

const hardSigmoidNumbers = (ctx: NodeReader): Required<UnaryParameters> => ({
  alpha: ctx.float('alpha', 0.2),
  beta: ctx.float('beta', 0.5),
});

const hardSigmoid: ScalarOf = (ctx) => {
  const { alpha, beta } = hardSigmoidNumbers(ctx);
  return (x) => Math.max(0, Math.min(1, alpha * x + beta));
};

const hardSwish: ScalarOf = () => (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5));

function geluName(ctx: NodeReader): 'Gelu' | 'GeluTanh' {
  const approximate = ctx.string('approximate', 'none');
  if (approximate === 'none') return 'Gelu';
  if (approximate !== 'tanh') throw ctx.error(`approximate is "${approximate}", expected "none" or "tanh"`);
  return 'GeluTanh';
}

const gelu: ScalarOf = (ctx) => {
  if (geluName(ctx) === 'Gelu') return (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));
  const scale = Math.sqrt(2 / Math.PI);
  return (x) => 0.5 * x * (1 + Math.tanh(scale * (x + 0.044715 * x ** 3)));
};

const swish: ScalarOf = (ctx) => {
  const alpha = ctx.float('alpha', 1);
  return (x) => x * sigmoid(alpha * x);
};

const shrinkNumbers = (ctx: NodeReader): Required<UnaryParameters> => ({
  alpha: ctx.float('lambd', 0.5),
  beta: ctx.float('bias', 0),
});

const shrink: ScalarOf = (ctx) => {
  const { alpha: lambd, beta: bias } = shrinkNumbers(ctx);
  return (x) => (x < -lambd ? x + bias : x > lambd ? x - bias : 0);
};

/** Before version 7 a slope vector belongs to the channels, axis 1. */
function slopeDims(ctx: NodeReader, x: readonly number[], slope: readonly number[]): readonly number[] {
  if (ctx.version >= 7 || slope.length !== 1 || slope[0] === 1 || x.length < 2) return slope;
  return [slope[0], ...new Array<number>(x.length - 2).fill(1)];
}

function inferPrelu(ctx: InferContext): ValueType[] {
  const [x, slope] = [ctx.shape(0), ctx.shape(1)];
  if (ctx.version >= 7 && isConcrete(x) && isConcrete(slope)) checkSlope(ctx, x, slope);
  return [tensorType(expectSame(ctx, 2, numberKinds), x)];
}

function checkSlope(ctx: NodeReader, x: readonly number[], slope: readonly number[]): void {
  if (sizeOf(broadcastDims(ctx, [x, slope])) === sizeOf(x)) return;
  throw ctx.error(`the slope of shape ${shapeText(slope)} does not broadcast to ${shapeText(x)}`);
}

function prelu(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const raw = ctx.tensor(1);
  const slope = reshaped(raw, slopeDims(ctx, x.dims, raw.dims));
  checkSlope(ctx, x.dims, slope.dims);
  const dims = broadcastDims(ctx, [x.dims, slope.dims]);
  if (isBig(x.dtype)) {
    const sink = bigSink(x.dtype, x.dims);
    const [a, b] = [
      { values: toBigInts(x), dims: x.dims },
      { values: toBigInts(slope), dims: slope.dims },
    ];
    zip<bigint, bigint, bigint>(dims, a, b, (v, s) => (v < 0n ? v * s : v), sink.values);
    return sink.finish();
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
    lower: lowerUnary('Relu'),
  }),
  unary('LeakyRelu', [1, 6, 16], leakyRelu, { attributes: { alpha: 'float' }, lower: withAlpha('LeakyRelu', 0.01) }),
  unary('ThresholdedRelu', [10, 22], thresholdedRelu, {
    attributes: { alpha: 'float' },
    lower: withAlpha('ThresholdedRelu', 1),
  }),
  unary('Elu', [1, 6, 22], elu, { attributes: { alpha: 'float' }, lower: withAlpha('Elu', 1) }),
  unary('Celu', [12, 28], celu, { attributes: { alpha: 'float' }, lower: withAlpha('Celu', 1) }),
  unary('Selu', [1, 6, 22], selu, {
    attributes: { alpha: 'float', gamma: 'float' },
    lower: lowerUnary('Selu', seluNumbers),
  }),
  unary('HardSigmoid', [1, 6, 22], hardSigmoid, {
    attributes: { alpha: 'float', beta: 'float' },
    lower: lowerUnary('HardSigmoid', hardSigmoidNumbers),
  }),
  unary('HardSwish', [14, 22], hardSwish, { lower: lowerUnary('HardSwish') }),
  unary('Gelu', [20], gelu, { attributes: { approximate: 'string' }, lower: lowerUnary(geluName) }),
  unary('Swish', [24], swish, { attributes: { alpha: 'float' }, lower: withAlpha('Swish', 1) }),
  unary('Mish', [18, 22], () => (x) => x * Math.tanh(softplus(x)), { lower: lowerUnary('Mish') }),
  unary('Softplus', [1, 22], () => softplus, { lower: lowerUnary('Softplus') }),
  unary('Softsign', [1, 22], () => (x) => x / (1 + Math.abs(x)), { lower: lowerUnary('Softsign') }),
  unary('Shrink', [9], shrink, {
    attributes: { bias: 'float', lambd: 'float' },
    kinds: numberKinds,
    lower: lowerUnary('Shrink', shrinkNumbers),
  }),
  defineOp({
    name: 'PRelu',
    since: [1, 6, 7, 9, 16],
    inputs: [2, 2],
    outputs: [1, 1],
    traits: ['elementwise'],
    infer: inferPrelu,
    reference: (ctx) => [prelu(ctx)],
    lower: (ctx) => (ctx.version < 7 ? 'slopes by channel, as before version 7' : lowerBinary('PRelu')(ctx)),
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

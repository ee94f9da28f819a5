/** Activations of com.microsoft, and the activations that its fused operators name. */

import { tensorType } from '../ir/graph.ts';
import { broadcastStrides, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { softmaxRow } from './attention-core.ts';
import { forEachRow } from './broadcast.ts';
import { dimAt, divideDim } from './dims.ts';
import { expectSame, floatKinds } from './elements.ts';
import { firstAlone } from './keeps-rows.ts';
import { lowerBiased, lowerUnary } from './lower-elementwise.ts';
import { defineOp, type NodeReader, normalizeAxis, type OpDefinition, type ReferenceContext } from './op.ts';
import { erf, sigmoid, softplus } from './special-functions.ts';

/** A function of one number. */
export type Scalar = (x: number) => number;

/** x times the normal distribution function. */
export const gelu: Scalar = (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));

/** The approximation of {@link gelu} by a hyperbolic tangent. */
export const tanhGelu: Scalar = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** An activation by name from its parameters; what is missing takes the operator's default. */
type Maker = (p: readonly (number | undefined)[]) => Scalar;

const makers: Readonly<Record<string, Maker>> = {
  Affine:
    ([alpha = 1, beta = 0]) =>
    (x) =>
      alpha * x + beta,
  Clip:
    ([low = Number.NEGATIVE_INFINITY, high = Number.POSITIVE_INFINITY]) =>
    (x) =>
      Math.min(Math.max(x, low), high),
  Elu:
    ([alpha = 1]) =>
    (x) =>
      x < 0 ? alpha * Math.expm1(x) : x,
  Gelu: () => gelu,
  HardSigmoid:
    ([alpha = 0.2, beta = 0.5]) =>
    (x) =>
      Math.max(0, Math.min(1, alpha * x + beta)),
  HardSwish: () => (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5)),
  LeakyRelu:
    ([alpha = 0.01]) =>
    (x) =>
      x < 0 ? alpha * x : x,
  Relu: () => (x) => Math.max(x, 0),
  Selu:
    ([alpha = 1.6732632423543772, gamma = 1.0507009873554805]) =>
    (x) =>
      gamma * (x > 0 ? x : alpha * Math.expm1(x)),
  Sigmoid: () => sigmoid,
  Softplus: () => softplus,
  Softsign: () => (x) => x / (1 + Math.abs(x)),
  Tanh: () => Math.tanh,
  ThresholdedRelu:
    ([alpha = 1]) =>
    (x) =>
      x > alpha ? x : 0,
};

/** The activation called `name`; throws where the operator knows none of that name. The empty name is the identity. */
export function namedActivation(ctx: NodeReader, name: string, parameters: readonly (number | undefined)[]): Scalar {
  if (name === '') return (x) => x;
  const maker = makers[name];
  if (!maker) throw ctx.error(`activation is "${name}", expected one of ${Object.keys(makers).join(', ')}`);
  return maker(parameters);
}

/** The data as doubles of their own, with a bias over the last axis added. */
export function withBias(ctx: ReferenceContext, x: HostTensor, bias: HostTensor | undefined): Float64Array {
  const values = Float64Array.from(toNumbers(x));
  if (!bias) return values;
  const columns = x.dims.at(-1) ?? 1;
  if (bias.dims.length !== 1 || bias.dims[0] !== columns) {
    throw ctx.error(`the bias has shape ${shapeText(bias.dims)}, expected [${columns}]`);
  }
  const b = toNumbers(bias);
  for (let i = 0; i < values.length; i++) values[i] += b[i % columns];
  return values;
}

function biased(
  name: string,
  inputs: readonly [number, number],
  f: (ctx: NodeReader) => Scalar,
  lower: OpDefinition['lower'],
): OpDefinition {
  return defineOp({
    name,
    domain: 'com.microsoft',
    since: [1],
    inputs,
    outputs: [1, 1],
    attributes: name === 'QuickGelu' ? { alpha: 'float' } : undefined,
    traits: inputs[1] === 1 ? ['elementwise'] : [],
    keepsRows: (_, inputs) => firstAlone(inputs) && inputs.ranks[0] > 1,
    infer: (ctx) => [tensorType(expectSame(ctx, inputs[1], floatKinds), ctx.shape(0))],
    reference: (ctx) => {
      const x = ctx.tensor(0);
      const bias = inputs[1] > 1 ? ctx.optional(1) : undefined;
      return [fromNumbers(x.dtype, x.dims, withBias(ctx, x, bias).map(f(ctx)))];
    },
    lower,
  });
}

function splitGelu(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const values = withBias(ctx, x, ctx.tensor(1));
  const columns = x.dims.at(-1) as number;
  if (columns % 2 !== 0) throw ctx.error(`the input has ${columns} columns, expected an even number`);
  const half = columns / 2;
  const out = new Float64Array(values.length / 2);
  for (let i = 0; i < out.length; i++) {
    const at = Math.floor(i / half) * columns + (i % half);
    out[i] = values[at] * gelu(values[at + half]);
  }
  return [fromNumbers(x.dtype, [...x.dims.slice(0, -1), half], out)];
}

/** Strides of the bias over the data: BiasSoftmax repeats it either just before the axis or over the leading axes. */
function biasStrides(ctx: NodeReader, data: readonly number[], bias: readonly number[]): number[] {
  const padded = [...new Array<number>(Math.max(data.length - bias.length, 0)).fill(1), ...bias];
  const fits = padded.length === data.length && padded.every((dim, i) => dim === 1 || dim === data[i]);
  if (!fits) throw ctx.error(`the bias ${shapeText(bias)} does not broadcast to ${shapeText(data)}`);
  return broadcastStrides(padded, data);
}

function biasSoftmax(ctx: ReferenceContext): HostValue[] {
  const [x, bias] = [ctx.tensor(0), ctx.tensor(1)];
  const axis = normalizeAxis(ctx, ctx.int('axis', 1), x.dims.length);
  const values = Float64Array.from(toNumbers(x));
  const b = toNumbers(bias);
  forEachRow(x.dims, [biasStrides(ctx, x.dims, bias.dims)], (at, count, [from], [step]) => {
    for (let i = 0; i < count; i++) values[at + i] += b[from + i * step];
  });
  const inner = x.dims.slice(axis).reduce((product, dim) => product * dim, 1);
  for (let at = 0; at < values.length; at += inner) softmaxRow(values.subarray(at, at + inner));
  return [fromNumbers(x.dtype, x.dims, values)];
}

function biasAdd(ctx: ReferenceContext): HostValue[] {
  const [x, skip] = [ctx.tensor(0), ctx.tensor(2)];
  const values = withBias(ctx, x, ctx.tensor(1));
  const residual = toNumbers(skip);
  if (residual.length !== values.length) throw ctx.error(`the residual has shape ${shapeText(skip.dims)}`);
  for (let i = 0; i < values.length; i++) values[i] += residual[i];
  return [fromNumbers(x.dtype, x.dims, values)];
}

const domain = 'com.microsoft';

export const msActivationOps: readonly OpDefinition[] = [
  biased('BiasGelu', [2, 2], () => gelu, lowerBiased('Gelu')),
  biased('FastGelu', [1, 2], () => tanhGelu, lowerBiased('GeluTanh')),
  biased('Gelu', [1, 1], () => gelu, lowerUnary('Gelu')),
  biased(
    'QuickGelu',
    [1, 1],
    (ctx) => {
      const alpha = ctx.float('alpha', 1.702);
      return (x) => x * sigmoid(alpha * x);
    },
    lowerUnary('Swish', (ctx) => ({ alpha: ctx.float('alpha', 1.702) })),
  ),
  defineOp({
    name: 'BiasSplitGelu',
    domain,
    since: [1],
    inputs: [2, 2],
    outputs: [1, 1],
    infer: (ctx) => {
      const x = ctx.shape(0);
      return [tensorType(expectSame(ctx, 2), x && [...x.slice(0, -1), divideDim(dimAt(x, -1), 2)])];
    },
    reference: splitGelu,
  }),
  defineOp({
    name: 'BiasSoftmax',
    domain,
    since: [1],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { axis: 'int', is_inner_broadcast: 'int' },
    infer: (ctx) => [tensorType(expectSame(ctx, 2), ctx.shape(0))],
    reference: biasSoftmax,
  }),
  defineOp({
    name: 'BiasAdd',
    domain,
    since: [1],
    inputs: [3, 3],
    outputs: [1, 1],
    infer: (ctx) => [tensorType(expectSame(ctx, 3), ctx.shape(0))],
    reference: biasAdd,
  }),
];

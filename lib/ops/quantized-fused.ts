/** Convolutions and linear layers over bytes, as the rewrites make them from quantized models. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, shapeText, sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { convAttributes, convolve, convProblem, convShape } from './conv.ts';
import { doubles, numbersOf } from './elements.ts';
import { activate, checkResidual, epilogueAttributes } from './epilogue.ts';
import { bytes, expectType } from './integer-matmul.ts';
import type { LowerContext } from './lower.ts';
import { matmulProblem, matmulShape, multiply } from './matmul.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  type OpDefinition,
  type ReferenceContext,
  type RowInputs,
} from './op.ts';
import { quantizer } from './quantize.ts';
import { lowerQuantizedConv, lowerQuantizedLinear } from './quantized-lower.ts';
import { roundHalfEven } from './special-functions.ts';
import { mapWindow } from './window.ts';

const { fround } = Math;

/** Number of the input that is added before the activation. */
const RESIDUAL = 5;

const outputTypes = ['uint8', 'int8', 'float32'] as const;
type OutputType = (typeof outputTypes)[number];

/** Element type of the output of QConv and QLinear. */
export function quantizedOutput(ctx: NodeReader): OutputType {
  const named = ctx.string('y_type', 'uint8');
  const known = outputTypes.find((type) => type === named);
  if (!known) throw ctx.error(`"y_type" is "${named}", expected ${outputTypes.join(', ')}`);
  return known;
}

/** One number for each of `channels`, from a tensor of one or `channels` numbers. */
function perChannel(ctx: NodeReader, what: string, t: HostTensor | undefined, channels: number): Float64Array {
  if (!t) return new Float64Array(channels);
  const values = numbersOf(t);
  if (values.length !== 1 && values.length !== channels) {
    throw ctx.error(`the ${what} is ${shapeText(t.dims)}, expected one number or [${channels}]`);
  }
  return Float64Array.from({ length: channels }, (_, c) => values[values.length === 1 ? 0 : c]);
}

/** Weights less their zero points; `channelOf` gives the output channel of an element. */
function centred(
  ctx: ReferenceContext,
  zero: HostTensor | undefined,
  channels: number,
  channelOf: (i: number) => number,
): Float64Array {
  const zeros = perChannel(ctx, "weights' zero point", zero, channels);
  return toNumbers(ctx.tensor(1)).map((w, i) => w - zeros[channelOf(i)]);
}

interface Sums {
  readonly dims: readonly number[];
  readonly sums: Float64Array;
  readonly channels: number;
  channelOf(i: number): number;
}

function convSums(ctx: ReferenceContext, x: Float64Array, zero: HostTensor | undefined): Sums {
  const weight = ctx.tensor(1);
  const p = convProblem(ctx, ctx.tensor(0).dims, weight.dims);
  const per = sizeBetween(weight.dims, 1, weight.dims.length);
  const sums = doubles(sizeOf(p.dims));
  const w = centred(ctx, zero, p.outputs, (i) => Math.floor(i / per));
  convolve(p, x, w, sums);
  const plane = sizeOf(p.window.output);
  return { dims: p.dims, sums, channels: p.outputs, channelOf: (i) => Math.floor(i / plane) % p.outputs };
}

function linearSums(ctx: ReferenceContext, x: Float64Array, zero: HostTensor | undefined): Sums {
  const { dims } = ctx.tensor(1);
  const p = matmulProblem(ctx, ctx.tensor(0).dims, dims);
  const w = centred(ctx, zero, p.columns, (i) => i % p.columns);
  const wide = (of: readonly number[], data: Float64Array): HostTensor => tensor('float64', of, data);
  const sums = multiply(p, wide(ctx.tensor(0).dims, x), wide(dims, w));
  return { dims: p.dims, sums, channels: p.columns, channelOf: (i) => i % p.columns };
}

type MakeSums = (ctx: ReferenceContext, x: Float64Array, zero: HostTensor | undefined) => Sums;

/** What joins a product and its residual: see the operators' description. */
function joiner(ctx: ReferenceContext, residual: HostTensor | undefined): (v: number, i: number) => number {
  const kind = ctx.int('middle', 0);
  const bytes = residual && residual.dtype !== 'float32';
  const added = residual && toNumbers(residual);
  const factor = bytes ? ctx.float('residual_scale') : 1;
  const zero = bytes ? ctx.int('residual_zero_point', 0) : 0;
  const real = (i: number): number => (added ? fround((added[i] - zero) * factor) : 0);
  if (kind === 0) return (v, i) => fround(v + real(i));
  const [low, high] = [ctx.float('middle_low'), ctx.float('middle_high')];
  const [offset, scale, shift] = [
    ctx.float('middle_offset', 0),
    ctx.float('middle_scale'),
    ctx.float('middle_shift', 0),
  ];
  const middle = (v: number): number => roundHalfEven(Math.min(high, Math.max(low, v))) + offset;
  if (kind === 1 || !added) return (v, i) => fround(fround(middle(v) * scale) + real(i));
  if (kind === 2) return (v, i) => fround(middle(v) * scale + fround(added[i] * factor + shift));
  return (v, i) => fround(added[i] * factor + fround(middle(v) * scale + shift));
}

function quantizedReference(makeSums: MakeSums): OpDefinition['reference'] {
  return (ctx) => {
    const zero = ctx.int('x_zero_point', 0);
    const x = toNumbers(ctx.tensor(0)).map((q) => q - zero);
    const { dims, sums, channels, channelOf } = makeSums(ctx, x, ctx.optional(3));
    const scale = perChannel(ctx, 'scale', ctx.tensor(2), channels);
    const bias = perChannel(ctx, 'bias', ctx.optional(4), channels);
    const type = quantizedOutput(ctx);
    const f = activate(ctx);
    const join = joiner(ctx, ctx.optional(5));
    const values = sums.map((sum, i) => {
      const c = channelOf(i);
      return f(join(fround(fround(sum + bias[c]) * scale[c]), i));
    });
    if (type === 'float32') return [fromNumbers(type, dims, values)];
    const put = quantizer(type);
    const [factor, yZero] = [ctx.float('y_factor', 1), ctx.int('y_zero_point', 0)];
    const bytes = values.map((v) => put(fround(fround(v) * factor), yZero));
    return [fromNumbers(type, dims, bytes)];
  };
}

const quantizedAttributes = {
  ...epilogueAttributes,
  x_zero_point: 'int',
  y_type: 'string',
  y_factor: 'float',
  y_zero_point: 'int',
  residual_scale: 'float',
  residual_zero_point: 'int',
  middle: 'int',
  middle_low: 'float',
  middle_high: 'float',
  middle_offset: 'float',
  middle_scale: 'float',
  middle_shift: 'float',
} as const;

const shapeOfConv = (ctx: InferContext): Dim[] | undefined => convShape(ctx, ctx.shape(0), ctx.shape(1), undefined);
const shapeOfLinear = (ctx: InferContext): Dim[] | undefined => matmulShape(ctx, ctx.shape(0), ctx.shape(1));

function inferQuantized(shape: (ctx: InferContext) => Dim[] | undefined) {
  return (ctx: InferContext): ValueType[] => {
    for (const i of [0, 1]) expectType(ctx, i, bytes);
    const dims = shape(ctx);
    checkResidual(ctx, RESIDUAL, dims);
    return [tensorType(quantizedOutput(ctx), dims)];
  };
}

const convWindow: OpDefinition['window'] = (ctx, dims) => mapWindow(convProblem(ctx, dims(0), dims(1)).window);

/** x has rows, and the residual where there is one. */
const keepsRows = (_: NodeReader, { ranks, shared }: RowInputs): boolean =>
  !shared[0] && shared.slice(1, RESIDUAL).every((each) => each) && (!ranks[RESIDUAL] || !shared[RESIDUAL]);

function lowerConv(ctx: LowerContext): string | undefined {
  const window = mapWindow(convProblem(ctx, ctx.dims(0), ctx.dims(1)).window);
  if (!window) return `no kernel for ${ctx.dims(0).length - 2} spatial axes`;
  return lowerQuantizedConv(ctx, quantizedOutput(ctx), window);
}

const common = { domain: 'filigree', since: [1], inputs: [3, 6], outputs: [1, 1], traits: ['bytes'] } as const;

/**
 * QConv and QLinear: products of bytes with constant parameters.
 *
 * Inputs: 0 x, int8 or uint8 (QConv [N, C, ...], QLinear [..., K]); then constants: 1 weights, int8 or uint8
 * ([M, C / group, ...]; [K, N]); 2 scale, float32, one number or one an output channel: x's scale times the weights';
 * 3 the weights' zero point (optional), of their type, one number or one a channel; 4 bias (optional), int32, in units
 * of `scale`; 5 residual (optional), of the output's shape: bytes, or float32 where the output is float32.
 *
 * With s = sum of (x - x_zero_point) * (w - w_zero_point), + bias:
 *     v = activation(s * scale + (residual - residual_zero_point) * residual_scale)
 *     y = saturate(round_half_even(v * y_factor) + y_zero_point), or v itself where `y_type` is "float32".
 * `y_factor` is 1 by default: scales are then in units of y. Padding counts as x_zero_point. With `middle` 1, 2 or 3
 * s * scale is first bounded by `middle_low` and `middle_high`, rounded to nearest even and raised by `middle_offset`, to
 * the bytes m that a graph quantizes and dequantizes before it goes on:
 *     1: v = activation(m * middle_scale + (residual - residual_zero_point) * residual_scale)
 *     2: v = activation(m * middle_scale + (residual * residual_scale + middle_shift))
 *     3: v = activation(residual * residual_scale + (m * middle_scale + middle_shift))
 * where 2 and 3 round each sum once: the arithmetic of ONNX Runtime's addition of bytes.
 */
export const quantizedFusedOps: readonly OpDefinition[] = [
  defineOp({
    ...common,
    name: 'QConv',
    attributes: { ...convAttributes, ...quantizedAttributes },
    infer: inferQuantized(shapeOfConv),
    reference: quantizedReference(convSums),
    lower: lowerConv,
    window: convWindow,
    keepsRows,
  }),
  defineOp({
    ...common,
    name: 'QLinear',
    attributes: quantizedAttributes,
    infer: inferQuantized(shapeOfLinear),
    reference: quantizedReference(linearSums),
    lower: (ctx) => lowerQuantizedLinear(ctx, quantizedOutput(ctx)),
    keepsRows: (node, inputs) => inputs.ranks[0] > 1 && keepsRows(node, inputs),
  }),
];

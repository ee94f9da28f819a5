/** Linear layers by dynamic quantization, as the rewrites make them: x is rounded to 256 levels. */

import { tensorType } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { activate, activationOf, epilogueAttributes } from './epilogue.ts';
import type { LowerContext, Operand } from './lower.ts';
import { matmulProblem, matmulShape, multiply } from './matmul.ts';
import { defineOp, type OpDefinition, type ReferenceContext } from './op.ts';
import { roundHalfEven } from './special-functions.ts';

/** Inputs of the node. */
const [X, W, BIAS, RESIDUAL, SCALE, ZERO] = [0, 1, 2, 3, 4, 5];

/** Between the least and the greatest value, 0 among them, in steps of a 255th: DynamicQuantizeLinear and back. */
function rounded(x: Float64Array): Float64Array {
  const low = x.reduce((a, b) => Math.min(a, b), 0);
  const high = x.reduce((a, b) => Math.max(a, b), 0);
  const scale = high > low ? Math.fround(Math.fround(high - low) / 255) : 1;
  const zero = roundHalfEven(Math.min(255, Math.fround(-low / scale)));
  return x.map((value) => {
    const level = roundHalfEven(Math.fround(value / scale)) + zero;
    return scale * (Math.min(255, Math.max(0, level)) - zero);
  });
}

/** The weights [depth, columns] as numbers; scale and zero point are one number, or one a column. */
function weightsOf(ctx: ReferenceContext): HostTensor {
  const weights = ctx.tensor(W);
  const scale = toNumbers(ctx.tensor(SCALE));
  const zero = ctx.has(ZERO) ? toNumbers(ctx.tensor(ZERO)) : undefined;
  const columns = weights.dims[1];
  const at = (values: Float64Array, i: number): number => values[values.length === 1 ? 0 : i % columns];
  const numbers = toNumbers(weights).map((w, i) => (w - (zero ? at(zero, i) : 0)) * at(scale, i));
  return tensor('float64', weights.dims, numbers);
}

function reference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(X);
  const weights = weightsOf(ctx);
  const p = matmulProblem(ctx, x.dims, weights.dims);
  const levels = tensor('float64', x.dims, rounded(toNumbers(x)));
  const [bias, residual] = [ctx.optional(BIAS), ctx.optional(RESIDUAL)];
  const b = bias && toNumbers(bias);
  const z = residual && toNumbers(residual);
  const f = activate(ctx);
  const y = multiply(p, levels, weights).map((v, i) => f(v + (b ? b[i % p.columns] : 0) + (z ? z[i] : 0)));
  return [fromNumbers('float32', p.dims, y)];
}

/** Bytes of `rows` quantized rows: words of four, then 16 bytes each. */
const rowBytes = (rows: number, depth: number): number =>
  Math.ceil((rows * Math.ceil(depth / 4)) / 16) * 64 + 16 * rows;

function lower(ctx: LowerContext): string | undefined {
  const constants = [W, BIAS, SCALE, ZERO].filter((i) => ctx.has(i));
  if (constants.some((i) => !ctx.constant(i))) return 'the weights are computed at run time';
  const [depth, columns] = ctx.dims(W);
  if (depth >= 2 ** 24 || sizeOf(ctx.dims(X)) === 0) return 'an empty tensor, or very long rows';
  const rows = sizeOf(ctx.dims(X)) / depth;
  const optional = (i: number): Operand | null => (ctx.has(i) ? ctx.input(i) : null);
  const packing = ctx.packed('pack.matmul.bytes', [ctx.input(W), ctx.input(SCALE), optional(ZERO)], {
    ...{ depth, columns, signed: Number(ctx.dtype(W) === 'int8'), scales: sizeOf(ctx.dims(SCALE)) },
    zeros: ctx.has(ZERO) ? sizeOf(ctx.dims(ZERO)) : 0,
  });
  const bytes = ctx.scratch('uint8', [rowBytes(rows, depth)]);
  const ranges = ctx.scratch('float32', [rows, 2]);
  ctx.step('range.rows', [ctx.input(X), ranges], { rows, depth });
  ctx.step('quantize.rows', [ctx.input(X), ranges, bytes], { rows, depth });
  const { kind, alpha, beta } = activationOf(ctx);
  const params = { rows, depth, columns, activation: kind, alpha, beta };
  ctx.step('matmul.bytes', [bytes, packing, optional(BIAS), optional(RESIDUAL), ctx.output(0)], params);
  return undefined;
}

export const dynamicLinearOps: readonly OpDefinition[] = [
  // Inputs: x [..., K] float32, constant 8-bit weights [K, N], bias [N], residual of the output's shape, the weights'
  // scale and zero point (scalar or [N]).
  defineOp({
    name: 'DynamicLinear',
    domain: 'filigree',
    since: [1],
    inputs: [5, 6],
    outputs: [1, 1],
    attributes: epilogueAttributes,
    infer: (ctx) => [tensorType('float32', matmulShape(ctx, ctx.shape(X), ctx.shape(W)))],
    reference,
    lower,
  }),
];

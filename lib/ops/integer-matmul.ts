/** Matrix products of quantized operands: MatMulInteger and QLinearMatMul. */

import type { DType } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';
import { expectKinds, floatKinds } from './elements.ts';
import { keepsProductRows } from './keeps-rows.ts';
import { type MatMulProblem, matmulProblem, matmulShape, multiplyStacks } from './matmul.ts';
import { defineOp, type InferContext, type OpDefinition, type ReferenceContext } from './op.ts';
import { fromQuantized, quantizer } from './quantize.ts';
import { shiftMatrix, spreadParameter } from './zero-points.ts';

/** Throws where input `i` is not of one of the types. */
export function expectType(ctx: InferContext, i: number, types: readonly DType[]): DType {
  const dtype = ctx.dtype(i);
  if (!types.includes(dtype)) throw ctx.error(`input ${i} is of type ${dtype}, expected ${types.join(' or ')}`);
  return dtype;
}

/** Throws where a zero point (the second of a pair) is not of its operand's type. */
export function expectZeros(ctx: InferContext, pairs: readonly (readonly [number, number])[]): void {
  for (const [operand, zero] of pairs) {
    if (ctx.has(zero) && ctx.type(zero) && ctx.dtype(zero) !== ctx.dtype(operand)) {
      throw ctx.error(`the zero point (input ${zero}) is of type ${ctx.dtype(zero)}, expected ${ctx.dtype(operand)}`);
    }
  }
}

export const bytes: readonly DType[] = ['uint8', 'int8'];

const float8: readonly DType[] = ['float8e4m3fn', 'float8e4m3fnuz', 'float8e5m2', 'float8e5m2fnuz'];

function integerInfer(ctx: InferContext): ValueType[] {
  expectZeros(ctx, [
    [0, 2],
    [1, 3],
  ]);
  for (const i of [0, 1]) expectType(ctx, i, bytes);
  return [tensorType('int32', matmulShape(ctx, ctx.shape(0), ctx.shape(1)))];
}

/** The product of a and b minus their zero points. */
function shiftedProduct(
  ctx: ReferenceContext,
  p: MatMulProblem,
  [a, b, zeroA, zeroB]: readonly [HostTensor, HostTensor, HostTensor | undefined, HostTensor | undefined],
): Float64Array {
  const left = { dims: a.dims, values: shiftMatrix(ctx, a, zeroA, 'rows') };
  return multiplyStacks(p, left, { dims: b.dims, values: shiftMatrix(ctx, b, zeroB, 'columns') });
}

function matMulInteger(ctx: ReferenceContext): HostTensor[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  const p = matmulProblem(ctx, a.dims, b.dims);
  // Sums stay far below 2^53, so doubles are exact and the conversion wraps like int32.
  return [tensor('int32', p.dims, Int32Array.from(shiftedProduct(ctx, p, [a, b, ctx.optional(2), ctx.optional(3)])))];
}

function linearInfer(ctx: InferContext): ValueType[] {
  expectZeros(ctx, [
    [0, 2],
    [3, 5],
  ]);
  expectKinds(ctx, [1, 4, 6], floatKinds);
  for (const i of [0, 3]) expectType(ctx, i, [...bytes, ...float8]);
  return [tensorType(expectType(ctx, 7, [...bytes, ...float8]), matmulShape(ctx, ctx.shape(0), ctx.shape(3)))];
}

function linearMatMul(ctx: ReferenceContext): HostTensor[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(3)];
  const zero = ctx.tensor(7);
  const p = matmulProblem(ctx, a.dims, b.dims);
  const sums = shiftedProduct(ctx, p, [a, b, ctx.tensor(2), ctx.tensor(5)]);
  const full = [...p.batch, p.rows, p.columns];
  const scaleA = spreadParameter(ctx, 'scale', ctx.tensor(1), full, 'rows');
  const scaleB = spreadParameter(ctx, 'scale', ctx.tensor(4), full, 'columns');
  const scaleY = spreadParameter(ctx, 'scale', ctx.tensor(6), full, 'rows');
  const zeroY = spreadParameter(ctx, 'zero point', zero, full, 'rows');
  const put = quantizer(zero.dtype);
  const { fround } = Math;
  const y = sums.map((v, i) => put(fround(fround(v) * fround(fround(scaleA[i] * scaleB[i]) / scaleY[i])), zeroY[i]));
  return [fromQuantized(zero.dtype, p.dims, y)];
}

export const integerMatmulOps: readonly OpDefinition[] = [
  defineOp({
    name: 'MatMulInteger',
    since: [10],
    inputs: [2, 4],
    outputs: [1, 1],
    infer: integerInfer,
    keepsRows: (node, inputs) => inputs.shared.slice(2).every(Boolean) && keepsProductRows(0, 1)(node, inputs),
    reference: matMulInteger,
  }),
  defineOp({
    name: 'QLinearMatMul',
    since: [10, 21],
    inputs: [8, 8],
    outputs: [1, 1],
    infer: linearInfer,
    keepsRows: (node, inputs) =>
      [1, 2, 4, 5, 6, 7].every((i) => inputs.shared[i] && inputs.ranks[i] < 2) && keepsProductRows(0, 3)(node, inputs),
    reference: linearMatMul,
  }),
];

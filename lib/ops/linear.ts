/** Linear layers, as the rewrites make them: products with constant weights and an epilogue. */

import { tensorType } from '../ir/graph.ts';
import type { Dim } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { activate, activationOf, checkResidual, epilogueAttributes } from './epilogue.ts';
import { lowerLinear } from './linear-lower.ts';
import { matmulProblem, matmulShape, multiply } from './matmul.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const isTransposed = (ctx: NodeReader): boolean => ctx.int('transB', 0) !== 0;

function linearShape(ctx: InferContext): Dim[] | undefined {
  const weights = ctx.shape(1);
  const turned = weights && isTransposed(ctx) ? [weights[1], weights[0]] : weights;
  return matmulShape(ctx, ctx.shape(0), turned);
}

function transposeMatrix(t: HostTensor): HostTensor {
  const [rows, columns] = t.dims;
  const x = toNumbers(t);
  const y = Float64Array.from({ length: x.length }, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]);
  return { kind: 'tensor', dtype: 'float64', dims: [columns, rows], data: y };
}

function linearReference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const weights = isTransposed(ctx) ? transposeMatrix(ctx.tensor(1)) : ctx.tensor(1);
  const p = matmulProblem(ctx, x.dims, weights.dims);
  const bias = ctx.optional(2);
  const residual = ctx.optional(3);
  const b = bias && toNumbers(bias);
  const z = residual && toNumbers(residual);
  const f = activate(ctx);
  const y = multiply(p, x, weights).map((v, i) => f(v + (b ? b[i % p.columns] : 0) + (z ? z[i] : 0)));
  return [fromNumbers(x.dtype, p.dims, y)];
}

export const linearOps: readonly OpDefinition[] = [
  // Inputs: x [..., K], constant weights [K, N] ([N, K] with transB), bias [N], residual of the output's shape.
  defineOp({
    name: 'Linear',
    domain: 'filigree',
    since: [1],
    inputs: [2, 4],
    outputs: [1, 1],
    attributes: { ...epilogueAttributes, transB: 'int' },
    infer: (ctx) => {
      const shape = linearShape(ctx);
      checkResidual(ctx, 3, shape);
      return [tensorType(ctx.dtype(0), shape)];
    },
    reference: linearReference,
    keepsRows: (_, { ranks, shared }) => ranks[0] > 1 && !shared[0] && shared[1],
    lower: (ctx) => lowerLinear(ctx, { activation: activationOf(ctx), transposed: isTransposed(ctx) }),
  }),
];

/** Matrix products of com.microsoft: transposed, scaled, with a bias and an activation. */

import { tensorType } from '../ir/graph.ts';
import { broadcastStrides, type Dim, type Shape, shapeText, sizeOf, stridesOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { broadcastDims, forEachRow } from './broadcast.ts';
import { expectSame } from './elements.ts';
import { strided } from './movement.ts';
import { namedActivation, type Scalar } from './ms-activation.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** The order of the axes after the batch and matrix transpositions that a side's attributes ask for. */
function axisOrder(ctx: NodeReader, side: 'A' | 'B', rank: number): number[] {
  const order = Array.from({ length: rank }, (_, i) => i);
  if (rank < 2) return order;
  if (ctx.int(`transBatch${side}`, 0) !== 0) {
    if (rank < 3) throw ctx.error(`transBatch${side} needs rank 3 or more, the input has ${rank}`);
    order.splice(rank - 2, 0, order.shift() as number);
  }
  if (ctx.int(`trans${side}`, 0) !== 0) order.push(...order.splice(rank - 2, 2).reverse());
  return order;
}

function inferMatMul(ctx: InferContext): Shape | undefined {
  const [a, b] = [ctx.shape(0), ctx.shape(1)];
  if (!a || !b) return undefined;
  return productDims(
    ctx,
    axisOrder(ctx, 'A', a.length).map((i) => a[i]),
    axisOrder(ctx, 'B', b.length).map((i) => b[i]),
  );
}

/** The shape of a product of operands that are in order; vectors lose their axis. */
function productDims(ctx: NodeReader, a: readonly Dim[], b: readonly Dim[]): Dim[] {
  if (a.length === 0 || b.length === 0) throw ctx.error('a matrix product needs operands of rank 1 or more');
  const inner = [a.at(-1) as Dim, b.at(b.length === 1 ? 0 : -2) as Dim];
  if (typeof inner[0] === 'number' && typeof inner[1] === 'number' && inner[0] !== inner[1]) {
    throw ctx.error(`the operands ${shapeText(a)} and ${shapeText(b)} have different inner sizes`);
  }
  const batch = broadcastDims(ctx, [a.slice(0, -2), b.slice(0, -2)]);
  return [...batch, ...(a.length > 1 ? [a.at(-2) as Dim] : []), ...(b.length > 1 ? [b.at(-1) as Dim] : [])];
}

/** Decoded operands in their final axis order. */
function ordered(ctx: NodeReader, t: HostTensor, side: 'A' | 'B'): { dims: number[]; values: Float64Array } {
  const order = axisOrder(ctx, side, t.dims.length);
  const strides = stridesOf(t.dims);
  const dims = order.map((i) => t.dims[i]);
  const moved = strided(
    t,
    dims,
    order.map((i) => strides[i]),
  );
  return { dims, values: toNumbers(moved) };
}

/** `y[m, n] = sum a[m, k] b[k, n]` on slices of the operands. */
export function multiplyInto(
  y: Float64Array,
  a: Float64Array,
  b: Float64Array,
  [m, k, n]: readonly [number, number, number],
): void {
  for (let i = 0; i < m; i++) {
    const row = y.subarray(i * n, (i + 1) * n);
    for (let l = 0; l < k; l++) {
      const factor = a[i * k + l];
      for (let j = 0; j < n; j++) row[j] += factor * b[l * n + j];
    }
  }
}

/** The product of two tensors as the node's attributes order them. */
function product(ctx: ReferenceContext): { dims: number[]; y: Float64Array } {
  const a = ordered(ctx, ctx.tensor(0), 'A');
  const b = ordered(ctx, ctx.tensor(1), 'B');
  const dims = productDims(ctx, a.dims, b.dims) as number[];
  const m = a.dims.length > 1 ? (a.dims.at(-2) as number) : 1;
  const k = a.dims.at(-1) as number;
  const n = b.dims.length > 1 ? (b.dims.at(-1) as number) : 1;
  const [aBatch, bBatch] = [a.dims.slice(0, -2), b.dims.slice(0, -2)];
  const batch = broadcastDims(ctx, [aBatch, bBatch]);
  const y = new Float64Array(sizeOf(dims));
  const strides = [broadcastStrides(aBatch, batch), broadcastStrides(bBatch, batch)];
  forEachRow(batch, strides, (at, count, [p, q], [dp, dq]) => {
    for (let i = 0; i < count; i++) {
      const x = a.values.subarray((p + i * dp) * m * k, (p + i * dp + 1) * m * k);
      const w = b.values.subarray((q + i * dq) * k * n, (q + i * dq + 1) * k * n);
      multiplyInto(y.subarray((at + i) * m * n, (at + i + 1) * m * n), x, w, [m, k, n]);
    }
  });
  return { dims, y };
}

function activationOf(ctx: NodeReader): Scalar {
  const parameter = (name: string): number | undefined => (ctx.hasAttribute(name) ? ctx.float(name) : undefined);
  const names = ['activation_alpha', 'activation_beta', 'activation_gamma'];
  return namedActivation(ctx, ctx.string('activation', ''), names.map(parameter));
}

function matMulReference(ctx: ReferenceContext): HostValue[] {
  const { dims, y } = product(ctx);
  const alpha = ctx.float('alpha', 1);
  const f = activationOf(ctx);
  return [
    fromNumbers(
      ctx.tensor(0).dtype,
      dims,
      y.map((value) => f(alpha * value)),
    ),
  ];
}

function gemmReference(ctx: ReferenceContext): HostValue[] {
  const { dims, y } = product(ctx);
  const [alpha, beta] = [ctx.float('alpha', 1), ctx.float('beta', 1)];
  for (let i = 0; i < y.length; i++) y[i] *= alpha;
  const c = ctx.optional(2);
  if (c) {
    const values = toNumbers(c);
    if (String(broadcastDims(ctx, [c.dims, dims])) !== String(dims)) {
      throw ctx.error(`C has shape ${shapeText(c.dims)}, which does not broadcast to ${shapeText(dims)}`);
    }
    forEachRow(dims, [broadcastStrides(c.dims, dims)], (at, count, [from], [step]) => {
      for (let i = 0; i < count; i++) y[at + i] += beta * values[from + i * step];
    });
  }
  return [fromNumbers(ctx.tensor(0).dtype, dims, y.map(activationOf(ctx)))];
}

const transpositions = { alpha: 'float', transA: 'int', transB: 'int' } as const;
const batchTranspositions = { ...transpositions, transBatchA: 'int', transBatchB: 'int' } as const;
const activation = {
  activation: 'string',
  activation_alpha: 'float',
  activation_beta: 'float',
  activation_gamma: 'float',
} as const;

function matMul(name: string, attributes: OpDefinition['attributes']): OpDefinition {
  return defineOp({
    name,
    domain: 'com.microsoft',
    since: [1],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes,
    infer: (ctx) => [tensorType(expectSame(ctx, 2), inferMatMul(ctx))],
    reference: matMulReference,
  });
}

export const msMatMulOps: readonly OpDefinition[] = [
  matMul('FusedMatMul', batchTranspositions),
  matMul('TransposeMatMul', transpositions),
  matMul('FusedMatMulActivation', { ...batchTranspositions, ...activation, activation_axis: 'int' }),
  defineOp({
    name: 'FusedGemm',
    domain: 'com.microsoft',
    since: [1],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { ...transpositions, ...activation, beta: 'float' },
    infer: (ctx) => {
      for (const i of [0, 1]) {
        const shape = ctx.shape(i);
        if (shape && shape.length !== 2) throw ctx.error(`input ${i} is ${shapeText(shape)}, expected rank 2`);
      }
      return [tensorType(expectSame(ctx, 3), inferMatMul(ctx))];
    },
    reference: gemmReference,
  }),
];

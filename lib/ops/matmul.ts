/** Matrix products. */

import { isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { broadcastStrides, type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromBigInts, fromNumbers, type HostTensor, toBigInts, toNumbers } from '../ir/tensor.ts';
import { broadcastDims } from './broadcast.ts';
import { expectSame, numberKinds } from './elements.ts';
import { activate, activationOf, epilogueAttributes } from './epilogue.ts';
import { lowerLinear } from './linear-lower.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** Sizes of a batched product with numpy's rules: vectors get an axis that the result drops. */
export interface MatMulProblem {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  /** Matrices to multiply, and where each operand's matrix number `i` begins, in matrices. */
  readonly batch: readonly number[];
  readonly dims: readonly number[];
}

/** The output shape of a product, dimensions kept where they are known. */
export function matmulShape(ctx: NodeReader, a: Shape | undefined, b: Shape | undefined): Dim[] | undefined {
  if (!a || !b) return undefined;
  if (a.length === 0 || b.length === 0) throw ctx.error('operands have to be of rank 1 at least');
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const depth = left.at(-1);
  const other = right.at(-2);
  if (typeof depth === 'number' && typeof other === 'number' && depth !== other) {
    throw ctx.error(`the inner sizes of ${shapeText(a)} and ${shapeText(b)} differ`);
  }
  const batch = broadcastDims(ctx, [left.slice(0, -2), right.slice(0, -2)] as Shape[]);
  const tail = [...(a.length === 1 ? [] : [left.at(-2) as Dim]), ...(b.length === 1 ? [] : [right.at(-1) as Dim])];
  return [...batch, ...tail];
}

export function matmulProblem(ctx: NodeReader, a: readonly number[], b: readonly number[]): MatMulProblem {
  const dims = matmulShape(ctx, a, b) as number[];
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const batch = broadcastDims(ctx, [left.slice(0, -2), right.slice(0, -2)]) as number[];
  return {
    rows: left[left.length - 2],
    depth: left[left.length - 1],
    columns: right[right.length - 1],
    batch,
    dims,
  };
}

/** Number of the matrix that each product of the batch takes from an operand of these dims. */
export function matrixNumbers(dims: readonly number[], batch: readonly number[]): Int32Array {
  const strides = broadcastStrides(dims.slice(0, -2), batch);
  const numbers = new Int32Array(sizeOf(batch));
  const at = new Array<number>(batch.length).fill(0);
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = at.reduce((sum, index, axis) => sum + index * strides[axis], 0);
    for (let axis = batch.length - 1; axis >= 0 && ++at[axis] === batch[axis]; axis--) at[axis] = 0;
  }
  return numbers;
}

/** Products in double: y[i] = a[i] b[i] for row-major matrices, y zeroed. */
export function multiply(p: MatMulProblem, a: HostTensor, b: HostTensor): Float64Array {
  const x = toNumbers(a);
  const w = toNumbers(b);
  const { rows, depth, columns } = p;
  const left = matrixNumbers(a.dims, p.batch);
  const right = matrixNumbers(b.dims, p.batch);
  const y = new Float64Array(sizeOf(p.dims));
  for (let i = 0; i < left.length; i++) {
    for (let r = 0; r < rows; r++) {
      const to = (i * rows + r) * columns;
      for (let k = 0; k < depth; k++) {
        const scale = x[left[i] * rows * depth + r * depth + k];
        const from = right[i] * depth * columns + k * columns;
        for (let c = 0; c < columns; c++) y[to + c] += scale * w[from + c];
      }
    }
  }
  return y;
}

/** Exact products of 64-bit integers. */
function multiplyBig(p: MatMulProblem, a: HostTensor, b: HostTensor): HostTensor {
  const x = toBigInts(a);
  const w = toBigInts(b);
  const { rows, depth, columns } = p;
  const left = matrixNumbers(a.dims, p.batch);
  const right = matrixNumbers(b.dims, p.batch);
  const y = new Array<bigint>(sizeOf(p.dims)).fill(0n);
  for (let at = 0; at < y.length; at++) {
    const i = Math.floor(at / (rows * columns));
    const r = Math.floor(at / columns) % rows;
    for (let k = 0; k < depth; k++) {
      const wAt = right[i] * depth * columns + k * columns + (at % columns);
      y[at] += x[left[i] * rows * depth + r * depth + k] * w[wAt];
    }
  }
  return fromBigInts(a.dtype, p.dims, y);
}

function matmulReference(ctx: ReferenceContext): HostTensor[] {
  const a = ctx.tensor(0);
  const b = ctx.tensor(1);
  const p = matmulProblem(ctx, a.dims, b.dims);
  return [isBig(a.dtype) ? multiplyBig(p, a, b) : fromNumbers(a.dtype, p.dims, multiply(p, a, b))];
}

interface GemmSizes {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
  readonly beta: number;
}

const gemmSizes = (ctx: NodeReader): GemmSizes => ({
  transA: ctx.int('transA', 0) !== 0,
  transB: ctx.int('transB', 0) !== 0,
  alpha: ctx.float('alpha', 1),
  beta: ctx.float('beta', 1),
});

function gemmShape(ctx: NodeReader, a: Shape | undefined, b: Shape | undefined, c: Shape | undefined): Dim[] {
  const { transA, transB } = gemmSizes(ctx);
  for (const shape of [a, b]) {
    if (shape && shape.length !== 2) throw ctx.error(`operands have to be matrices, got ${shapeText(shape)}`);
  }
  const depth = a?.[transA ? 0 : 1];
  const other = b?.[transB ? 1 : 0];
  if (typeof depth === 'number' && typeof other === 'number' && depth !== other) {
    throw ctx.error(`the inner sizes of ${shapeText(a)} and ${shapeText(b)} differ`);
  }
  const dims = [a?.[transA ? 1 : 0] ?? null, b?.[transB ? 0 : 1] ?? null];
  if (c && dims.every((dim) => typeof dim === 'number')) {
    const whole = broadcastDims(ctx, [dims, c] as Shape[]);
    if (whole.length !== 2 || whole.some((dim, i) => dim !== dims[i])) {
      throw ctx.error(`the addend ${shapeText(c)} does not broadcast to ${shapeText(dims)}`);
    }
  }
  return dims;
}

function transposed(t: HostTensor): HostTensor {
  const [rows, columns] = t.dims;
  const x = toNumbers(t);
  const y = Float64Array.from({ length: x.length }, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]);
  return { kind: 'tensor', dtype: 'float64', dims: [columns, rows], data: y };
}

function gemmReference(ctx: ReferenceContext): HostTensor[] {
  const { transA, transB, alpha, beta } = gemmSizes(ctx);
  const a = transA ? transposed(ctx.tensor(0)) : ctx.tensor(0);
  const b = transB ? transposed(ctx.tensor(1)) : ctx.tensor(1);
  const p = matmulProblem(ctx, a.dims, b.dims);
  const y = multiply(p, a, b);
  const c = ctx.optional(2);
  const strides = c && broadcastStrides(c.dims, p.dims);
  const addend = c && toNumbers(c);
  const sum = y.map((v, i) => {
    const r = Math.floor(i / p.columns);
    return alpha * v + (addend && strides ? beta * addend[r * strides[0] + (i % p.columns) * strides[1]] : 0);
  });
  return [fromNumbers(ctx.tensor(0).dtype, p.dims, sum)];
}

function linearReference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const p = matmulProblem(ctx, x.dims, ctx.tensor(1).dims);
  const y = multiply(p, x, ctx.tensor(1));
  const bias = ctx.optional(2);
  const residual = ctx.optional(3);
  const b = bias && toNumbers(bias);
  const z = residual && toNumbers(residual);
  const f = activate(ctx);
  return [
    fromNumbers(
      x.dtype,
      p.dims,
      y.map((v, i) => f(v + (b ? b[i % p.columns] : 0) + (z ? z[i] : 0))),
    ),
  ];
}

const inferProduct = (ctx: InferContext): Dim[] | undefined => matmulShape(ctx, ctx.shape(0), ctx.shape(1));

export const matmulOps: readonly OpDefinition[] = [
  defineOp({
    name: 'MatMul',
    since: [1, 9, 13],
    inputs: [2, 2],
    outputs: [1, 1],
    infer: (ctx) => [tensorType(expectSame(ctx, 2, numberKinds), inferProduct(ctx))],
    reference: matmulReference,
  }),
  defineOp({
    name: 'Gemm',
    since: [1, 6, 7, 9, 11, 13],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { transA: 'int', transB: 'int', alpha: 'float', beta: 'float', broadcast: 'int' },
    infer: (ctx) => [
      tensorType(expectSame(ctx, 2, numberKinds), gemmShape(ctx, ctx.shape(0), ctx.shape(1), ctx.shape(2))),
    ],
    reference: gemmReference,
  }),
  // A product with constant weights [K, N], bias [N], residual of the output's shape, activation.
  defineOp({
    name: 'Linear',
    domain: 'filigree',
    since: [1],
    inputs: [2, 4],
    outputs: [1, 1],
    attributes: epilogueAttributes,
    infer: (ctx) => [tensorType(ctx.dtype(0), inferProduct(ctx))],
    reference: linearReference,
    lower: (ctx) => lowerLinear(ctx, activationOf(ctx)),
  }),
];

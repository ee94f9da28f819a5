/** Matrix products. */

import { tensorType } from '../ir/graph.ts';
import { broadcastStrides, type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { broadcastDims, forEachRow } from './broadcast.ts';
import { expectSame, numberKinds } from './elements.ts';
import { NO_ACTIVATION } from './epilogue.ts';
import { keepsProductRows } from './keeps-rows.ts';
import { lowerLinear, lowerProducts } from './linear-lower.ts';
import type { LowerContext } from './lower.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { fromProducts, type Matrix, multiplyAdd, type Numbers, numbersFor, zerosLike } from './product.ts';

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

/** Products of stacks of row-major matrices: y[i] = a[i] b[i]. */
export function multiplyStacks<T extends Numbers>(
  p: MatMulProblem,
  a: { readonly dims: readonly number[]; readonly values: T },
  b: { readonly dims: readonly number[]; readonly values: T },
): T {
  const { rows, depth, columns } = p;
  const left = matrixNumbers(a.dims, p.batch);
  const right = matrixNumbers(b.dims, p.batch);
  const y = zerosLike(a.values, sizeOf(p.dims));
  for (let i = 0; i < left.length; i++) {
    const x = { values: a.values, at: left[i] * rows * depth, row: depth, column: 1 };
    const w = { values: b.values, at: right[i] * depth * columns, row: columns, column: 1 };
    multiplyAdd(x, w, y, i * rows * columns, [rows, depth, columns]);
  }
  return y;
}

/** Products in double. */
export function multiply(p: MatMulProblem, a: HostTensor, b: HostTensor): Float64Array {
  return multiplyStacks(p, { dims: a.dims, values: toNumbers(a) }, { dims: b.dims, values: toNumbers(b) });
}

function matmulReference(ctx: ReferenceContext): HostTensor[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  const p = matmulProblem(ctx, a.dims, b.dims);
  const y = multiplyStacks(p, { dims: a.dims, values: numbersFor(a) }, { dims: b.dims, values: numbersFor(b) });
  return [fromProducts(a.dtype, p.dims, y)];
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

/** alpha * product + beta * c: exact for integers with factors of 1, in double otherwise. */
function gemmReference(ctx: ReferenceContext): HostTensor[] {
  const [at, bt] = [ctx.tensor(0), ctx.tensor(1)];
  const ct = ctx.optional(2);
  const { transA, transB, alpha, beta } = gemmSizes(ctx);
  const dims = gemmShape(ctx, at.dims, bt.dims, ct?.dims) as number[];
  const depth = at.dims[transA ? 0 : 1];
  const [a, b] = [numbersFor(at), numbersFor(bt)];
  const y = zerosLike(a, sizeOf(dims));
  multiplyAdd<Numbers>(matrixOf(a, at.dims, transA), matrixOf(b, bt.dims, transB), y, 0, [dims[0], depth, dims[1]]);
  if (alpha === 1 && (!ct || beta === 0 || beta === 1)) {
    if (ct && beta === 1) addTo(y, numbersFor(ct), ct.dims, dims);
    return [fromProducts(at.dtype, dims, y)];
  }
  const sum = Float64Array.from(y as ArrayLike<number>, (v) => alpha * Number(v));
  if (ct && beta !== 0)
    addTo(
      sum,
      Float64Array.from(toNumbers(ct), (v) => beta * v),
      ct.dims,
      dims,
    );
  return [fromNumbers(at.dtype, dims, y instanceof Float64Array ? sum : sum.map(Math.trunc))];
}

function matrixOf<T extends Numbers>(values: T, dims: readonly number[], transposed: boolean): Matrix<T> {
  return transposed ? { values, at: 0, row: 1, column: dims[1] } : { values, at: 0, row: dims[1], column: 1 };
}

/** y += c, broadcast; both of one arithmetic, which `+` follows. */
function addTo(y: Numbers, c: Numbers, from: readonly number[], dims: readonly number[]): void {
  const [to, add] = [y as Float64Array, c as Float64Array];
  forEachRow(dims, [broadcastStrides(from, dims)], (at, count, [p], [step]) => {
    for (let i = 0; i < count; i++) to[at + i] += add[p + i * step];
  });
}

const inferProduct = (ctx: InferContext): Dim[] | undefined => matmulShape(ctx, ctx.shape(0), ctx.shape(1));

function lowerMatmul(ctx: LowerContext): string | undefined {
  const [a, b] = [ctx.dims(0), ctx.dims(1)];
  if (b.length === 2 && a.length > 1 && ctx.constant(1)) {
    return lowerLinear(ctx, { activation: NO_ACTIVATION, transposed: false });
  }
  const p = matmulProblem(ctx, a, b);
  // One matrix for a whole stack of rows: one product.
  if (b.length === 2 && a.length > 1) {
    return lowerProducts(ctx, { ...p, rows: sizeOf(a) / Math.max(1, p.depth) }, { a: [0], b: [0] });
  }
  return lowerProducts(ctx, p, { a: matrixNumbers(a, p.batch), b: matrixNumbers(b, p.batch) });
}

function lowerGemm(ctx: LowerContext): string | undefined {
  const { transA, transB, alpha, beta } = gemmSizes(ctx);
  if (transA || alpha !== 1) return 'no kernel for transA or alpha';
  if (ctx.has(2) && (beta !== 1 || ctx.dims(2).length === 0 || sizeOf(ctx.dims(2)) !== ctx.outputDims(0)[1])) {
    return 'no kernel for an addend that is not one number a column';
  }
  return lowerLinear(ctx, { activation: NO_ACTIVATION, transposed: transB });
}

export const matmulOps: readonly OpDefinition[] = [
  defineOp({
    name: 'MatMul',
    since: [1, 9, 13],
    inputs: [2, 2],
    outputs: [1, 1],
    infer: (ctx) => [tensorType(expectSame(ctx, 2, numberKinds), inferProduct(ctx))],
    reference: matmulReference,
    keepsRows: keepsProductRows(0, 1),
    lower: lowerMatmul,
  }),
  defineOp({
    name: 'Gemm',
    since: [1, 6, 7, 9, 11, 13],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { transA: 'int', transB: 'int', alpha: 'float', beta: 'float', broadcast: 'int' },
    infer: (ctx) => [
      tensorType(expectSame(ctx, 3, numberKinds), gemmShape(ctx, ctx.shape(0), ctx.shape(1), ctx.shape(2))),
    ],
    reference: gemmReference,
    keepsRows: (node, { shared }) => node.int('transA', 0) === 0 && !shared[0] && shared[1] && shared[2] !== false,
    lower: lowerGemm,
  }),
];

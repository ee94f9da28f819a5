/** Integer matrix products of com.microsoft, with real or quantised results. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { broadcastStrides, type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { broadcastDims, broadcastInfer, forEachRow, zip } from './broadcast.ts';
import { multiplyInto } from './ms-matmul.ts';
import { dynamicLevels, dynamicRange, perColumn, quantized, scalarInput } from './ms-quantization.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const domain = 'com.microsoft';

/** The shape of A times B, both of rank 2 or more. */
function productShape(ctx: NodeReader, a: Shape | undefined, b: Shape | undefined): Dim[] | undefined {
  if (!a || !b) return undefined;
  const inner = [a.at(-1), b.at(-2)];
  const differ = typeof inner[0] === 'number' && typeof inner[1] === 'number' && inner[0] !== inner[1];
  if (a.length < 2 || b.length < 2 || differ) {
    throw ctx.error(`the operands ${shapeText(a)} and ${shapeText(b)} do not fit a matrix product`);
  }
  const batch = broadcastDims(ctx, [a.slice(0, -2), b.slice(0, -2)]);
  return [...batch, a.at(-2) as Dim, b.at(-1) as Dim];
}

interface Matrix {
  readonly dims: readonly number[];
  readonly values: Float64Array;
}

/** The product of stacks of matrices. */
function product(ctx: NodeReader, a: Matrix, b: Matrix): { dims: number[]; y: Float64Array } {
  const dims = productShape(ctx, a.dims, b.dims) as number[];
  const [m, n] = dims.slice(-2);
  const k = a.dims.at(-1) as number;
  const batch = dims.slice(0, -2);
  const y = new Float64Array(sizeOf(dims));
  const strides = [broadcastStrides(a.dims.slice(0, -2), batch), broadcastStrides(b.dims.slice(0, -2), batch)];
  forEachRow(batch, strides, (at, count, [p, q], [dp, dq]) => {
    for (let i = 0; i < count; i++) {
      const x = a.values.subarray((p + i * dp) * m * k, (p + i * dp + 1) * m * k);
      const w = b.values.subarray((q + i * dq) * k * n, (q + i * dq + 1) * k * n);
      multiplyInto(y.subarray((at + i) * m * n, (at + i + 1) * m * n), x, w, [m, k, n]);
    }
  });
  return { dims, y };
}

/** B less its zero points, one for all or one a column. */
function centered(ctx: NodeReader, b: HostTensor, zero: HostTensor | undefined): Matrix {
  const columns = b.dims.at(-1) as number;
  const zeros = perColumn(ctx, zero, columns, "B's zero point");
  return { dims: b.dims, values: Float64Array.from(toNumbers(b), (q, i) => q - zeros[i % columns]) };
}

/** Scales the columns of an integer product and adds the bias. */
function scaled(
  ctx: ReferenceContext,
  { dims, y }: { dims: number[]; y: Float64Array },
  scale: (column: number) => number,
  biasInput: number,
): Float64Array {
  const columns = dims.at(-1) as number;
  const bias = ctx.optional(biasInput);
  const b = bias && perColumn(ctx, bias, columns, 'the bias');
  return y.map((sum, i) => sum * scale(i % columns) + (b ? b[i % columns] : 0));
}

function dynamicReference(ctx: ReferenceContext): HostValue[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  const values = toNumbers(a);
  const range = dynamicRange(values);
  const levels = { dims: a.dims, values: dynamicLevels(values, range) };
  const result = product(ctx, levels, centered(ctx, b, ctx.optional(3)));
  const scales = perColumn(ctx, ctx.tensor(2), b.dims.at(-1) as number, "B's scale");
  const y = scaled(ctx, result, (column) => range.scale * scales[column], 4);
  return [fromNumbers(a.dtype, result.dims, y)];
}

function toFloatReference(ctx: ReferenceContext): HostValue[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  const scale = scalarInput(ctx, 2, "A's scale");
  const zero = scalarInput(ctx, 4, "A's zero point", 0);
  const left = { dims: a.dims, values: Float64Array.from(toNumbers(a), (q) => q - zero) };
  const result = product(ctx, left, centered(ctx, b, ctx.optional(5)));
  const scales = perColumn(ctx, ctx.tensor(3), b.dims.at(-1) as number, "B's scale");
  const y = scaled(ctx, result, (column) => scale * scales[column], 6);
  return [fromNumbers(ctx.tensor(2).dtype, result.dims, y)];
}

function transposed(t: HostTensor, flag: boolean): Matrix {
  const values = toNumbers(t);
  if (!flag) return { dims: t.dims, values };
  const [rows, columns] = t.dims;
  return { dims: [columns, rows], values: values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]) };
}

const flipped = (shape: Shape | undefined, flag: boolean): Shape | undefined =>
  flag && shape ? [...shape].reverse() : shape;

function gemmReference(ctx: ReferenceContext): HostValue[] {
  const [aTensor, bTensor] = [ctx.tensor(0), ctx.tensor(3)];
  const aScale = scalarInput(ctx, 1, "A's scale");
  const aZero = scalarInput(ctx, 2, "A's zero point", 0);
  const a = transposed(aTensor, ctx.int('transA', 0) !== 0);
  const b = transposed(bTensor, ctx.int('transB', 0) !== 0);
  const columns = b.dims[1];
  const zeros = perColumn(ctx, ctx.optional(5), columns, "B's zero point");
  const scales = perColumn(ctx, ctx.tensor(4), columns, "B's scale");
  const { dims, y } = product(
    ctx,
    { dims: a.dims, values: a.values.map((q) => q - aZero) },
    { dims: b.dims, values: b.values.map((q, i) => q - zeros[i % columns]) },
  );
  const alpha = ctx.float('alpha', 1);
  const c = ctx.optional(6);
  if (c) {
    const values = toNumbers(c);
    const strides = broadcastStrides(c.dims, dims);
    if (String(broadcastDims(ctx, [c.dims, dims])) !== String(dims)) {
      throw ctx.error(`C has shape ${shapeText(c.dims)}, which does not broadcast to ${shapeText(dims)}`);
    }
    forEachRow(dims, [strides], (at, count, [from], [step]) => {
      for (let i = 0; i < count; i++) y[at + i] += values[from + i * step];
    });
  }
  const real = y.map((sum, i) => alpha * aScale * scales[i % columns] * sum);
  if (!ctx.has(7)) return [fromNumbers(ctx.tensor(1).dtype, dims, real)];
  const zero = scalarInput(ctx, 8, "Y's zero point", 0);
  const dtype = ctx.optional(8)?.dtype ?? aTensor.dtype;
  return [quantized(dtype, dims, real, { scale: scalarInput(ctx, 7, "Y's scale"), zero })];
}

function int16Reference(ctx: ReferenceContext): HostValue[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  const matrix = (t: HostTensor): Matrix => ({ dims: t.dims, values: toNumbers(t) });
  const { dims, y } = product(ctx, matrix(a), matrix(b));
  return [fromNumbers(a.dtype === 'uint16' && b.dtype === 'uint16' ? 'uint32' : 'int32', dims, y)];
}

function mulReference(ctx: ReferenceContext): HostValue[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(2)];
  const [za, zb] = [scalarInput(ctx, 1, "A's zero point", 0), scalarInput(ctx, 3, "B's zero point", 0)];
  const dims = broadcastDims(ctx, [a.dims, b.dims]);
  const out = new Float64Array(sizeOf(dims));
  const left = { values: toNumbers(a), dims: a.dims };
  zip(dims, left, { values: toNumbers(b), dims: b.dims }, (x, y) => (x - za) * (y - zb), out);
  return [fromNumbers('int32', dims, out)];
}

const inferProduct =
  (dtypeInput: number) =>
  (ctx: Parameters<OpDefinition['infer']>[0]): ValueType[] => [
    tensorType(ctx.dtype(dtypeInput), productShape(ctx, ctx.shape(0), ctx.shape(1))),
  ];

export const msIntegerMatMulOps: readonly OpDefinition[] = [
  defineOp({
    name: 'DynamicQuantizeMatMul',
    domain,
    since: [1],
    inputs: [3, 5],
    outputs: [1, 1],
    infer: inferProduct(0),
    reference: dynamicReference,
  }),
  defineOp({
    name: 'MatMulIntegerToFloat',
    domain,
    since: [1],
    inputs: [4, 7],
    outputs: [1, 1],
    infer: inferProduct(2),
    reference: toFloatReference,
  }),
  defineOp({
    name: 'MatMulInteger16',
    domain,
    since: [1],
    inputs: [2, 2],
    outputs: [1, 1],
    infer: (ctx) => {
      const unsigned = ctx.dtype(0) === 'uint16' && ctx.dtype(1) === 'uint16';
      return [tensorType(unsigned ? 'uint32' : 'int32', productShape(ctx, ctx.shape(0), ctx.shape(1)))];
    },
    reference: int16Reference,
  }),
  defineOp({
    name: 'QGemm',
    domain,
    since: [1],
    inputs: [6, 9],
    outputs: [1, 1],
    attributes: { alpha: 'float', transA: 'int', transB: 'int' },
    infer: (ctx) => {
      const a = flipped(ctx.shape(0), ctx.int('transA', 0) !== 0);
      const b = flipped(ctx.shape(3), ctx.int('transB', 0) !== 0);
      const dtype = !ctx.has(7) ? ctx.dtype(1) : ctx.has(8) ? ctx.dtype(8) : ctx.dtype(0);
      return [tensorType(dtype, productShape(ctx, a, b))];
    },
    reference: gemmReference,
  }),
  defineOp({
    name: 'MulInteger',
    domain,
    since: [1],
    inputs: [3, 4],
    omittable: [1],
    outputs: [1, 1],
    infer: (ctx) => [tensorType('int32', broadcastInfer(ctx, [ctx.shape(0), ctx.shape(2)]))],
    reference: mulReference,
  }),
];

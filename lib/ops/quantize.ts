/** Linear quantization: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear. */

import { type DType, dtypeFromOnnx, dtypeInfo, isFloat } from '../ir/dtype.ts';
import { floatEncoder, numberToFloat4e2m1 } from '../ir/float.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Shape, shapeText, sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, packed, tensor } from '../ir/tensor.ts';
import { expectKinds, numberSink, numbersOf } from './elements.ts';
import { lowerDequantize, lowerDynamicQuantize, lowerQuantize } from './lower-quantize.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
  type RowInputs,
  sparesRows,
} from './op.ts';
import { rangeOf, rounder } from './saturate.ts';
import { roundHalfEven } from './special-functions.ts';

/** Types of quantized values. */
const quantized: readonly DType[] = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint4',
  'int4',
  'uint2',
  'int2',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'float4e2m1',
];

function namedType(ctx: NodeReader, name: string): DType | undefined {
  const number = ctx.int(name, 0);
  if (number === 0) return undefined;
  const dtype = dtypeFromOnnx(number);
  if (dtype === undefined) throw ctx.error(`"${name}" is ${number}, which is no element type`);
  return dtype;
}

/** How scales and zero points are dealt to the elements. */
export type Granularity =
  | { readonly kind: 'tensor' }
  | { readonly kind: 'axis'; readonly axis: number }
  | { readonly kind: 'block'; readonly axis: number; readonly block: number };

/** The granularity that the scale's shape asks for; throws where it fits none. */
export function granularity(ctx: NodeReader, x: readonly number[], scale: readonly number[]): Granularity {
  if (scale.length === 0) return { kind: 'tensor' };
  const block = ctx.int('block_size', 0);
  if (block < 0) throw ctx.error(`"block_size" is ${block}, expected no negative number`);
  if (block === 0 && sizeOf(scale) === 1) return { kind: 'tensor' };
  if (x.length === 0) throw ctx.error(`the scale is ${shapeText(scale)} for a scalar`);
  // A vector has one axis, whatever the default says.
  const axis = x.length === 1 ? 0 : normalizeAxis(ctx, ctx.int('axis', 1), x.length);
  if (block === 0) {
    if (scale.length === 1 && scale[0] === x[axis]) return { kind: 'axis', axis };
    throw ctx.error(
      `the scale is ${shapeText(scale)}, expected one number or [${x[axis]}] for axis ${axis} of ${shapeText(x)}`,
    );
  }
  const want = x.map((dim, i) => (i === axis ? Math.ceil(dim / block) : dim));
  if (scale.length !== want.length || want.some((dim, i) => dim !== scale[i])) {
    throw ctx.error(
      `the scale is ${shapeText(scale)}, expected ${shapeText(want)} for blocks of ${block} along axis ${axis}`,
    );
  }
  return { kind: 'block', axis, block };
}

/** Calls `visit` with runs of elements: element `from + i` has the scale `scale + i * step`. */
function forEachScale(
  x: readonly number[],
  g: Granularity,
  visit: (from: number, to: number, scale: number, step: number) => void,
): void {
  if (g.kind === 'tensor') {
    visit(0, sizeOf(x), 0, 0);
    return;
  }
  const outer = sizeBetween(x, 0, g.axis);
  const inner = sizeBetween(x, g.axis + 1, x.length);
  const length = x[g.axis];
  const blocks = g.kind === 'block' ? Math.ceil(length / g.block) : 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < length; i++) {
      const from = (o * length + i) * inner;
      if (g.kind === 'axis') visit(from, from + inner, i, 0);
      else visit(from, from + inner, (o * blocks + Math.floor(i / g.block)) * inner, 1);
    }
  }
}

/** Checks that the zero point has the scale's shape; scalars and single elements are alike. */
function checkZero(ctx: NodeReader, zero: Shape | undefined, scale: Shape | undefined): void {
  if (!zero || !scale) return;
  const size = (shape: Shape): number | undefined =>
    shape.every((dim) => typeof dim === 'number') ? sizeOf(shape as number[]) : undefined;
  const [a, b] = [size(zero), size(scale)];
  if (a !== undefined && b !== undefined && a !== b) {
    throw ctx.error(`the zero point is ${shapeText(zero)}, expected the shape ${shapeText(scale)} of the scale`);
  }
}

function concrete(shape: Shape | undefined): shape is readonly number[] {
  return shape?.every((dim) => typeof dim === 'number') ?? false;
}

function checkInputs(ctx: InferContext): void {
  expectKinds(ctx, [1], ['float', 'int']);
  const [x, scale] = [ctx.shape(0), ctx.shape(1)];
  if (concrete(x) && concrete(scale)) granularity(ctx, x, scale);
  checkZero(ctx, ctx.shape(2), scale);
}

/** The type of QuantizeLinear's output. */
function quantizedType(ctx: NodeReader, zero: DType | undefined): DType {
  const named = namedType(ctx, 'output_dtype');
  if (named && zero && named !== zero) {
    throw ctx.error(`"output_dtype" is ${named}, but the zero point is of type ${zero}`);
  }
  const dtype = zero ?? named ?? 'uint8';
  if (!quantized.includes(dtype)) throw ctx.error(`the output would be of type ${dtype}, expected a quantized type`);
  return dtype;
}

/** Puts a number that is divided by its scale into a quantized type: the value of an integer, the bits of a float. */
export function quantizer(dtype: DType, saturate = true): (x: number, zero: number) => number {
  if (dtype === 'float4e2m1') return (x, zero) => numberToFloat4e2m1(x + zero);
  const encode = floatEncoder(dtype, saturate);
  if (encode) return (x, zero) => encode(x + zero);
  const [least, most] = rangeOf(dtype);
  return (x, zero) => (Number.isNaN(x) ? zero : Math.min(Math.max(roundHalfEven(x) + zero, least), most));
}

/** A tensor from what {@link quantizer} gives: bits of floats, values of integers. */
export function fromQuantized(dtype: DType, dims: readonly number[], entries: Float64Array): HostTensor {
  if (isFloat(dtype)) {
    return dtype === 'float4e2m1'
      ? packed(dtype, dims, Uint8Array.from(entries))
      : tensor(dtype, dims, Uint8Array.from(entries));
  }
  return fromNumbers(dtype, dims, entries);
}

/** Precision of the division: the attribute, or the scale's type where that is a float to compute in. */
function divisionType(ctx: NodeReader, scale: DType): DType {
  const named = namedType(ctx, 'precision');
  if (named) return named;
  return scale === 'float16' || scale === 'bfloat16' || scale === 'float32' ? scale : 'float64';
}

function quantizeLinear(ctx: ReferenceContext): HostTensor[] {
  const [xt, st] = [ctx.tensor(0), ctx.tensor(1)];
  const zt = ctx.optional(2);
  const dtype = quantizedType(ctx, zt?.dtype);
  const shared = granularity(ctx, xt.dims, st.dims);
  checkZero(ctx, zt?.dims, st.dims);
  const [x, scale] = [numbersOf(xt), numbersOf(st)];
  const zero = zt && numbersOf(zt);
  const round = rounder(divisionType(ctx, st.dtype));
  const put = quantizer(dtype, ctx.int('saturate', 1) !== 0);
  const y = new Float64Array(x.length);
  forEachScale(xt.dims, shared, (from, to, first, step) => {
    for (let i = from; i < to; i++) {
      const s = first + (i - from) * step;
      y[i] = put(round(round(x[i]) / round(scale[s])), zero ? zero[s] : 0);
    }
  });
  return [fromQuantized(dtype, xt.dims, y)];
}

function quantizeInfer(ctx: InferContext): ValueType[] {
  checkInputs(ctx);
  const kind = ctx.dtype(0);
  if (!isFloat(kind) && kind !== 'int32') throw ctx.error(`input 0 is of type ${kind}, expected a float or int32`);
  return [tensorType(quantizedType(ctx, ctx.has(2) ? ctx.dtype(2) : undefined), ctx.shape(0))];
}

function dequantizedType(ctx: NodeReader, scale: DType): DType {
  const dtype = namedType(ctx, 'output_dtype') ?? scale;
  if (dtypeInfo(dtype).kind !== 'float' || dtypeInfo(dtype).bits < 16) {
    throw ctx.error(`the output would be of type ${dtype}, expected float32, float16 or bfloat16`);
  }
  return dtype;
}

function dequantizeLinear(ctx: ReferenceContext): HostTensor[] {
  const [xt, st] = [ctx.tensor(0), ctx.tensor(1)];
  const zt = ctx.optional(2);
  if (zt && zt.dtype !== xt.dtype) throw ctx.error(`the zero point is of type ${zt.dtype}, expected ${xt.dtype}`);
  const shared = granularity(ctx, xt.dims, st.dims);
  checkZero(ctx, zt?.dims, st.dims);
  const [x, scale] = [numbersOf(xt), numbersOf(st)];
  const zero = zt && numbersOf(zt);
  const sink = numberSink(dequantizedType(ctx, st.dtype), xt.dims);
  forEachScale(xt.dims, shared, (from, to, first, step) => {
    for (let i = from; i < to; i++) {
      const s = first + (i - from) * step;
      sink.values[i] = (x[i] - (zero ? zero[s] : 0)) * scale[s];
    }
  });
  return [sink.finish()];
}

function dequantizeInfer(ctx: InferContext): ValueType[] {
  checkInputs(ctx);
  const dtype = ctx.dtype(0);
  if (dtype !== 'int32' && !quantized.includes(dtype)) {
    throw ctx.error(`input 0 is of type ${dtype}, expected a quantized type`);
  }
  if (ctx.has(2) && ctx.type(2) && ctx.dtype(2) !== dtype) {
    throw ctx.error(`the zero point is of type ${ctx.dtype(2)}, expected ${dtype}`);
  }
  return [tensorType(dequantizedType(ctx, ctx.dtype(1)), ctx.shape(0))];
}

/** Scale and zero point that map the range of `x`, widened to hold 0, to 0 ... 255. */
export function dynamicScale(x: ArrayLike<number>): { scale: number; zero: number } {
  let [least, most] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    least = Math.min(least, x[i]);
    most = Math.max(most, x[i]);
  }
  const scale = least === most ? 1 : Math.fround(Math.fround(most - least) / 255);
  const zero = roundHalfEven(Math.min(Math.max(Math.fround(-least / scale), 0), 255));
  return { scale, zero };
}

function dynamicQuantize(ctx: ReferenceContext): HostTensor[] {
  const xt = ctx.tensor(0);
  const x = numbersOf(xt);
  const { scale, zero } = dynamicScale(x);
  const put = quantizer('uint8');
  const y = Uint8Array.from({ length: x.length }, (_, i) => put(Math.fround(x[i] / scale), zero));
  return [tensor('uint8', xt.dims, y), fromNumbers('float32', [], [scale]), fromNumbers('uint8', [], [zero])];
}

/** One scale, or one for each position of an axis that is not the batch. */
const keepsRows = (node: NodeReader, { ranks, shared }: RowInputs): boolean =>
  !shared[0] &&
  shared.slice(1).every((each) => each) &&
  (ranks[1] === 0 || (ranks[1] === 1 && sparesRows(node.int('axis', 1), ranks[0])));

export const quantizeOps: readonly OpDefinition[] = [
  defineOp({
    name: 'QuantizeLinear',
    since: [10, 13, 19, 21, 23, 24, 25, 28],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { axis: 'int', block_size: 'int', output_dtype: 'int', precision: 'int', saturate: 'int' },
    infer: quantizeInfer,
    reference: quantizeLinear,
    keepsRows,
    lower: (ctx) => lowerQuantize(ctx, granularity(ctx, ctx.dims(0), ctx.dims(1)), divisionType(ctx, ctx.dtype(1))),
  }),
  defineOp({
    name: 'DequantizeLinear',
    since: [10, 13, 19, 21, 23, 24, 25, 28],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { axis: 'int', block_size: 'int', output_dtype: 'int' },
    infer: dequantizeInfer,
    reference: dequantizeLinear,
    keepsRows,
    lower: (ctx) => lowerDequantize(ctx, granularity(ctx, ctx.dims(0), ctx.dims(1))),
  }),
  defineOp({
    name: 'DynamicQuantizeLinear',
    since: [11],
    inputs: [1, 1],
    outputs: [1, 3],
    infer: (ctx) => {
      if (ctx.dtype(0) !== 'float32') throw ctx.error(`input 0 is of type ${ctx.dtype(0)}, expected float32`);
      return [tensorType('uint8', ctx.shape(0)), tensorType('float32', []), tensorType('uint8', [])];
    },
    reference: dynamicQuantize,
    lower: lowerDynamicQuantize,
  }),
];

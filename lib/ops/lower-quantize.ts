/** Native lowering of quantisation over row-major tensors. */

import { type DType, dtypeInfo } from '../ir/dtype.ts';
import type { SegmentLayout } from '../ir/segments.ts';
import { sizeBetween, sizeOf } from '../ir/shape.ts';
import { toNumbers } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { noKernel } from './lower-elementwise.ts';

/** How scales and zero points are dealt to the elements. */
export type ScaleGranularity =
  | { readonly kind: 'tensor' }
  | { readonly kind: 'axis'; readonly axis: number }
  | { readonly kind: 'block'; readonly axis: number; readonly block: number };

/** The tensor's dimensions as the kernels walk them, and the strides of its scales. */
function scaleWalk(
  dims: readonly number[],
  g: ScaleGranularity,
): { dims: number[]; scale_strides: number[] } | undefined {
  if (g.kind === 'tensor') return { dims: [sizeOf(dims)], scale_strides: [0] };
  const outer = sizeBetween(dims, 0, g.axis);
  const inner = sizeBetween(dims, g.axis + 1, dims.length);
  const length = dims[g.axis];
  if (g.kind === 'axis') return { dims: [outer, length, inner], scale_strides: [0, 1, 0] };
  if (length % g.block !== 0) return undefined;
  const blocks = length / g.block;
  return { dims: [outer, blocks, g.block, inner], scale_strides: [blocks * inner, inner, 0, 1] };
}

const eightOrSixteen: readonly DType[] = ['uint8', 'int8', 'uint16', 'int16'];

/** Number of a constant input of one element; 0 where it is omitted. */
function scalar(ctx: LowerContext, i: number): number | undefined {
  if (!ctx.has(i)) return 0;
  const content = ctx.constant(i);
  return content && sizeOf(content.dims) === 1 ? toNumbers(content)[0] : undefined;
}

/** Converts between float32 and bytes where the input already lies in segments and one scale serves all. */
function convertSegments(ctx: LowerContext, kernel: string, bytes: DType): boolean {
  const own = ctx.segmentsOf(0);
  const [scale, zero_point] = [scalar(ctx, 1), scalar(ctx, 2)];
  if (!own || scale === undefined || zero_point === undefined || (bytes !== 'uint8' && bytes !== 'int8')) return false;
  const x = ctx.inputSegments(0, own);
  const y = ctx.outputSegments(0, own.withoutBorders());
  const channels = { x_channel: x.channel ?? 0, y_channel: y.channel ?? 0, channels: own.size.c };
  ctx.step(kernel, [x, y], {
    ...channels,
    signed: bytes === 'int8',
    zero_point,
    scale,
    x_map: x.layout as SegmentLayout,
    y_map: y.layout as SegmentLayout,
  });
  return true;
}

/** Lowers QuantizeLinear: float32 input and scale, an 8- or 16-bit output. */
export function lowerQuantize(ctx: LowerContext, g: ScaleGranularity, division: DType): string | undefined {
  const odd = [0, 1].find((i) => ctx.dtype(i) !== 'float32');
  if (odd !== undefined) return noKernel(ctx.dtype(odd));
  if (!eightOrSixteen.includes(ctx.outputDtype(0))) return noKernel(ctx.outputDtype(0));
  if (division !== 'float32') return `division in ${division}`;
  if (g.kind === 'tensor' && convertSegments(ctx, 'segments.quantize.u8', ctx.outputDtype(0))) return undefined;
  const walk = scaleWalk(ctx.dims(0), g);
  if (!walk) return 'blocks that do not divide the axis';
  const type = dtypeInfo(ctx.outputDtype(0)).onnx;
  const zero = ctx.has(2) ? ctx.input(2) : null;
  ctx.step('quantize.f32', [ctx.input(0), ctx.input(1), zero, ctx.output(0)], { type, ...walk });
  return undefined;
}

/** Lowers DequantizeLinear of 8- and 16-bit numbers and int32 to float32. */
export function lowerDequantize(ctx: LowerContext, g: ScaleGranularity): string | undefined {
  const from = ctx.dtype(0);
  if (from !== 'int32' && !eightOrSixteen.includes(from)) return noKernel(from);
  if (ctx.dtype(1) !== 'float32' || ctx.outputDtype(0) !== 'float32') return noKernel(ctx.outputDtype(0));
  if (g.kind === 'tensor' && convertSegments(ctx, 'segments.dequantize.u8', from)) return undefined;
  const walk = scaleWalk(ctx.dims(0), g);
  if (!walk) return 'blocks that do not divide the axis';
  const zero = ctx.has(2) ? ctx.input(2) : null;
  const operands = [ctx.input(0), ctx.input(1), zero, ctx.output(0)];
  ctx.step('dequantize.f32', operands, { type: dtypeInfo(from).onnx, ...walk });
  return undefined;
}

/** Lowers DynamicQuantizeLinear. */
export function lowerDynamicQuantize(ctx: LowerContext): string | undefined {
  const count = sizeOf(ctx.dims(0));
  const into = (i: number, dtype: DType): Operand => (ctx.wants(i) ? ctx.output(i) : ctx.scratch(dtype, []));
  const [scale, zero] = [into(1, 'float32'), into(2, 'uint8')];
  ctx.step('quantize.range', [ctx.input(0), scale, zero], { count });
  if (!ctx.wants(0)) return undefined;
  const params = { type: dtypeInfo('uint8').onnx, dims: [count], scale_strides: [0] };
  ctx.step('quantize.f32', [ctx.input(0), scale, zero, ctx.output(0)], params);
  return undefined;
}

/** Native scaling and shifting of feature maps by channel. */

import type { SegmentLayout } from '../ir/segments.ts';
import { sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor } from '../ir/tensor.ts';
import { unaryCodes } from './elementwise-codes.ts';
import { type Activation, NO_ACTIVATION } from './epilogue.ts';
import type { LowerContext, Operand } from './lower.ts';

const KERNEL = 'scale.segments.f32';

/** The layout of input `i` where it lies in segments of a feature map whose lines the kernel can scale. */
export function scalableSegments(ctx: LowerContext, i: number): SegmentLayout | undefined {
  const layout = ctx.dtype(i) === 'float32' && ctx.hasKernel(KERNEL) ? ctx.segmentsOf(i) : undefined;
  return layout?.axis === 'planes' && sizeOf(ctx.dims(i)) > 0 ? layout : undefined;
}

/** activation(x * scale + shift + residual) over segments. */
export interface SegmentScale {
  /** The input that lies in segments; the output has its shape. */
  readonly x: number;
  /** One number a channel, or with `perImage` one for each channel of each image. */
  readonly scale: Operand | null;
  readonly shift: Operand | null;
  readonly perImage?: boolean;
  /** An input of the same shape. */
  readonly residual?: number;
  readonly activation?: Activation;
}

/** Emits one pass over segments of `layout`. */
export function scaleSegments(ctx: LowerContext, layout: SegmentLayout, s: SegmentScale): void {
  const residual = s.residual === undefined ? null : ctx.inputSegments(s.residual, layout);
  const over = s.residual === undefined ? ctx.outputInPlace(0, s.x) : undefined;
  const x = over ?? ctx.inputSegments(s.x, layout);
  const y = over ?? ctx.outputSegments(0, layout);
  const { kind: activation, alpha, beta } = s.activation ?? NO_ACTIVATION;
  ctx.step(KERNEL, [x, s.scale, s.shift, residual, y], {
    x_channel: x.channel ?? 0,
    y_channel: y.channel ?? 0,
    residual_channel: residual?.channel ?? 0,
    channels: layout.size.c,
    per_image: s.perImage ?? false,
    ...{ activation, alpha, beta },
    x_map: x.layout as SegmentLayout,
    y_map: y.layout as SegmentLayout,
    residual_map: residual?.layout ?? [],
  });
}

const filled = (count: number, value: number) => (): HostTensor =>
  fromNumbers('float32', [count], new Float64Array(count).fill(value));

const activationNames = [
  'Relu',
  'Clip',
  'LeakyRelu',
  'Sigmoid',
  'Tanh',
  'Swish',
  'Gelu',
  'GeluTanh',
  'HardSwish',
] as const;
const unaryOf = (activation: string): number => unaryCodes[activation as (typeof activationNames)[number]];

/** Emits activation(x * scale + shift + residual): inputs 0 to 3 of the node. */
export function lowerScale(ctx: LowerContext, activation: Activation): string | undefined {
  if (ctx.dtype(0) !== 'float32') return `no kernel for ${ctx.dtype(0)}`;
  if (sizeOf(ctx.dims(0)) === 0) return 'an empty tensor';
  const given = (i: number): Operand | null => (ctx.has(i) ? ctx.input(i) : null);
  const layout = scalableSegments(ctx, 0);
  if (layout) {
    const residual = ctx.has(3) ? 3 : undefined;
    scaleSegments(ctx, layout, { x: 0, scale: given(1), shift: given(2), residual, activation });
    return undefined;
  }
  const dims = ctx.dims(0);
  const [batch, channels] = dims;
  const count = sizeOf(dims);
  const zeros = (): Operand => ctx.literal('zeros', filled(channels, 0));
  const ones = (): Operand => ctx.literal('ones', filled(channels, 1));
  const inputs = [ctx.input(0), given(1) ?? ones(), given(2) ?? zeros(), zeros(), ones()];
  const residual = given(3);
  const y = ctx.output(0);
  const sizes = { batch, channels, inner: sizeBetween(dims, 2, dims.length), epsilon: 0 };
  ctx.step('batchnorm.f32', [...inputs, y], sizes);
  if (residual) ctx.step('binary.f32', [y, residual, y], { op: 0, dims: [count], a_strides: [1], b_strides: [1] });
  const name = ctx.string('activation', '');
  const { alpha, beta } = activation;
  if (name) ctx.step('unary.f32', [y, y], { op: unaryOf(name), alpha, beta, count });
  return undefined;
}

/**
 * Emits a product of a map in segments with one number for each channel of each image; false where the operands are
 * others.
 */
export function scaleByImage(ctx: LowerContext): boolean {
  const dims = ctx.outputDims(0);
  for (const [x, factor] of [
    [0, 1],
    [1, 0],
  ]) {
    const layout = scalableSegments(ctx, x);
    const own = ctx.dims(factor);
    const perChannel =
      own.length === dims.length && own.every((dim, axis) => dim === (axis === 1 || axis === 0 ? dims[axis] : 1));
    const whole = ctx.dims(x).length === dims.length && ctx.dims(x).every((dim, axis) => dim === dims[axis]);
    if (!layout || !perChannel || !whole || ctx.dtype(factor) !== 'float32') continue;
    if (dims.length < 3 || sizeBetween(dims, 2, dims.length) === 1) continue;
    scaleSegments(ctx, layout, { x, scale: ctx.input(factor), shift: null, perImage: true });
    return true;
  }
  return false;
}

/** Native convolutions and linear layers over bytes in the segment layout. */

import { rowsLayout, type SegmentLayout, type Window } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { chooseSplit, interiorTiles, readsBorders, windowLayouts, windowMaps, windowParams } from './conv-lower.ts';
import { type Activation, activationOf } from './epilogue.ts';
import type { LowerContext, Operand, StepParams } from './lower.ts';
import { takenPositions } from './taken-positions.ts';

/** Element type of the output. */
export type ByteOutput = 'float32' | 'uint8' | 'int8';

const outputNumbers: Readonly<Record<ByteOutput, number>> = { float32: 0, uint8: 1, int8: 2 };

/** What differs between a convolution and a linear layer. */
interface Shape {
  readonly groups: number;
  readonly window: Window;
  /** Weights are [K, N] instead of [M, C / groups, ...]. */
  readonly transposed: boolean;
  readonly input: SegmentLayout;
  readonly output: SegmentLayout;
}

/** Above this share of quads of weights with any that is not zero the dense kernels are as fast. */
const SPARSE_QUADS = { sparse: 0.75, packed: 0.5 } as const;

type Kind = 'sparse' | 'packed' | 'dense' | 'tiles' | 'depthwise';

/** With fewer channels a group leaves most of a tile idle. */
const TILE_CHANNELS = 32;

/** The kernel for weights that are not sparse: with tile registers, whose groups are whole quads, where there are any. */
function denseKind(ctx: LowerContext, { groups, input }: Shape): Kind {
  const channels = input.size.c / groups;
  const suits = groups === 1 || (channels % 4 === 0 && channels >= TILE_CHANNELS);
  return suits && ctx.hasKernel('conv.segments.tiles.u8') ? 'tiles' : 'dense';
}

/**
 * True where few enough weights are not zero for generated code or a packed stream. Tiles multiply many times as fast as
 * vectors, but what ends their sums is slower, which counts where sums are short: the bound is measured on the layers of
 * ResNet-50 and BERT (docs/design/050-amx.md).
 */
function isSparse(ctx: LowerContext, shape: Shape, kind: 'sparse' | 'packed', rival: Kind): boolean {
  if (!ctx.hasKernel(`conv.segments.${kind}.u8`)) return false;
  const quads = ctx.blockDensity(1, shape.transposed ? 0 : 1);
  if (rival !== 'tiles') return quads <= SPARSE_QUADS[kind];
  const depth = (shape.input.size.c / shape.groups) * sizeOf(shape.window.kernel);
  const bound = kind === 'sparse' ? Math.min(0.3, 0.13 + 20 / depth) : 0.03;
  return quads <= bound;
}

function chooseKind(ctx: LowerContext, shape: Shape): Kind {
  const { groups, input, output } = shape;
  if (groups > 1 && groups === input.size.c && groups === output.size.c) return 'depthwise';
  const dense = denseKind(ctx, shape);
  // Zeros are the zero point's, which the count of nonzero elements knows only where it is 0.
  if (ctx.has(3) && toNumbers(ctx.constant(3) as HostTensor).some((zero) => zero !== 0)) return dense;
  return (['sparse', 'packed'] as const).find((kind) => isSparse(ctx, shape, kind, dense)) ?? dense;
}

/** True where weights less their zero points are signed bytes, which the kernels multiply. */
function weightsFit(ctx: LowerContext, shape: Shape): boolean {
  const zero = ctx.constant(3);
  if (!zero && ctx.dtype(1) === 'int8') return true;
  const zeros = zero ? toNumbers(zero) : [0];
  const weights = toNumbers(ctx.constant(1) as HostTensor);
  const channels = shape.output.size.c;
  const per = weights.length / channels;
  return weights.every((w, i) => {
    const channel = shape.transposed ? i % channels : Math.floor(i / per);
    const value = w - zeros[zeros.length === 1 ? 0 : channel];
    return value >= -128 && value <= 127;
  });
}

/** The reason why the node has to run on its reference. */
function unsuitable(ctx: LowerContext, output: ByteOutput, shape: Shape): string | undefined {
  const constants = [1, 2, 3, 4].every((i) => !ctx.has(i) || ctx.constant(i));
  if (!constants) return 'parameters are computed at run time';
  if (sizeOf(ctx.dims(0)) === 0 || sizeOf(ctx.outputDims(0)) === 0) return 'an empty tensor';
  if (ctx.has(5) && (ctx.dtype(5) === 'float32') !== (output === 'float32')) return `a residual of ${ctx.dtype(5)}`;
  const { groups } = shape;
  const perGroup = shape.output.size.c / groups;
  const whole = groups === 1 || perGroup % 4 === 0 || output === 'float32';
  if (chooseKind(ctx, shape) !== 'depthwise' && !whole) return `no kernel for groups of ${perGroup} channels`;
  return weightsFit(ctx, shape) ? undefined : 'weights less their zero point are no signed bytes';
}

function byteParams(ctx: LowerContext, output: ByteOutput): StepParams {
  const bytes = output !== 'float32';
  const residual = ctx.has(5) && bytes;
  return {
    input_signed: ctx.dtype(0) === 'int8',
    input_zero_point: ctx.int('x_zero_point', 0),
    output: outputNumbers[output],
    output_zero_point: bytes ? ctx.int('y_zero_point', 0) : 0,
    output_scale: bytes ? ctx.float('y_factor', 1) : 1,
    residual_signed: residual && ctx.dtype(5) === 'int8',
    residual_zero_point: residual ? ctx.int('residual_zero_point', 0) : 0,
    residual_scale: residual ? ctx.float('residual_scale') : 1,
    middle: ctx.int('middle', 0),
    middle_low: ctx.float('middle_low', 0),
    middle_high: ctx.float('middle_high', 0),
    middle_offset: ctx.float('middle_offset', 0),
    middle_scale: ctx.float('middle_scale', 1),
    middle_shift: ctx.float('middle_shift', 0),
  };
}

/** Taps that the kernel with tile registers takes as one run of lines: neighbours along x lie together. */
function runTaps({ groups, window, input }: Shape, x: Operand): number {
  const alone = x.layout?.size.c === input.size.c;
  return alone && groups === 1 && window.dilations[2] === 1 ? window.kernel[2] : 1;
}

/** Constant input `i` with one number a channel. */
function perChannel(ctx: LowerContext, i: number, channels: number): Operand {
  const given = ctx.constant(i) as HostTensor;
  if (sizeOf(given.dims) === channels) return ctx.input(i);
  const value = toNumbers(given)[0];
  return ctx.literal(`input ${i} for ${channels} channels`, () =>
    given.dtype === 'float32'
      ? tensor('float32', [channels], new Float32Array(channels).fill(value))
      : tensor('int32', [channels], new Int32Array(channels).fill(value)),
  );
}

function packWeights(
  ctx: LowerContext,
  kind: Kind,
  shape: Shape & { readonly run_taps: number },
  bytes: StepParams,
  activation: Activation,
): Operand {
  const channels = shape.output.size.c;
  const sources = [
    ctx.input(1),
    ctx.has(3) ? ctx.input(3) : null,
    ctx.has(4) ? perChannel(ctx, 4, channels) : null,
    perChannel(ctx, 2, channels),
  ];
  const sizes = {
    groups: shape.groups,
    channels_in: shape.input.size.c,
    channels_out: channels,
    taps: sizeOf(shape.window.kernel),
    transposed: shape.transposed,
    weights_unsigned: ctx.dtype(1) === 'uint8',
  };
  const { input_signed, input_zero_point } = bytes;
  const dense = { ...sizes, input_signed, input_zero_point };
  if (kind === 'dense' || kind === 'depthwise') return ctx.packed(`pack.conv.segments.${kind}.u8`, sources, dense);
  if (kind === 'tiles')
    return ctx.packed('pack.conv.segments.tiles.u8', sources, { ...dense, run_taps: shape.run_taps });
  const { kind: number, alpha, beta } = activation;
  return ctx.packed(`pack.conv.segments.${kind}.u8`, sources, {
    ...{ ...sizes, ...bytes, residual: ctx.has(5), activation: number, alpha, beta },
    // Packings depend on this only for the pace of prefetching: nearby sizes share one.
    tiles: 2 ** Math.round(Math.log2(Math.max(1, interiorTiles(shape.output)))),
    ...{ tile_block: 0, prefetch_output: ctx.dims(0)[0] > 1 },
  });
}

/** The output, over the residual where that dies here. */
function placeResult(ctx: LowerContext, layout: SegmentLayout): { residual: Operand | null; y: Operand } {
  if (!ctx.has(5)) return { residual: null, y: ctx.outputSegments(0, layout) };
  const alike = ctx.segmentsOf(5)?.samePositions(layout) && ctx.dtype(5) === ctx.outputDtype(0);
  const over = alike ? ctx.outputInPlace(0, 5) : undefined;
  if (over) return { residual: over, y: over };
  const residual = ctx.inputSegments(5, layout);
  return { residual, y: ctx.outputSegments(0, layout) };
}

function lowerBytes(ctx: LowerContext, output: ByteOutput, shape: Shape): string | undefined {
  const reason = unsuitable(ctx, output, shape);
  if (reason) return reason;
  const activation = activationOf(ctx);
  const kind = chooseKind(ctx, shape);
  const bytes = byteParams(ctx, output);
  const taken = kind === 'depthwise' ? undefined : takenPositions(ctx, shape.window, shape);
  const window = taken?.window ?? shape.window;
  const fill = readsBorders(window) ? ctx.int('x_zero_point', 0) : undefined;
  const x = taken?.x ?? ctx.inputSegments(0, shape.input, fill);
  const { residual, y } = placeResult(ctx, shape.output);
  const run_taps = runTaps(shape, x);
  const packing = packWeights(ctx, kind, { ...shape, run_taps }, bytes, activation);
  const conv = { group: shape.groups, window, activation };
  const tiles = interiorTiles(shape.output);
  ctx.step(`conv.segments.${kind}.u8`, [x, packing, residual, y], {
    ...windowParams(conv, shape.input.size, shape.output.size),
    ...bytes,
    ...(kind === 'sparse' || kind === 'packed' ? { density: ctx.density(1) } : {}),
    ...(kind === 'tiles' ? { run_taps } : {}),
    split: chooseSplit(ctx, tiles, sizeOf(ctx.dims(1)) * (kind === 'sparse' ? ctx.density(1) * 8 : 1)),
    ...windowMaps(x, y, residual),
  });
  return undefined;
}

/** Emits a convolution over bytes; the reason where the node has to run on its reference. */
export function lowerQuantizedConv(ctx: LowerContext, output: ByteOutput, window: Window): string | undefined {
  if (window.pads.some((pad) => pad < 0)) return 'negative padding';
  if (sizeOf(ctx.dims(0)) === 0) return 'an empty tensor';
  const layouts = windowLayouts(ctx, window);
  return lowerBytes(ctx, output, { groups: ctx.int('group', 1), window, transposed: false, ...layouts });
}

const point: Window = { kernel: [1, 1, 1], strides: [1, 1, 1], dilations: [1, 1, 1], pads: [0, 0, 0], depthAfter: 0 };

/** Emits a linear layer over bytes; the reason where the node has to run on its reference. */
export function lowerQuantizedLinear(ctx: LowerContext, output: ByteOutput): string | undefined {
  if (ctx.dims(1).length !== 2) return 'a stack of matrices';
  const [depth, columns] = ctx.dims(1);
  if (depth === 0 || columns === 0) return 'an empty tensor';
  const rows = sizeOf(ctx.dims(0)) / depth;
  const layouts = { input: rowsLayout(rows, depth), output: rowsLayout(rows, columns) };
  return lowerBytes(ctx, output, { groups: 1, window: point, transposed: true, ...layouts });
}

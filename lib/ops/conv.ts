/** Convolutions. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { lowerConv } from './conv-lower.ts';
import { doubles, expectKind, expectKinds, floatKinds } from './elements.ts';
import {
  type Activation,
  activate,
  activationOf,
  checkResidual,
  epilogueAttributes,
  NO_ACTIVATION,
} from './epilogue.ts';
import type { LowerContext } from './lower.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import {
  forEachTap,
  makeWindow,
  mapWindow,
  readWindow,
  type SpatialWindow,
  type TapRows,
  type WindowAttributes,
  windowAttributes,
  windowDims,
} from './window.ts';

/** Attributes of every convolution. */
export const convAttributes = { ...windowAttributes, group: 'int' } as const;

/** The kernel's spatial sizes where the weight's shape (or `kernel_shape`) tells them. */
export function kernelOf(ctx: NodeReader, weight: Shape | undefined): readonly number[] | undefined {
  const dims = weight?.slice(2);
  if (dims?.every((dim): dim is number => typeof dim === 'number')) return dims;
  return ctx.hasAttribute('kernel_shape') ? ctx.ints('kernel_shape') : undefined;
}

/** Checks what a grouped convolution needs of its operands: x [N, C, ...], weight [M, C / group, ...], bias [M]. */
export function checkConv(ctx: NodeReader, x: Shape, weight: Shape, bias: Shape | undefined): void {
  const group = ctx.int('group', 1);
  if (x.length < 3) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
  if (weight.length !== x.length) {
    throw ctx.error(`the weight ${shapeText(weight)} has another rank than the input ${shapeText(x)}`);
  }
  const [m, perGroup] = weight;
  if (group < 1) throw ctx.error(`"group" is ${group}, expected at least 1`);
  if (typeof x[1] === 'number' && typeof perGroup === 'number' && x[1] !== perGroup * group) {
    throw ctx.error(
      `the input has ${x[1]} channels, the weight ${shapeText(weight)} with group ${group} expects ${perGroup * group}`,
    );
  }
  if (typeof m === 'number' && m % group !== 0) {
    throw ctx.error(`${m} output channels cannot be dealt to ${group} groups`);
  }
  checkBias(ctx, bias, m);
}

/** Checks that a bias, where present, is one number an output channel. */
export function checkBias(ctx: NodeReader, bias: Shape | undefined, channels: Dim): void {
  if (!bias) return;
  const differs = typeof bias[0] === 'number' && typeof channels === 'number' && bias[0] !== channels;
  if (bias.length !== 1 || differs) throw ctx.error(`the bias is ${shapeText(bias)}, expected [${channels ?? '?'}]`);
}

/** The output shape of a convolution, or undefined where the rank is unknown. */
export function convShape(
  ctx: NodeReader,
  x: Shape | undefined,
  weight: Shape | undefined,
  bias: Shape | undefined,
): Dim[] | undefined {
  if (!x) return undefined;
  if (weight) checkConv(ctx, x, weight, bias);
  const m = weight ? weight[0] : null;
  const kernel = kernelOf(ctx, weight);
  if (!kernel) return [x[0], m, ...x.slice(2).map(() => null)];
  return [x[0], m, ...windowDims(ctx, readWindow(ctx, x.length - 2, kernel), x.slice(2))];
}

/** Type of a convolution of floats; writers mix their widths. */
function inferConv(ctx: InferContext): ValueType {
  expectKinds(ctx, [1, 2, 3], floatKinds);
  const shape = convShape(ctx, ctx.shape(0), ctx.shape(1), ctx.shape(2));
  checkResidual(ctx, 3, shape);
  return tensorType(expectKind(ctx, 0, floatKinds), shape);
}

/** A convolution over concrete operands, ready to compute. */
export interface ConvProblem {
  readonly batch: number;
  readonly channels: number;
  readonly outputs: number;
  readonly group: number;
  readonly window: SpatialWindow;
  readonly attributes: WindowAttributes;
  readonly dims: readonly number[];
}

/** Checks concrete operands and gives the convolution's sizes. */
export function convProblem(
  ctx: NodeReader,
  x: readonly number[],
  weight: readonly number[],
  bias?: readonly number[],
): ConvProblem {
  checkConv(ctx, x, weight, bias);
  const attributes = readWindow(ctx, x.length - 2, weight.slice(2));
  const window = makeWindow(ctx, attributes, x.slice(2));
  const dims = [x[0], weight[0], ...window.output];
  return { batch: x[0], channels: x[1], outputs: weight[0], group: ctx.int('group', 1), window, attributes, dims };
}

/** Adds the convolution of `x` with `weight` to `y` (all row-major doubles): y[n, m] += sum of weight[m, c] * x[n, c]. */
export function convolve(p: ConvProblem, x: Float64Array, weight: Float64Array, y: Float64Array): void {
  const { batch, channels, outputs, group, window } = p;
  const perGroup = channels / group;
  const outPerGroup = outputs / group;
  const inPlane = sizeOf(window.input);
  const outPlane = sizeOf(window.output);
  const taps = sizeOf(window.kernel);
  if (y.length === 0) return;
  forEachTap(window, (tap, rows) => {
    for (let n = 0; n < batch; n++) {
      for (let m = 0; m < outputs; m++) {
        const first = n * channels + Math.floor(m / outPerGroup) * perGroup;
        const to = (n * outputs + m) * outPlane;
        let c = 0;
        // Four channels at once: a quarter of the loads and stores of y.
        for (; c + 4 <= perGroup; c += 4) {
          const at = (m * perGroup + c) * taps + tap;
          addRows4(rows, weight, at, taps, x, (first + c) * inPlane, inPlane, y, to);
        }
        for (; c < perGroup; c++) {
          addRows(rows, weight[(m * perGroup + c) * taps + tap], x, (first + c) * inPlane, y, to);
        }
      }
    }
  });
}

/** y += w * x along the rows of one tap; `from` and `to` are where the planes begin. */
function addRows(rows: TapRows, w: number, x: Float64Array, from: number, y: Float64Array, to: number): void {
  const { count, source, target, length, step } = rows;
  for (let r = 0; r < count; r++) {
    const end = to + target[r] + length[r];
    let at = from + source[r];
    for (let o = to + target[r]; o < end; o++) {
      y[o] += w * x[at];
      at += step;
    }
  }
}

/** The same for four planes at once, `plane` apart, with weights `taps` apart from `weightAt` on. */
function addRows4(
  { count, source, target, length, step }: TapRows,
  weight: Float64Array,
  weightAt: number,
  taps: number,
  x: Float64Array,
  from: number,
  plane: number,
  y: Float64Array,
  to: number,
): void {
  const [w0, w1] = [weight[weightAt], weight[weightAt + taps]];
  const [w2, w3] = [weight[weightAt + 2 * taps], weight[weightAt + 3 * taps]];
  for (let r = 0; r < count; r++) {
    const end = to + target[r] + length[r];
    let at = from + source[r];
    for (let o = to + target[r]; o < end; o++) {
      const next = at + 2 * plane;
      y[o] += w0 * x[at] + w1 * x[at + plane] + w2 * x[next] + w3 * x[next + plane];
      at += step;
    }
  }
}

/** Output storage in double, each channel filled with its bias. */
export function filledWithBias(dims: readonly number[], bias: HostTensor | undefined): Float64Array {
  const y = doubles(sizeOf(dims));
  if (!bias) return y;
  const plane = sizeOf(dims.slice(2));
  const b = toNumbers(bias);
  for (let c = 0; c < dims[0] * dims[1]; c++) y.fill(b[c % dims[1]], c * plane, (c + 1) * plane);
  return y;
}

function convReference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const weight = ctx.tensor(1);
  const bias = ctx.optional(2);
  const p = convProblem(ctx, x.dims, weight.dims, bias?.dims);
  const y = filledWithBias(p.dims, bias);
  convolve(p, toNumbers(x), toNumbers(weight), y);
  return [fromNumbers(x.dtype, p.dims, y)];
}

/** A convolution with residual and activation: activation(conv(x, w) + b + residual). */
function fusedReference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const weight = ctx.tensor(1);
  const bias = ctx.optional(2);
  const p = convProblem(ctx, x.dims, weight.dims, bias?.dims);
  const y = filledWithBias(p.dims, bias);
  convolve(p, toNumbers(x), toNumbers(weight), y);
  const residual = ctx.optional(3);
  if (residual) addTo(y, toNumbers(residual));
  return [fromNumbers(x.dtype, p.dims, y.map(activate(ctx)))];
}

function addTo(y: Float64Array, x: Float64Array): void {
  for (let i = 0; i < y.length; i++) y[i] += x[i];
}

function lowerWith(ctx: LowerContext, activation: Activation): string | undefined {
  const window = mapWindow(convProblem(ctx, ctx.dims(0), ctx.dims(1)).window);
  if (!window) return `no kernel for ${ctx.dims(0).length - 2} spatial axes`;
  return lowerConv(ctx, { group: ctx.int('group', 1), window, activation });
}

export const convOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Conv',
    since: [1, 11, 22],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: convAttributes,
    infer: (ctx) => [inferConv(ctx)],
    reference: convReference,
    lower: (ctx) => lowerWith(ctx, NO_ACTIVATION),
    window: (ctx, dims) => mapWindow(convProblem(ctx, dims(0), dims(1)).window),
  }),
  defineOp({
    name: 'Conv',
    domain: 'filigree',
    since: [1],
    inputs: [2, 4],
    outputs: [1, 1],
    attributes: { ...convAttributes, ...epilogueAttributes },
    infer: (ctx) => [inferConv(ctx)],
    reference: fusedReference,
    lower: (ctx) => lowerWith(ctx, activationOf(ctx)),
    window: (ctx, dims) => mapWindow(convProblem(ctx, dims(0), dims(1)).window),
  }),
];

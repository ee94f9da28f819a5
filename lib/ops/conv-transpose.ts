/** Transposed convolution: every input element spreads its kernel over the output. */

import { tensorType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { checkBias, convAttributes, filledWithBias, kernelOf } from './conv.ts';
import { expectSame, floatKinds } from './elements.ts';
import { keepsFirst } from './keeps-rows.ts';
import type { LowerContext } from './lower.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { forEachTap, perAxis, readWindow, type SpatialWindow, span, type WindowAttributes } from './window.ts';

interface TransposedAttributes extends WindowAttributes {
  readonly outputPadding: readonly number[];
  /** Spatial sizes that the node asks for. */
  readonly outputShape: readonly number[] | undefined;
}

function readTransposed(ctx: NodeReader, rank: number, kernel: readonly number[]): TransposedAttributes {
  const w = readWindow(ctx, rank, kernel);
  const asked = ctx.ints('output_shape', []);
  if (asked.length !== 0 && asked.length !== rank && asked.length !== rank + 2) {
    throw ctx.error(`"output_shape" has ${asked.length} entries, expected ${rank}`);
  }
  if (asked.some((size) => size < 0)) throw ctx.error(`"output_shape" is [${asked.join(',')}], expected sizes`);
  return {
    ...w,
    outputPadding: perAxis(ctx, 'output_padding', rank, 0, 0),
    outputShape: asked.length ? asked.slice(-rank) : undefined,
  };
}

/** Size and beginning padding of the output along spatial axis `i` for an input of `size`. */
function outputAxis(
  ctx: NodeReader,
  w: TransposedAttributes,
  i: number,
  size: number,
): { size: number; begin: number } {
  const full = size === 0 ? 0 : w.strides[i] * (size - 1) + w.outputPadding[i] + span(w, i);
  const same = w.autoPad === 'SAME_UPPER' || w.autoPad === 'SAME_LOWER';
  const asked = w.outputShape?.[i] ?? (same ? size * w.strides[i] : undefined);
  if (asked === undefined) {
    const [begin, end] = w.autoPad === 'VALID' ? [0, 0] : [w.pads[i], w.pads[w.kernel.length + i]];
    const result = full - begin - end;
    if (result < 0) throw ctx.error(`spatial axis ${i} of the output would have size ${result}`);
    return { size: result, begin };
  }
  const total = Math.max(full - asked, 0);
  const small = Math.floor(total / 2);
  return { size: asked, begin: w.autoPad === 'SAME_UPPER' ? small : total - small };
}

function checkTransposed(ctx: NodeReader, x: Shape, weight: Shape, bias: Shape | undefined): Dim {
  const group = ctx.int('group', 1);
  if (x.length < 3) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
  if (weight.length !== x.length) {
    throw ctx.error(`the weight ${shapeText(weight)} has another rank than the input ${shapeText(x)}`);
  }
  if (group < 1) throw ctx.error(`"group" is ${group}, expected at least 1`);
  const [channels, perGroup] = weight;
  if (typeof x[1] === 'number' && typeof channels === 'number' && x[1] !== channels) {
    throw ctx.error(`the input has ${x[1]} channels, the weight ${shapeText(weight)} expects ${channels}`);
  }
  if (typeof channels === 'number' && channels % group !== 0) {
    throw ctx.error(`${channels} channels cannot be dealt to ${group} groups`);
  }
  const outputs = typeof perGroup === 'number' ? perGroup * group : null;
  checkBias(ctx, bias, outputs);
  return outputs;
}

function transposedShape(
  ctx: NodeReader,
  x: Shape | undefined,
  weight: Shape | undefined,
  bias: Shape | undefined,
): Dim[] | undefined {
  if (!x) return undefined;
  const outputs = weight ? checkTransposed(ctx, x, weight, bias) : null;
  const kernel = kernelOf(ctx, weight);
  const spatial = x.slice(2);
  if (!kernel) return [x[0], outputs, ...spatial.map(() => null)];
  const w = readTransposed(ctx, spatial.length, kernel);
  const sizes = spatial.map((dim, i) =>
    typeof dim === 'number' ? outputAxis(ctx, w, i, dim).size : (w.outputShape?.[i] ?? null),
  );
  return [x[0], outputs, ...sizes];
}

function transposedReference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const weight = ctx.tensor(1);
  const bias = ctx.optional(2);
  const outputs = checkTransposed(ctx, x.dims, weight.dims, bias?.dims) as number;
  const input = x.dims.slice(2);
  const w = readTransposed(ctx, input.length, weight.dims.slice(2));
  const axes = input.map((size, i) => outputAxis(ctx, w, i, size));
  // The forward convolution whose output is x sees y.
  const window: SpatialWindow = {
    input: axes.map((axis) => axis.size),
    output: input,
    kernel: w.kernel,
    strides: w.strides,
    dilations: w.dilations,
    begin: axes.map((axis) => axis.begin),
    end: axes.map(() => 0),
  };
  const dims = [x.dims[0], outputs, ...window.input];
  const y = filledWithBias(dims, bias);
  spread(window, x.dims, outputs, ctx.int('group', 1), toNumbers(x), toNumbers(weight), y);
  return [fromNumbers(x.dtype, dims, y)];
}

function spread(
  window: SpatialWindow,
  [batch, channels]: readonly number[],
  outputs: number,
  group: number,
  x: Float64Array,
  weight: Float64Array,
  y: Float64Array,
): void {
  const perGroup = channels / group;
  const outPerGroup = outputs / group;
  const inPlane = sizeOf(window.output);
  const outPlane = sizeOf(window.input);
  const taps = sizeOf(window.kernel);
  if (y.length === 0 || x.length === 0) return;
  forEachTap(window, (tap, { count, source, target, length, step }) => {
    for (let n = 0; n < batch; n++) {
      for (let m = 0; m < outputs; m++) {
        const to = (n * outputs + m) * outPlane;
        const first = Math.floor(m / outPerGroup) * perGroup;
        for (let c = first; c < first + perGroup; c++) {
          const w = weight[(c * outPerGroup + (m % outPerGroup)) * taps + tap];
          const from = (n * channels + c) * inPlane;
          for (let r = 0; r < count; r++) {
            const end = from + target[r] + length[r];
            let at = to + source[r];
            for (let i = from + target[r]; i < end; i++) {
              y[at] += w * x[i];
              at += step;
            }
          }
        }
      }
    }
  });
}

/** [w], [h, w] or [d, h, w] as depth, height and width. */
const volume = (values: readonly number[], fill: number): number[] => [
  ...new Array<number>(3 - values.length).fill(fill),
  ...values,
];

/** The native kernel; the reason where the node has to run on its reference. */
function lowerTransposed(ctx: LowerContext): string | undefined {
  const [images, channels, ...input] = ctx.dims(0);
  if (ctx.outputDtype(0) !== 'float32') return `no kernel for ${ctx.outputDtype(0)}`;
  if (input.length > 3) return `no kernel for ${input.length} spatial axes`;
  const [, outputs, ...output] = ctx.outputDims(0);
  const w = readTransposed(ctx, input.length, ctx.dims(1).slice(2));
  const begin = input.map((size, i) => outputAxis(ctx, w, i, size).begin);
  ctx.step('convtranspose.f32', [ctx.input(0), ctx.input(1), ctx.has(2) ? ctx.input(2) : null, ctx.output(0)], {
    images,
    groups: ctx.int('group', 1),
    channels_in: channels,
    channels_out: outputs,
    ...{ activation: 0, alpha: 0, beta: 0 },
    input: volume(input, 1),
    output: volume(output, 1),
    kernel: volume(w.kernel, 1),
    stride: volume(w.strides, 1),
    dilation: volume(w.dilations, 1),
    pad: volume(begin, 0),
  });
  return undefined;
}

export const convTransposeOps: readonly OpDefinition[] = [
  defineOp({
    name: 'ConvTranspose',
    since: [1, 11, 22],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { ...convAttributes, output_padding: 'ints', output_shape: 'ints' },
    infer: (ctx) => [
      tensorType(expectSame(ctx, 3, floatKinds), transposedShape(ctx, ctx.shape(0), ctx.shape(1), ctx.shape(2))),
    ],
    reference: transposedReference,
    keepsRows: keepsFirst,
    lower: lowerTransposed,
  }),
];

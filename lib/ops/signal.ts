/** Signal operators: DFT, STFT, mel weights and windows. */

import { type DType, dtypeFromOnnx, isFloat } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostValue, toIntegers, toNumbers } from '../ir/tensor.ts';
import { complexVector, fourier, inverseFourier } from './fourier.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';

const isOnesided = (ctx: NodeReader, fallback = 0): boolean => ctx.int('onesided', fallback) !== 0;
const isInverse = (ctx: NodeReader): boolean => ctx.int('inverse', 0) !== 0;

/** Axis of a DFT: an attribute before version 20, then an input. */
function dftAxis(ctx: NodeReader, given: number | undefined, rank: number): number {
  const axis = normalizeAxis(ctx, given ?? (ctx.version < 20 ? ctx.int('axis', 1) : -2), rank);
  if (rank < 2 || axis === rank - 1) throw ctx.error(`axis ${axis} of a signal of rank ${rank} is no signal axis`);
  return axis;
}

/** Length of the transform for an axis of `size`. */
function dftLength(ctx: NodeReader, size: number, given: number | undefined): number {
  const length = given ?? (isInverse(ctx) && isOnesided(ctx) ? 2 * (size - 1) : size);
  if (!(length > 0)) throw ctx.error(`the length of the transform is ${length}, expected a positive number`);
  return length;
}

const bins = (length: number): number => Math.floor(length / 2) + 1;

/** Type of the signal, which has to be real. */
function signalType(ctx: InferContext): DType {
  const dtype = ctx.dtype(0);
  if (!isFloat(dtype)) throw ctx.error(`the signal is of ${dtype}, expected floats`);
  return dtype;
}

function inferDft(ctx: InferContext): (ValueType | undefined)[] {
  const dtype = signalType(ctx);
  const x = ctx.shape(0);
  const axisKnown = ctx.version < 20 || !ctx.has(2) || ctx.integers(2);
  if (!x) return [tensorType(dtype, undefined)];
  const [onesided, inverse] = [isOnesided(ctx), isInverse(ctx)];
  const last = onesided && inverse ? 1 : 2;
  if (!axisKnown) return [tensorType(dtype, [...x.slice(0, -1).map(() => null), last])];
  const axis = dftAxis(ctx, ctx.version < 20 ? undefined : ctx.integers(2)?.[0], x.length);
  const size = x[axis];
  const given = ctx.integers(1)?.[0];
  const known = ctx.has(1) ? given !== undefined : typeof size === 'number';
  const length = known ? dftLength(ctx, size as number, given) : null;
  const out: Dim = length !== null && onesided && !inverse ? bins(length) : length;
  return [tensorType(dtype, [...x.slice(0, -1).map((dim, i) => (i === axis ? out : dim)), last])];
}

function dft(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const rank = x.dims.length;
  const axis = dftAxis(ctx, ctx.version < 20 || !ctx.has(2) ? undefined : ctx.integers(2)[0], rank);
  const [size, parts] = [x.dims[axis], x.dims[rank - 1]];
  if (parts !== 1 && parts !== 2) throw ctx.error(`the signal has shape ${shapeText(x.dims)}, expected 1 or 2 last`);
  const [onesided, inverse] = [isOnesided(ctx), isInverse(ctx)];
  const n = dftLength(ctx, size, ctx.has(1) ? ctx.integers(1)[0] : undefined);
  const real = onesided && inverse;
  const count = onesided && !inverse ? bins(n) : n;
  const outParts = real ? 1 : 2;
  const dims = [...x.dims.slice(0, -1).map((dim, i) => (i === axis ? count : dim)), outParts];
  const inner = sizeBetween(x.dims, axis + 1, rank - 1);
  const outer = sizeBetween(x.dims, 0, axis);
  const values = toNumbers(x);
  const out = new Float64Array(sizeOf(dims));
  const transform = inverse ? inverseFourier(n) : fourier(n);
  const held = Math.min(size, real ? bins(n) : n);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const v = complexVector(n);
      for (let k = 0; k < held; k++) {
        const at = ((o * size + k) * inner + i) * parts;
        v.re[k] = values[at];
        v.im[k] = parts === 2 ? values[at + 1] : 0;
        // The other half of a real signal's spectrum mirrors the given one.
        if (real && k > 0 && k < n - k) {
          v.re[n - k] = v.re[k];
          v.im[n - k] = -v.im[k];
        }
      }
      transform(v);
      for (let k = 0; k < count; k++) {
        const at = ((o * count + k) * inner + i) * outParts;
        out[at] = v.re[k];
        if (!real) out[at + 1] = v.im[k];
      }
    }
  }
  return [fromNumbers(x.dtype, dims, out)];
}

function framesOf(ctx: NodeReader, length: number, frame: number, step: number): number {
  if (!(step > 0 && frame > 0 && frame <= length)) {
    throw ctx.error(`frames of ${frame} every ${step} in a signal of ${length}`);
  }
  return Math.floor((length - frame) / step) + 1;
}

function inferStft(ctx: InferContext): (ValueType | undefined)[] {
  const signal = ctx.shape(0);
  const step = ctx.integers(1)?.[0];
  const window = ctx.has(2) ? (ctx.shape(2)?.[0] ?? null) : undefined;
  const frame: Dim = ctx.has(3) ? (ctx.integers(3)?.[0] ?? null) : (window ?? signal?.[1] ?? null);
  const length = signal?.[1];
  const frames =
    typeof length === 'number' && typeof frame === 'number' && step ? framesOf(ctx, length, frame, step) : null;
  const count = typeof frame === 'number' && isOnesided(ctx, 1) ? bins(frame) : isOnesided(ctx, 1) ? null : frame;
  const out: Shape = [signal?.[0] ?? null, frames, count, 2];
  return [tensorType(signalType(ctx), out)];
}

function stft(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const [batch, length, parts = 1] = x.dims;
  if (x.dims.length < 2 || x.dims.length > 3 || parts > 2) throw ctx.error(`the signal has shape ${shapeText(x.dims)}`);
  const step = ctx.integers(1)[0];
  const windowTensor = ctx.optional(2);
  const window = windowTensor && toNumbers(windowTensor);
  const frame = ctx.has(3) ? ctx.integers(3)[0] : (window?.length ?? length);
  if (window && window.length !== frame) throw ctx.error(`a window of ${window.length} for frames of ${frame}`);
  const frames = framesOf(ctx, length, frame, step);
  const count = isOnesided(ctx, 1) ? bins(frame) : frame;
  const values = toNumbers(x);
  const out = new Float64Array(batch * frames * count * 2);
  const transform = fourier(frame);
  for (let row = 0; row < batch * frames; row++) {
    const from = Math.floor(row / frames) * length + (row % frames) * step;
    const v = complexVector(frame);
    for (let k = 0; k < frame; k++) {
      const weight = window ? window[k] : 1;
      v.re[k] = values[(from + k) * parts] * weight;
      v.im[k] = parts === 2 ? values[(from + k) * parts + 1] * weight : 0;
    }
    transform(v);
    for (let k = 0; k < count; k++) {
      out[(row * count + k) * 2] = v.re[k];
      out[(row * count + k) * 2 + 1] = v.im[k];
    }
  }
  return [fromNumbers(x.dtype, [batch, frames, count, 2], out)];
}

function outputType(ctx: NodeReader): DType {
  const dtype = dtypeFromOnnx(ctx.int('output_datatype', 1));
  if (!dtype) throw ctx.error(`output_datatype ${ctx.int('output_datatype', 1)} is no element type`);
  return dtype;
}

function melWeights(ctx: ReferenceContext): HostValue[] {
  const [melBins, dftSize, rate] = [0, 1, 2].map((i) => ctx.integers(i)[0]);
  const [low, high] = [3, 4].map((i) => toNumbers(ctx.tensor(i))[0]);
  const rows = bins(dftSize);
  if (!(melBins > 0 && dftSize > 0 && rate > 0)) throw ctx.error(`${melBins} mel bins of ${dftSize} at ${rate} Hz`);
  const mel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
  const step = (mel(high) - mel(low)) / (melBins + 2);
  const bin = Array.from({ length: melBins + 2 }, (_, i) => {
    const hertz = 700 * (10 ** ((i * step + mel(low)) / 2595) - 1);
    return Math.floor(((dftSize + 1) * hertz) / rate);
  });
  if (bin.some((b) => b < 0 || b >= rows)) throw ctx.error(`the edges ${low} and ${high} Hz lie beyond ${rate} / 2 Hz`);
  const out = new Float64Array(rows * melBins);
  for (let i = 0; i < melBins; i++) {
    const [from, center, to] = [bin[i], bin[i + 1], bin[i + 2]];
    if (center === from) out[center * melBins + i] = 1;
    for (let j = from; j <= center && center > from; j++) out[j * melBins + i] = (j - from) / (center - from);
    for (let j = center; j < to; j++) out[j * melBins + i] = (to - j) / (to - center);
  }
  return [fromNumbers(outputType(ctx), [rows, melBins], out)];
}

/** A window that is a sum of cosines: `sum a[k] cos(2 pi k n / N)`. */
function cosineWindow(name: string, a: readonly number[]): OpDefinition {
  return defineOp({
    name,
    since: [17],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { output_datatype: 'int', periodic: 'int' },
    infer: (ctx) => [tensorType(outputType(ctx), [ctx.integers(0)?.[0] ?? null])],
    reference: (ctx) => {
      const [size] = toIntegers(ctx.tensor(0));
      if (!(size >= 0)) throw ctx.error(`the size is ${size}, expected a non-negative number`);
      const period = Math.max(ctx.int('periodic', 1) === 0 ? size - 1 : size, 1);
      const values = new Float64Array(size);
      for (let n = 0; n < size; n++) {
        a.forEach((factor, k) => {
          values[n] += factor * Math.cos((2 * Math.PI * k * n) / period);
        });
      }
      return [fromNumbers(outputType(ctx), [size], values)];
    },
  });
}

export const signalOps: readonly OpDefinition[] = [
  defineOp({
    name: 'DFT',
    since: [17, 20],
    inputs: [1, 3],
    outputs: [1, 1],
    attributes: { axis: 'int', inverse: 'int', onesided: 'int' },
    infer: inferDft,
    reference: dft,
  }),
  defineOp({
    name: 'STFT',
    since: [17],
    inputs: [2, 4],
    outputs: [1, 1],
    attributes: { onesided: 'int' },
    infer: inferStft,
    reference: stft,
  }),
  defineOp({
    name: 'MelWeightMatrix',
    since: [17],
    inputs: [5, 5],
    outputs: [1, 1],
    attributes: { output_datatype: 'int' },
    infer: (ctx) => {
      const [melBins, size] = [ctx.integers(0)?.[0] ?? null, ctx.integers(1)?.[0]];
      return [tensorType(outputType(ctx), [size === undefined ? null : bins(size), melBins])];
    },
    reference: melWeights,
  }),
  cosineWindow('HannWindow', [0.5, -0.5]),
  cosineWindow('HammingWindow', [25 / 46, -21 / 46]),
  cosineWindow('BlackmanWindow', [0.42, -0.5, 0.08]),
];

/** Runs convolutions over 8-bit segment maps against exact integer sums. */

import type { StepParams } from '../../lib/ops/lower.ts';
import { pack, random, run } from './harness.ts';
import { difference } from './segment-maps.ts';
import { convolve, fromByteSegments, fromSegments, type Planes, toByteSegments, toSegments } from './segments.ts';
import { once, outputSize, type WindowCase, windowLayouts, windowParams } from './windows.ts';

/** How a convolution is run and what its bytes mean. */
export interface ByteOptions {
  readonly split: number;
  readonly parts: number;
  readonly inputSigned: boolean;
  readonly inputZero: number;
  readonly weightsUnsigned: boolean;
  /** One a row, one for all, or none. */
  readonly weightZeros: 'rows' | 'one' | 'none';
  /** 0 float32, 1 unsigned, 2 signed bytes. */
  readonly output: 0 | 1 | 2;
  readonly outputZero: number;
  readonly residual: boolean;
  readonly activation: number;
  /** How sums are rounded before the residual. */
  readonly middle?: 1 | 2 | 3;
  /** For the kernel with tile registers, which takes taps as they lie: one by one in a slice of a map, or rows of them. */
  readonly taps?: 'single' | 'rows';
  /** Inputs and weights whose products in pairs lie around the bounds of 16 bits. */
  readonly extreme?: boolean;
}

/** Alone, or two of them, their products with 255 are just within 16 bits, or beyond. */
export const extremeWeights: readonly number[] = [-128, -127, -65, -64, -63, 63, 64, 65, 127, 127, -128];

/** Most of the values raised to the highest, the others lowered to the least. */
export const extremeInputs = (values: Int32Array, low: number, high: number): Int32Array =>
  values.map((v) => (v - low < 200 ? high : low));

const alpha = -0.25;
const beta = 0.5;
const plain = { inputSigned: false, inputZero: 0, weightsUnsigned: false, weightZeros: 'none' } as const;

export const byteOptions: readonly ByteOptions[] = [
  { ...plain, split: 0, parts: 1, output: 1, outputZero: 0, residual: false, activation: 0 },
  { ...plain, split: 0, parts: 3, output: 0, outputZero: 0, residual: true, activation: 1, inputZero: 117 },
  {
    split: 1,
    parts: 2,
    inputSigned: true,
    inputZero: -13,
    weightsUnsigned: true,
    weightZeros: 'one',
    output: 2,
    outputZero: -20,
    residual: true,
    activation: 1,
  },
  {
    split: 1,
    parts: 3,
    inputSigned: false,
    inputZero: 255,
    weightsUnsigned: false,
    weightZeros: 'rows',
    output: 1,
    outputZero: 131,
    residual: true,
    activation: 2,
  },
  { ...plain, split: 0, parts: 1, output: 2, outputZero: 5, residual: false, activation: 6, inputSigned: true },
  { ...plain, split: 0, parts: 2, output: 1, outputZero: 7, residual: true, activation: 1, middle: 1 },
  { ...plain, split: 1, parts: 2, output: 1, outputZero: 0, residual: true, activation: 0, middle: 2 },
  { ...plain, split: 0, parts: 2, output: 2, outputZero: 0, residual: true, activation: 1, middle: 3 },
  { ...plain, split: 0, parts: 1, output: 0, outputZero: 0, residual: true, activation: 0, middle: 1 },
  { ...plain, split: 0, parts: 1, output: 1, outputZero: 200, residual: false, activation: 1 },
  { ...plain, split: 1, parts: 2, output: 0, outputZero: 0, residual: false, activation: 0, extreme: true },
  {
    ...plain,
    split: 0,
    parts: 1,
    output: 0,
    outputZero: 0,
    residual: true,
    activation: 0,
    extreme: true,
    inputSigned: true,
  },
];

const f = Math.fround;

function activate(v: number, kind: number): number {
  if (kind === 1) return Math.max(v, 0);
  if (kind === 2) return Math.min(Math.max(v, alpha), beta);
  return kind === 6 ? v / (1 + Math.exp(-alpha * v)) : v;
}

/** To nearest, halves to even. */
export function roundEven(v: number): number {
  const down = Math.floor(v);
  if (v - down !== 0.5) return Math.round(v);
  return down % 2 === 0 ? down : down + 1;
}

/** Whole numbers in [low, high]. */
export function integers(count: number, low: number, high: number, seed: number): Int32Array {
  return Int32Array.from(random(count, seed), (v) => low + Math.floor(((v + 1) / 2) * (high - low + 1)));
}

const bytesOf = (values: ArrayLike<number>) => Uint8Array.from(values, (v) => v & 255);

/** The weights less their zero points fit a signed byte. */
function makeWeights(o: ByteOptions, m: number, perRow: number) {
  const shift = o.weightsUnsigned ? 128 : 0;
  const zeros = integers(o.weightZeros === 'rows' ? m : 1, -3, 3, 21).map((v) => v + shift);
  const low = o.weightZeros === 'none' ? -128 : -124;
  const plainWeights = integers(m * perRow, low, o.weightZeros === 'none' ? 127 : 124, 5);
  const picked = integers(m * perRow, 0, extremeWeights.length - 1, 5).map((i) => extremeWeights[i] as number);
  const stored = (o.extreme ? picked : plainWeights).map((v) => v + shift);
  const values = stored.map((v, i) =>
    o.weightZeros === 'none' ? v : v - zeros[o.weightZeros === 'rows' ? Math.floor(i / perRow) : 0]!,
  );
  return { stored: bytesOf(stored), zeros: o.weightZeros === 'none' ? null : bytesOf(zeros), values };
}

/** Channels 4.. of a wider input to channels 4.. of a wider output; text where the result differs. */
export function checkBytes(
  isa: string,
  kernel: string,
  k: WindowCase,
  [groups, c, m]: readonly [number, number, number],
  o: ByteOptions,
): string | undefined {
  const out = outputSize(k.size, k);
  const taps = k.kernel[0] * k.kernel[1] * k.kernel[2];
  const positions = k.size[0] * k.size[1] * k.size[2];
  const count = k.n * m * out[0] * out[1] * out[2];
  const [low, high] = o.inputSigned ? [-128, 127] : [0, 255];
  const inputs = integers(k.n * c * positions, low, high, 3);
  const x: Planes = { dims: [k.n, c, ...k.size], data: o.extreme ? extremeInputs(inputs, low, high) : inputs };
  const { stored, zeros, values } = makeWeights(o, m, (c / groups) * taps);
  const bias = integers(m, -5000, 5000, 7);
  const middleScale = o.middle ? f(0.01) : 0;
  const unit = o.middle ? 200 : 20000;
  const scale = random(m, 8).map((v) => f((1.5 + v) / unit / Math.sqrt(c * taps)));
  const shifted = { dims: x.dims, data: (x.data as Int32Array).map((v) => v - o.inputZero) };
  const key = [k, groups, c, m, o.inputSigned, o.inputZero, o.weightsUnsigned, o.weightZeros, o.extreme ?? false];
  const sums = once(key, () => convolve(shifted, values, bias, m, out, { ...k, groups }));
  // An uneven number of channels ends its map.
  const total = m + (m % 4 === 0 ? 9 : 4);
  const channel = o.taps === 'rows' ? 0 : 4;
  const [input, output] = windowLayouts(k, channel === 0 ? c : c + 5, total);
  const runs: StepParams = o.taps ? { run_taps: o.taps === 'rows' ? k.kernel[2] : 1 } : {};

  const signedBytes = o.output === 2;
  const residualScale = f(0.01);
  const [outputScale, residualZero] = [f(100), signedBytes ? -7 : 9];
  const add: Planes = {
    dims: [k.n, m, ...out],
    data: o.output === 0 ? random(count, 9) : integers(count, signedBytes ? -128 : 0, signedBytes ? 127 : 255, 9),
  };
  const positionsOut = out[0] * out[1] * out[2];
  const wanted = sums.map((sum, i) => {
    let v = f(f(sum) * scale[Math.floor(i / positionsOut) % m]!);
    if (o.middle) v = roundEven(Math.min(Math.max(v, -120), 100)) - 9;
    if (o.middle === 1) v = f(v * middleScale);
    if (o.middle === 2) v = f(v * middleScale + f(add.data[i]! * residualScale + f(0.3)));
    else if (o.middle === 3) v = f(add.data[i]! * residualScale + f(v * middleScale + f(0.3)));
    else if (o.residual) {
      v = f(v + (o.output === 0 ? add.data[i]! : f(f(add.data[i]! - residualZero) * residualScale)));
    }
    v = f(activate(v, o.activation));
    if (o.output === 0) return v;
    const [bottom, top] = signedBytes ? [-128, 127] : [0, 255];
    const whole = roundEven(Math.min(Math.max(f(v * outputScale), bottom - o.outputZero), top - o.outputZero));
    return (whole + o.outputZero) & 255;
  });

  const lines = toByteSegments(x, input, o.inputZero, channel);
  const packed = pack(isa, `pack.${kernel}`, [stored, zeros, bias, scale], {
    groups,
    channels_in: c,
    channels_out: m,
    taps,
    ...runs,
    transposed: 0,
    weights_unsigned: o.weightsUnsigned,
    input_signed: o.inputSigned,
    input_zero_point: o.inputZero,
  });
  const floats = o.output === 0;
  const y = floats
    ? new Float32Array(output.tiles * total * 16).fill(777)
    : new Uint8Array(output.tiles * Math.ceil(total / 4) * 64).fill(77);
  // The residual is the output.
  if (o.residual && floats) toSegments(add, output, 0, 4, y as Float32Array);
  if (o.residual && !floats) toByteSegments(add, output, 0, 4, y as Uint8Array);
  const params = {
    groups,
    channels_in: c,
    channels_out: m,
    in_channel: channel,
    out_channel: 4,
    res_channel: 4,
    ...windowParams(k),
    ...runs,
    activation: o.activation,
    alpha,
    beta,
    split: o.split,
    tile_block: 0,
    input_signed: o.inputSigned,
    input_zero_point: o.inputZero,
    output: o.output,
    output_zero_point: o.outputZero,
    output_scale: outputScale,
    residual_signed: signedBytes,
    residual_zero_point: o.residual && !floats ? residualZero : 0,
    residual_scale: residualScale,
    middle: o.middle ?? 0,
    middle_low: -120,
    middle_high: 100,
    middle_offset: -9,
    middle_scale: middleScale,
    middle_shift: 0.3,
    in: input,
    out: output,
    res: o.residual ? output : [],
  };
  run(isa, kernel, [lines, packed, o.residual ? y : null, y], params, o.parts);
  if (floats) {
    const got = fromSegments(y as Float32Array, output, m, 4);
    return difference(got, wanted, o.activation === 6 ? 1e-6 : 0);
  }
  const got = fromByteSegments(y as Uint8Array, output, m, 4);
  // The sigmoid may round the other way.
  if (o.activation !== 6) return difference(got, wanted);
  const off = got.findIndex((v, i) => Math.abs(((v + 128) & 255) - ((wanted[i]! + 128) & 255)) > 1);
  return off < 0 ? undefined : `byte ${off} is ${got[off]}, not ${wanted[off]}`;
}

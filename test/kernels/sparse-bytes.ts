/** Cases of sparse 8-bit convolution over segment maps and the comparison with plain loops. */

import { expect } from 'vitest';
import { extremeInputs, extremeWeights } from './byte-check.ts';
import { pack, random, run } from './harness.ts';
import { convolve, fromByteSegments, fromSegments, type Planes, toByteSegments, toSegments } from './segments.ts';
import { activate, type ConvCase, geometry, packerParameters, parameters } from './sparse-conv.ts';

/** A convolution with 8-bit input; `output` 0 is float32, 1 unsigned, 2 signed bytes. */
export interface ByteCase extends Omit<ConvCase, 'weights' | 'columnBlocks'> {
  readonly output?: 0 | 1 | 2;
  readonly inputSigned?: boolean;
  readonly inputZero?: number;
  readonly outputZero?: number;
  readonly outputScale?: number;
  readonly residualSigned?: boolean;
  readonly residualZero?: number;
  /** Rounding before the residual: how, and the scale. */
  readonly middle?: readonly [kind: 1 | 2 | 3, scale: number];
  readonly weightsUnsigned?: boolean;
  /** 'one' for all rows, or one a row. */
  readonly weightZero?: 'none' | 'one' | 'rows';
  /** Zeroes come in blocks of four channels. */
  readonly blocks?: boolean;
  /** Inputs and weights whose products in pairs lie around the bounds of 16 bits. */
  readonly extreme?: boolean;
}

const bytes = (count: number, seed: number, low: number, high: number): Int32Array =>
  Int32Array.from(random(count, seed), (r) => low + Math.floor(((r + 1) / 2) * (high - low + 1)));

/** Weights less their zero points; most are 0. */
function makeWeights(test: ByteCase, perGroup: number, taps: number): Int32Array {
  const count = test.m * perGroup * taps;
  const keep = random(count, 21);
  const [low, high] =
    test.weightZero && test.weightZero !== 'none' ? [-100, 100] : test.weightsUnsigned ? [0, 127] : [-128, 127];
  const values = test.extreme
    ? bytes(count, 22, 0, extremeWeights.length - 1).map((i) => extremeWeights[i] as number)
    : bytes(count, 22, low, high);
  return values.map((w, i) => {
    const channel = Math.floor(i / taps) % perGroup;
    const at = test.blocks ? i - (channel % 4) * taps : i;
    return ((keep[at] as number) + 1) / 2 < (test.density ?? 0.2) ? w : 0;
  });
}

interface Quantized {
  readonly stored: Uint8Array | Int8Array;
  readonly zero: Uint8Array | Int8Array | null;
}

function storeWeights(test: ByteCase, values: Int32Array): Quantized {
  const Kind = test.weightsUnsigned ? Uint8Array : Int8Array;
  const count = { none: 0, one: 1, rows: test.m }[test.weightZero ?? 'none'];
  const zero = bytes(count, 23, test.weightsUnsigned ? 101 : -20, test.weightsUnsigned ? 140 : 20);
  const perRow = values.length / test.m;
  const zeroOf = (row: number) => (count === 0 ? 0 : (zero[count === 1 ? 0 : row] as number));
  const stored = values.map((w, i) => w + zeroOf(Math.floor(i / perRow)));
  for (const w of stored) expect(Kind.of(w)[0]).toBe(w);
  return { stored: Kind.from(stored), zero: count ? Kind.from(zero) : null };
}

function transposeBytes(weights: Uint8Array | Int8Array, m: number): Uint8Array | Int8Array {
  const k = weights.length / m;
  return weights.map((_, i) => weights[(i % m) * k + Math.floor(i / m)] as number);
}

/** The 8-bit scalars of kernels and packers. */
export function byteScalars(test: ByteCase) {
  return {
    input_signed: test.inputSigned ?? false,
    input_zero_point: test.inputZero ?? 0,
    output: test.output ?? 1,
    output_zero_point: test.outputZero ?? 0,
    output_scale: test.outputScale ?? 1,
    residual_signed: test.residualSigned ?? false,
    residual_zero_point: test.residualZero ?? 0,
    residual_scale: 0.75,
    middle: test.middle?.[0] ?? 0,
    middle_low: -100,
    middle_high: 90,
    middle_offset: 11,
    middle_scale: test.middle?.[1] ?? 1,
    middle_shift: 3.7,
  };
}

/** Parameters of the 8-bit packers. */
export function bytePacker(test: ByteCase, taps: number, tiles: number) {
  const { column_blocks: _, ...shared } = packerParameters(test, taps, tiles);
  return { ...shared, weights_unsigned: test.weightsUnsigned ?? false, ...byteScalars(test) };
}

const f = Math.fround;

function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** What the kernel must give for an integer sum: every step rounded to float32. */
function expected(test: ByteCase, sum: number, scale: number, residual: number | null): number {
  const { output, output_zero_point, output_scale, residual_scale } = byteScalars(test);
  let v = f(f(sum) * scale);
  const [kind, middleScale] = test.middle ?? [0, 1];
  if (kind) v = roundEven(Math.min(Math.max(v, -100), 90)) + 11;
  if (kind === 1 || (kind && residual === null)) v = f(v * f(middleScale));
  if (kind === 2 && residual !== null) v = f(v * f(middleScale) + f(residual * residual_scale + f(3.7)));
  else if (kind === 3 && residual !== null) v = f(residual * residual_scale + f(v * f(middleScale) + f(3.7)));
  else if (residual !== null)
    v = output === 0 ? f(v + residual) : f(v + f((residual - (test.residualZero ?? 0)) * residual_scale));
  v = f(activate(test.activation ?? 0, v, f(test.alpha ?? 0), f(test.beta ?? 0)));
  if (output === 0) return v;
  const rounded = roundEven(f(v * f(output_scale)));
  const [low, high] = output === 1 ? [0, 255] : [-128, 127];
  return Math.min(high, Math.max(low, rounded + output_zero_point));
}

/** Runs a case through a kernel of one instruction set and compares with plain loops. */
export function checkByteCase(isa: string, kernel: string, test: ByteCase): void {
  const { n, out, shape, input, output, taps } = geometry(test);
  const { c, m } = test;
  const kind = test.output ?? 1;
  const [inputZero, inputSigned] = [test.inputZero ?? 0, test.inputSigned ?? false];
  const [low, high] = inputSigned ? [-128, 127] : [0, 255];
  const values = bytes(n * c * test.size[0] * test.size[1] * test.size[2], 3, low, high);
  const data = test.extreme ? extremeInputs(values, low, high) : values;
  const weights = makeWeights(test, c / shape.groups, taps);
  const bias = test.bias === false ? null : bytes(m, 7, -5000, 5000);
  const scale = random(m, 9).map((r) => f((0.006 + 0.005 * r) / Math.sqrt((c / shape.groups) * taps)));
  const x: Planes = { dims: [n, c, ...test.size], data: data.map((v) => v - inputZero) };
  const sums = convolve(x, weights, bias, m, out, shape);

  const [inChannel, outChannel, resChannel] = test.offsets ?? [0, 0, 0];
  const widen = (layout: typeof input, channels: number) => layout.withChannels(channels).withBorders(layout.borders);
  const wideIn = widen(input, c + inChannel);
  const wideOut = widen(output, m + outChannel);
  const mode = test.residual ?? 'none';
  const wideRes = mode === 'in place' ? wideOut : widen(output, m + resChannel);
  const resAt = mode === 'in place' ? outChannel : resChannel;
  const [resLow, resHigh] = test.residualSigned ? [-128, 127] : [0, 255];
  const resData = kind === 0 ? random(sums.length, 11) : bytes(sums.length, 11, resLow, resHigh);
  const res: Planes = { dims: [n, m, ...out], data: resData };
  const asMap = kind === 0 ? toSegments : toByteSegments;

  const xMap = toByteSegments({ dims: x.dims, data }, wideIn, inputZero, inChannel);
  const resMap = asMap(res, wideRes, 0, resAt);
  const quads = Math.ceil(wideOut.size.c / 4);
  const fresh = () =>
    kind === 0 ? new Float32Array(wideOut.tiles * wideOut.size.c * 16) : new Uint8Array(wideOut.tiles * quads * 64);
  const y = mode === 'in place' ? resMap : fresh().fill(77);
  const { stored, zero } = storeWeights(test, weights);
  const packing = pack(
    isa,
    `pack.${kernel}`,
    [test.transposed ? transposeBytes(stored, m) : stored, zero, bias, scale],
    bytePacker(test, taps, output.tiles),
  );
  const params = parameters(
    { ...test, offsets: [inChannel, outChannel, resAt] },
    wideIn,
    wideOut,
    mode === 'none' ? null : wideRes,
  );
  const operands = [xMap, packing, mode === 'none' ? null : resMap, y];
  run(isa, kernel, operands, { ...params, ...byteScalars(test), density: test.density ?? 0.2 }, test.parts ?? 1);

  const unsigned = kind === 0 ? null : fromByteSegments(y as Uint8Array, wideOut, m, outChannel);
  const got = unsigned
    ? kind === 2
      ? new Int8Array(unsigned.buffer)
      : unsigned
    : fromSegments(y as Float32Array, wideOut, m, outChannel);
  const perRow = out[0] * out[1] * out[2];
  // Elementary functions differ from double precision in the last bits, which may tip a rounding.
  const elementary = (test.activation ?? 0) > 3;
  for (let i = 0; i < sums.length; i++) {
    const rowScale = scale[Math.floor(i / perRow) % m] as number;
    const want = expected(test, sums[i] as number, rowScale, mode === 'none' ? null : (resData[i] as number));
    const slack = !elementary ? 0 : kind === 0 ? 1e-5 * (1 + Math.abs(want)) : 1;
    if (!(Math.abs((got[i] as number) - want) <= slack)) expect.fail(`element ${i}: ${got[i]} instead of ${want}`);
  }
}

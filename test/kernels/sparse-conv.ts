/** Cases of sparse convolution over segment maps and the comparison with plain loops. */

import { expect } from 'vitest';
import type { Lanes, SegmentLayout } from '../../lib/ir/segments.ts';
import { pack, random, run, sparseWeights } from './harness.ts';
import { type ConvShape, convolve, fromSegments, layoutOf, type Planes, toSegments } from './segments.ts';

type Triple = readonly [number, number, number];

/** One convolution; sizes along depth, height, width. What is left out is the plainest choice. */
export interface ConvCase {
  readonly n?: number;
  readonly c: number;
  readonly m: number;
  readonly size: Triple;
  readonly lanes: Lanes;
  readonly kernel?: Triple;
  readonly stride?: Triple;
  readonly dilation?: Triple;
  readonly pad?: Triple;
  readonly groups?: number;
  readonly density?: number;
  readonly weights?: Float32Array;
  readonly bias?: boolean;
  readonly residual?: 'none' | 'apart' | 'in place';
  readonly activation?: number;
  readonly alpha?: number;
  readonly beta?: number;
  readonly split?: 0 | 1;
  readonly parts?: number;
  readonly tileBlock?: number;
  readonly columnBlocks?: number;
  readonly prefetchOutput?: 0 | 1;
  /** Offsets of the channels within wider buffers. */
  readonly offsets?: Triple;
  readonly transposed?: boolean;
}

const one: Triple = [1, 1, 1];
const none: Triple = [0, 0, 0];

/** The activations of native/kernels/activation.h in double precision. */
export function activate(kind: number, x: number, alpha: number, beta: number): number {
  const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
  switch (kind) {
    case 1:
      return Math.max(0, x);
    case 2:
      return Math.min(beta, Math.max(alpha, x));
    case 3:
      return x < 0 ? alpha * x : x;
    case 4:
      return sigmoid(x);
    case 5:
      return Math.tanh(x);
    case 6:
      return x * sigmoid(alpha * x);
    case 7:
      return (x / 2) * (1 + erf(x / Math.SQRT2));
    case 8:
      return (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case 9:
      return (x * Math.min(6, Math.max(0, x + 3))) / 6;
    case 10:
      return Math.min(1, Math.max(0, alpha * x + beta));
    default:
      return x;
  }
}

/** Error function to 2e-8: its series, which cancels where the result is nearly 1. */
function erf(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let k = 1; k < 200; k++) {
    term *= (-x * x) / k;
    sum += term / (2 * k + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

/** Everything about a case that follows from its sizes. */
export function geometry(test: ConvCase) {
  const [kernel, stride, dilation, pad] = [
    test.kernel ?? one,
    test.stride ?? one,
    test.dilation ?? one,
    test.pad ?? none,
  ];
  const n = test.n ?? 1;
  // Enough padding behind for out = ceil(in / stride), as the segment layout wants it.
  const out = test.size.map((s, i) => Math.ceil(s / (stride[i] as number))) as unknown as Triple;
  const reach = out.map(
    (o, i) => (o - 1) * (stride[i] as number) + ((kernel[i] as number) - 1) * (dilation[i] as number),
  );
  const shape: ConvShape = { groups: test.groups ?? 1, kernel, stride, dilation, pad };
  const output = layoutOf([n, test.m, ...out], test.lanes, { top: 1, right: 1 });
  const multiples: Triple = [1, stride[1], stride[2]];
  const bare = layoutOf([n, test.c, ...test.size], test.lanes, {}, multiples[1], multiples[2]);
  const rows = output.tileRows * stride[1];
  const columns = output.tileColumns * stride[2];
  const last = (tiles: number, axis: 1 | 2) =>
    (tiles - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] - pad[axis];
  const input = bare.withBorders({
    front: pad[0],
    back: Math.max(0, (reach[0] as number) - pad[0] - test.size[0] + 1),
    top: pad[1],
    bottom: Math.max(0, last(output.tileRows, 1) - rows + 1),
    left: pad[2],
    right: Math.max(0, last(output.tileColumns, 2) - columns + 1),
  });
  expect(input.tileRows).toBe(rows);
  expect(input.tileColumns).toBe(columns);
  return { n, out, shape, input, output, taps: kernel[0] * kernel[1] * kernel[2] };
}

function widen(layout: SegmentLayout, channels: number): SegmentLayout {
  return layout.withChannels(channels).withBorders(layout.borders);
}

/** Kernel parameters of a case between the two maps. */
export function parameters(test: ConvCase, input: SegmentLayout, output: SegmentLayout, res: SegmentLayout | null) {
  const [kd, kh, kw] = test.kernel ?? one;
  const [sd, sh, sw] = test.stride ?? one;
  const [dd, dh, dw] = test.dilation ?? one;
  const [pf, pt, pl] = test.pad ?? none;
  const [inChannel, outChannel, resChannel] = test.offsets ?? none;
  return {
    groups: test.groups ?? 1,
    channels_in: test.c,
    channels_out: test.m,
    in_channel: inChannel,
    out_channel: outChannel,
    res_channel: resChannel,
    kernel_d: kd,
    kernel_h: kh,
    kernel_w: kw,
    stride_d: sd,
    stride_h: sh,
    stride_w: sw,
    dilation_d: dd,
    dilation_h: dh,
    dilation_w: dw,
    pad_front: pf,
    pad_top: pt,
    pad_left: pl,
    activation: test.activation ?? 0,
    alpha: test.alpha ?? 0,
    beta: test.beta ?? 0,
    split: test.split ?? 0,
    tile_block: test.tileBlock ?? 0,
    in: input,
    out: output,
    res: res ?? [],
  };
}

/** Parameters of the packer of a case. */
export function packerParameters(test: ConvCase, taps: number, tiles: number) {
  return {
    groups: test.groups ?? 1,
    channels_in: test.c,
    channels_out: test.m,
    taps,
    transposed: test.transposed ?? false,
    residual: (test.residual ?? 'none') !== 'none',
    activation: test.activation ?? 0,
    alpha: test.alpha ?? 0,
    beta: test.beta ?? 0,
    column_blocks: test.columnBlocks ?? 0,
    tiles,
    tile_block: test.tileBlock ?? 0,
    prefetch_output: test.prefetchOutput ?? 0,
  };
}

/** [m][k] as [k][m]. */
export function transpose(weights: Float32Array, m: number): Float32Array {
  const k = weights.length / m;
  const out = new Float32Array(weights.length);
  for (let i = 0; i < m; i++) for (let j = 0; j < k; j++) out[j * m + i] = weights[i * k + j] as number;
  return out;
}

/** Runs a case through a kernel of one instruction set and compares with plain loops in double precision. */
export function checkCase(isa: string, kernel: string, test: ConvCase): void {
  const { n, out, shape, input, output, taps } = geometry(test);
  const { c, m } = test;
  const perGroup = c / shape.groups;
  const x: Planes = { dims: [n, c, ...test.size], data: random(n * c * test.size[0] * test.size[1] * test.size[2], 3) };
  const weights = test.weights ?? sparseWeights(m * perGroup * taps, test.density ?? 0.2, 5);
  const bias = test.bias === false ? null : random(m, 7);
  const plain = convolve(x, weights, bias, m, out, shape);
  const magnitude = convolve(
    { ...x, data: Float32Array.from(x.data, Math.abs) },
    weights.map(Math.abs),
    bias?.map(Math.abs) ?? null,
    m,
    out,
    shape,
  );

  const [inChannel, outChannel, resChannel] = test.offsets ?? none;
  const wideIn = widen(input, c + inChannel + (inChannel ? 3 : 0));
  const wideOut = widen(output, m + outChannel + (outChannel ? 2 : 0));
  const mode = test.residual ?? 'none';
  const res: Planes = { dims: [n, m, ...out], data: random(plain.length, 11) };
  const wideRes = mode === 'in place' ? wideOut : widen(output, m + resChannel);
  const resAt = mode === 'in place' ? outChannel : resChannel;

  const xMap = toSegments(x, wideIn, 0, inChannel);
  const resMap = toSegments(res, wideRes, 0.5, resAt);
  const y = mode === 'in place' ? resMap : new Float32Array(wideOut.tiles * wideOut.size.c * 16).fill(-77);
  const before = y.slice();
  const packing = pack(
    isa,
    `pack.${kernel}`,
    [test.transposed ? transpose(weights, m) : weights, bias],
    packerParameters(test, taps, output.tiles),
  );
  const params = parameters(
    { ...test, offsets: [inChannel, outChannel, resAt] },
    wideIn,
    wideOut,
    mode === 'none' ? null : wideRes,
  );
  run(
    isa,
    kernel,
    [xMap, packing, mode === 'none' ? null : resMap, y],
    { ...params, density: test.density ?? 0.2 },
    test.parts ?? 1,
  );

  const got = fromSegments(y, wideOut, m, outChannel);
  for (let i = 0; i < plain.length; i++) {
    const sum = (plain[i] as number) + (mode === 'none' ? 0 : (res.data[i] as number));
    const want = activate(test.activation ?? 0, sum, test.alpha ?? 0, test.beta ?? 0);
    const slack = 2e-6 * ((magnitude[i] as number) + 1);
    const delta = Math.abs((got[i] as number) - want);
    if (!(delta <= slack) && !Object.is(got[i], want) && !(Number.isNaN(want) && Number.isNaN(got[i]))) {
      expect.fail(`element ${i}: ${got[i]} instead of ${want}`);
    }
  }
  expectUntouched(y, before, wideOut, m, outChannel);
}

/** Border tiles and the other channels of the buffer keep what they had. */
function expectUntouched(y: Float32Array, before: Float32Array, layout: SegmentLayout, m: number, channel: number) {
  const { borders: b, tileRows, tileColumns, size } = layout;
  const height = b.top + tileRows + b.bottom;
  const width = b.left + tileColumns + b.right;
  for (let i = 0; i < y.length; i++) {
    if (Object.is(y[i], before[i])) continue;
    const line = Math.floor(i / 16);
    const tile = Math.floor(line / size.c);
    const [ty, tx] = [(Math.floor(tile / width) % height) - b.top, (tile % width) - b.left];
    const k = (line % size.c) - channel;
    if (ty < 0 || ty >= tileRows || tx < 0 || tx >= tileColumns || k < 0 || k >= m) {
      expect.fail(`float ${i} of the output changed`);
    }
  }
}

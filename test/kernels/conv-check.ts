/** Runs float convolutions over segment maps against plain loops. */

import { SegmentLayout } from '../../lib/ir/segments.ts';
import { pack, random, run } from './harness.ts';
import { difference } from './segment-maps.ts';
import { convolve, eachLane, fromSegments, toSegments } from './segments.ts';
import { once, outputSize, type WindowCase, windowLayouts, windowParams } from './windows.ts';

/** How a convolution is run: threads, residual, activation. */
export interface ConvOptions {
  readonly split: number;
  readonly parts: number;
  /** The residual: none, a map of its own, or the output. */
  readonly residual: 'none' | 'apart' | 'alias';
  readonly activation: number;
  /** Depthwise: the map's borders are left out, 1, or there, 0. */
  readonly borders?: 0 | 1;
}

export const convOptions: readonly ConvOptions[] = [
  { split: 0, parts: 1, residual: 'none', activation: 0 },
  { split: 0, parts: 3, residual: 'alias', activation: 1 },
  { split: 1, parts: 2, residual: 'apart', activation: 2 },
  { split: 1, parts: 3, residual: 'none', activation: 6 },
];

const alpha = -0.25;
const beta = 0.5;
const activate: Record<number, (x: number) => number> = {
  0: (x) => x,
  1: (x) => Math.max(x, 0),
  2: (x) => Math.min(Math.max(x, alpha), beta),
  6: (x) => x / (1 + Math.exp(-alpha * x)),
};

/** Runs a convolution between channels 1.. of a wider input and 2.. of a wider output; text where it differs. */
export function checkConv(
  isa: string,
  kernel: string,
  k: WindowCase,
  [groups, c, m]: readonly [number, number, number],
  o: ConvOptions,
  /** What the kernel makes of its operands. */
  rounded: (values: Float32Array) => Float32Array = (values) => values,
) {
  const out = outputSize(k.size, k);
  const taps = k.kernel[0] * k.kernel[1] * k.kernel[2];
  const weights = random((m * c * taps) / groups, 5).map((v) => v / Math.sqrt(c * taps));
  const bias = random(m, 7);
  const x = { dims: [k.n, c, ...k.size], data: random(k.n * c * k.size[0] * k.size[1] * k.size[2], 3) } as const;
  const add = { dims: [k.n, m, ...out], data: random(k.n * m * out[0] * out[1] * out[2], 9) } as const;
  const [bordered, output] = windowLayouts(k, c + 2, m + 3);
  const { axis, size, lanes, tileRows, tileColumns } = bordered;
  const input = o.borders === 1 ? new SegmentLayout(axis, size, lanes, tileRows, tileColumns) : bordered;
  const sums = once([k, groups, c, m, rounded.name], () =>
    convolve({ ...x, data: rounded(x.data) }, rounded(weights), bias, m, out, { ...k, groups }),
  );
  const wanted = sums.map((sum, i) => activate[o.activation]!(sum + (o.residual === 'none' ? 0 : add.data[i]!)));
  const lines = toSegments(x, input, 0, 1, new Float32Array(input.tiles * (c + 2) * 16).fill(Number.NaN));
  const y = new Float32Array(output.tiles * (m + 3) * 16).fill(777);
  if (o.residual === 'alias') toSegments(add, output, 777, 2, y);
  const apart = output.withChannels(m + 1);
  const residual = o.residual === 'apart' ? toSegments(add, apart, 0, 1) : o.residual === 'alias' ? y : null;
  const packed = pack(isa, `pack.${kernel}`, [weights, bias], {
    groups,
    channels_in: c,
    channels_out: m,
    taps,
    ...(kernel.endsWith('.bf16') ? { run_taps: groups === 1 && k.dilation[2] === 1 ? k.kernel[2] : 1 } : {}),
    transposed: 0,
  });
  const params = {
    groups,
    channels_in: c,
    channels_out: m,
    in_channel: 1,
    out_channel: 2,
    res_channel: o.residual === 'apart' ? 1 : 2,
    ...windowParams(k),
    activation: o.activation,
    alpha,
    beta,
    split: o.split,
    tile_block: o.parts === 2 ? 3 : 0,
    ...(o.borders === undefined ? {} : { borders: o.borders }),
    in: input,
    out: output,
    res: o.residual === 'apart' ? apart : o.residual === 'alias' ? output : [],
  };
  const before = y.slice();
  run(isa, kernel, [lines, packed, residual, y], params, o.parts);
  const wrong = difference(fromSegments(y, output, m, 2), wanted, 1e-5);
  if (wrong) return wrong;
  // Other channels and the borders stay as they were.
  eachLane(output, (tile, lane, _, interior) => {
    const line = (tile * (m + 3) + 2) * 16 + lane;
    for (let at = line; interior && at < line + m * 16; at += 16) before[at] = y[at]!;
  });
  return difference(y, before);
}

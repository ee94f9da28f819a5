import { describe, expect, it } from 'vitest';
import { isas, pack, random, run } from './harness.ts';
import { difference } from './segment-maps.ts';
import { convolve, eachLane, fromSegments, layoutOf, toSegments } from './segments.ts';
import { describeCase, outputSize, type WindowCase, windowCases, windowLayouts, windowParams } from './windows.ts';

/** Groups, channels in, channels out. */
const channelCases = [
  [1, 1, 1],
  [1, 5, 29],
  [1, 37, 14],
  [2, 6, 30],
  [3, 12, 6],
] as const;

interface Options {
  readonly split: number;
  readonly parts: number;
  /** The residual: none, a map of its own, or the output. */
  readonly residual: 'none' | 'apart' | 'alias';
  readonly activation: number;
}

const optionCases: readonly Options[] = [
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
function check(isa: string, k: WindowCase, [groups, c, m]: readonly [number, number, number], o: Options) {
  const out = outputSize(k.size, k);
  const taps = k.kernel[0] * k.kernel[1] * k.kernel[2];
  const weights = random((m * c * taps) / groups, 5).map((v) => v / Math.sqrt(c * taps));
  const bias = random(m, 7);
  const x = { dims: [k.n, c, ...k.size], data: random(k.n * c * k.size[0] * k.size[1] * k.size[2], 3) } as const;
  const add = { dims: [k.n, m, ...out], data: random(k.n * m * out[0] * out[1] * out[2], 9) } as const;
  const [input, output] = windowLayouts(k, c + 2, m + 3);
  const wanted = convolve(x, weights, bias, m, out, { ...k, groups }).map((sum, i) =>
    activate[o.activation]!(sum + (o.residual === 'none' ? 0 : add.data[i]!)),
  );
  const lines = toSegments(x, input, 0, 1, new Float32Array(input.tiles * (c + 2) * 16).fill(Number.NaN));
  const y = new Float32Array(output.tiles * (m + 3) * 16).fill(777);
  if (o.residual === 'alias') toSegments(add, output, 777, 2, y);
  const apart = output.withChannels(m + 1);
  const residual = o.residual === 'apart' ? toSegments(add, apart, 0, 1) : o.residual === 'alias' ? y : null;
  const packed = pack(isa, 'pack.conv.segments.dense.f32', [weights, bias], {
    groups,
    channels_in: c,
    channels_out: m,
    taps,
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
    in: input,
    out: output,
    res: o.residual === 'apart' ? apart : o.residual === 'alias' ? output : [],
  };
  const before = y.slice();
  run(isa, 'conv.segments.dense.f32', [lines, packed, residual, y], params, o.parts);
  const wrong = difference(fromSegments(y, output, m, 2), wanted, 1e-5);
  if (wrong) return wrong;
  // Other channels and the borders stay as they were.
  eachLane(output, (tile, lane, _, interior) => {
    const line = (tile * (m + 3) + 2) * 16 + lane;
    for (let at = line; interior && at < line + m * 16; at += 16) before[at] = y[at]!;
  });
  return difference(y, before);
}

describe.each(isas)('dense convolution on %s', (isa) => {
  for (const k of windowCases) {
    it(describeCase(k), () => {
      for (const channels of channelCases) {
        for (const o of optionCases) {
          expect(check(isa, k, channels, o), `channels ${channels}, ${JSON.stringify(o)}`).toBeUndefined();
        }
      }
    });
  }

  it('cuts many input channels into passes', () => {
    const k = { ...windowCases[6]!, size: [1, 3, 3] as const, kernel: [1, 5, 5] as const, pad: [0, 2, 2] as const };
    for (const o of optionCases) expect(check(isa, k, [1, 530, 17], o)).toBeUndefined();
  });

  it('takes a transposed matrix and no bias', () => {
    const [rows, c, m] = [35, 11, 16];
    const x = random(rows * c, 3);
    const matrix = random(c * m, 4);
    const layout = layoutOf([1, c, 1, 1, rows], { images: 1, y: 1, x: 16 });
    const out = layoutOf([1, m, 1, 1, rows], { images: 1, y: 1, x: 16 });
    const lines = new Float32Array(layout.tiles * c * 16);
    run(isa, 'segments.from_rows', [x, lines], { channel: 0, channels: c, map: layout });
    const sizes = { groups: 1, channels_in: c, channels_out: m };
    const packed = pack(isa, 'pack.conv.segments.dense.f32', [matrix, null], { ...sizes, taps: 1, transposed: 1 });
    const y = new Float32Array(out.tiles * m * 16);
    const offsets = { in_channel: 0, out_channel: 0, res_channel: 0 };
    const plain = windowParams({ kernel: [1, 1, 1], stride: [1, 1, 1], dilation: [1, 1, 1], pad: [0, 0, 0] });
    const act = { activation: 0, alpha: 0, beta: 0, split: 0, tile_block: 0 };
    const maps = { in: layout, out, res: [] };
    run(isa, 'conv.segments.dense.f32', [lines, packed, null, y], { ...sizes, ...offsets, ...plain, ...act, ...maps });
    const product = new Float32Array(rows * m);
    run(isa, 'segments.to_rows', [y, product], { channel: 0, channels: m, map: out });
    const wanted = product.map((_, i) => {
      let sum = 0;
      for (let j = 0; j < c; j++) sum += x[Math.floor(i / m) * c + j]! * matrix[j * m + (i % m)]!;
      return sum;
    });
    expect(difference(product, wanted, 1e-5)).toBeUndefined();
  });
});

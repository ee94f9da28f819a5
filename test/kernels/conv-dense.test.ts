import { describe, expect, it } from 'vitest';
import { checkConv, convOptions } from './conv-check.ts';
import { isas, pack, random, run } from './harness.ts';
import { difference } from './segment-maps.ts';
import { layoutOf } from './segments.ts';
import { describeCase, windowCases, windowParams } from './windows.ts';

/** Lanes as vectors, and lanes as rows. */
const kernels = ['conv.segments.dense.f32', 'conv.segments.lanes.f32'] as const;

/** Groups, channels in, channels out. */
const channelCases = [
  [1, 1, 1],
  [1, 5, 29],
  [1, 37, 14],
  [2, 6, 30],
  [3, 12, 6],
] as const;

describe.each(isas.flatMap((isa) => kernels.map((kernel) => [kernel, isa] as const)))('%s on %s', (kernel, isa) => {
  for (const k of windowCases) {
    it(describeCase(k), () => {
      for (const channels of channelCases) {
        for (const o of convOptions) {
          expect(checkConv(isa, kernel, k, channels, o), `channels ${channels}, ${JSON.stringify(o)}`).toBeUndefined();
        }
      }
    });
  }

  it('cuts many input channels into passes', () => {
    const k = { ...windowCases[6]!, size: [1, 3, 3] as const, kernel: [1, 5, 5] as const, pad: [0, 2, 2] as const };
    for (const o of convOptions) expect(checkConv(isa, kernel, k, [1, 530, 17], o)).toBeUndefined();
  });

  it('fetches the lines of outputs larger than the caches', () => {
    const k = { ...windowCases[1]!, size: [1, 1, 17000] as const };
    for (const o of convOptions) expect(checkConv(isa, kernel, k, [1, 3, 64], o)).toBeUndefined();
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
    const packed = pack(isa, `pack.${kernel}`, [matrix, null], { ...sizes, taps: 1, transposed: 1 });
    const y = new Float32Array(out.tiles * m * 16);
    const offsets = { in_channel: 0, out_channel: 0, res_channel: 0 };
    const plain = windowParams({ kernel: [1, 1, 1], stride: [1, 1, 1], dilation: [1, 1, 1], pad: [0, 0, 0] });
    const act = { activation: 0, alpha: 0, beta: 0, split: 0, tile_block: 0 };
    const maps = { in: layout, out, res: [] };
    run(isa, kernel, [lines, packed, null, y], { ...sizes, ...offsets, ...plain, ...act, ...maps });
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

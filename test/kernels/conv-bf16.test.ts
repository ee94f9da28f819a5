import { describe, expect, it } from 'vitest';
import { bf16Isas, roundToBf16 } from './bf16.ts';
import { checkConv, convOptions } from './conv-check.ts';
import { isas, pack, random, run } from './harness.ts';
import { difference } from './segment-maps.ts';
import { layoutOf } from './segments.ts';
import { describeCase, type WindowCase, windowCases, windowParams } from './windows.ts';

const KERNEL = 'conv.segments.dense.bf16';

/** Groups, channels in, channels out: odd and even channels, whole steps of the products, and around them. */
const channelCases = [
  [1, 1, 1],
  [1, 5, 29],
  [1, 37, 14],
  [1, 32, 33],
  [2, 6, 30],
  [3, 12, 6],
  [2, 34, 66],
] as const;

/** Rows of more tiles than a block has, and blocks that end within rows and planes. */
const wideCases: readonly WindowCase[] = [
  { ...windowCases[10]!, size: [1, 1, 8300] },
  { ...windowCases[2]!, n: 3, size: [1, 40, 41] },
  { ...windowCases[9]!, n: 2, size: [3, 9, 14] },
];

const check = (isa: string, k: WindowCase, channels: readonly [number, number, number], o: (typeof convOptions)[0]) =>
  expect(checkConv(isa, KERNEL, k, channels, o, roundToBf16), `channels ${channels}, ${JSON.stringify(o)}`);

it.skipIf(bf16Isas.length > 0)('no instruction set here has products of bfloat16', () => {
  expect(isas).not.toContain('avx512bf16');
});

describe.each(bf16Isas)(`${KERNEL} on %s`, (isa) => {
  for (const k of windowCases) {
    it(describeCase(k), () => {
      for (const channels of channelCases) for (const o of convOptions) check(isa, k, channels, o).toBeUndefined();
    });
  }

  for (const k of wideCases) {
    it(describeCase(k), () => {
      for (const o of convOptions) check(isa, k, [1, 35, 17], o).toBeUndefined();
    });
  }

  it('sums many input channels', () => {
    const k = { ...windowCases[6]!, size: [1, 3, 3] as const, kernel: [1, 5, 5] as const, pad: [0, 2, 2] as const };
    for (const o of convOptions) check(isa, k, [1, 530, 17], o).toBeUndefined();
  });

  it('fetches the lines of outputs larger than the caches', () => {
    const k = { ...windowCases[1]!, size: [1, 1, 17000] as const };
    for (const o of convOptions) check(isa, k, [1, 3, 64], o).toBeUndefined();
  });

  it('takes a transposed matrix and no bias', () => {
    const [rows, c, m] = [35, 11, 16];
    const x = roundToBf16(random(rows * c, 3));
    const matrix = roundToBf16(random(c * m, 4));
    const [layout, out] = [c, m].map((channels) => layoutOf([1, channels, 1, 1, rows], { images: 1, y: 1, x: 16 }));
    const lines = new Float32Array(layout!.tiles * c * 16);
    run(isa, 'segments.from_rows', [x, lines], { channel: 0, channels: c, map: layout! });
    const sizes = { groups: 1, channels_in: c, channels_out: m };
    const packed = pack(isa, `pack.${KERNEL}`, [matrix, null], { ...sizes, taps: 1, run_taps: 1, transposed: 1 });
    const y = new Float32Array(out!.tiles * m * 16);
    const plain = windowParams({ kernel: [1, 1, 1], stride: [1, 1, 1], dilation: [1, 1, 1], pad: [0, 0, 0] });
    run(isa, KERNEL, [lines, packed, null, y], {
      ...{ ...sizes, ...plain, in_channel: 0, out_channel: 0, res_channel: 0 },
      ...{ activation: 0, alpha: 0, beta: 0, split: 0, tile_block: 0, in: layout!, out: out!, res: [] },
    });
    const product = new Float32Array(rows * m);
    run(isa, 'segments.to_rows', [y, product], { channel: 0, channels: m, map: out! });
    const wanted = product.map((_, i) => {
      let sum = 0;
      for (let j = 0; j < c; j++) sum += x[Math.floor(i / m) * c + j]! * matrix[j * m + (i % m)]!;
      return sum;
    });
    expect(difference(product, wanted, 1e-5)).toBeUndefined();
  });
});

/**
 * Kernels that move more than they compute: depthwise convolutions, pools, conversions. Time, bytes a nanosecond over
 * input and output, and nanoseconds an output line, on one core. Usage: node moving.js [isa]
 */

import type { Lanes, SegmentLayout } from '../../lib/ir/segments.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import { isas, pack, random, time } from '../../test/kernels/harness.ts';
import { layoutOf } from '../../test/kernels/segments.ts';
import { type Triple, windowLayouts, windowParams } from '../../test/kernels/windows.ts';
import { alignedFloats } from './measure.ts';

const isa = process.argv[2] ?? isas[isas.length - 1]!;
const l44 = { images: 1, y: 4, x: 4 };
const l22 = { images: 4, y: 2, x: 2 };
const l27 = { images: 1, y: 2, x: 7 };
const l72 = { images: 1, y: 7, x: 2 };
const floats = (layout: SegmentLayout) => alignedFloats(layout.tiles * layout.size.c * 16);

function report(name: string, ns: number, floatsMoved: number, lines: number): void {
  const rate = ((floatsMoved * 4) / ns).toFixed(1).padStart(6);
  console.log(
    `${name.padEnd(34)} ${(ns / 1000).toFixed(1).padStart(8)} us ${rate} GB/s ${(ns / lines).toFixed(2)} ns a line`,
  );
}

function slide(
  kernel: string,
  c: number,
  size: number,
  k: number,
  stride: number,
  lanes: Lanes,
  extra: StepParams = {},
) {
  const triple = (v: number): Triple => [1, v, v];
  const window = { kernel: triple(k), stride: triple(stride), dilation: triple(1), pad: [0, k >> 1, k >> 1] as const };
  const [input, bordered] = windowLayouts({ n: lanes.images, size: triple(size), lanes, ...window }, c, c);
  const output = bordered.withChannels(c);
  const sizes = { groups: c, channels_in: c, channels_out: c };
  const depthwise = kernel.startsWith('conv');
  const packing = depthwise
    ? [pack(isa, `pack.${kernel}`, [random(c * k * k), null], { ...sizes, taps: k * k, transposed: 0 }), null]
    : [];
  const rest = {
    in_channel: 0,
    out_channel: 0,
    res_channel: 0,
    activation: 1,
    alpha: 0,
    beta: 0,
    split: 0,
    tile_block: 0,
  };
  const params = { ...sizes, ...rest, ...windowParams(window), ...extra, in: input, out: output, res: [] };
  const [x, y] = [floats(input), floats(output)];
  const ns = time(isa, kernel, [x, ...packing, y], params, 30);
  report(`${kernel} ${c} at ${size}, ${k}x${k} s${stride}`, ns, x.length + y.length, y.length / 16);
}

for (const [c, size, stride, lanes] of [
  [32, 112, 1, l44],
  [96, 112, 2, l44],
  [144, 56, 1, l44],
  [192, 28, 1, l44],
  [384, 14, 1, l27],
  [384, 14, 1, l22],
  [960, 7, 1, l72],
] as const) {
  slide('conv.segments.depthwise.f32', c, size, 3, stride, lanes);
}
slide('conv.segments.depthwise.f32', 240, 28, 5, 1, l44);
slide('pool.segments.max.f32', 64, 112, 3, 2, l44);
const average = { count_include_pad: 0, pad_back: 0, pad_bottom: 1, pad_right: 1 };
slide('pool.segments.average.f32', 64, 56, 3, 1, l44, average);

function convert(name: string, c: number, size: number, images: number, from: Lanes, to: Lanes) {
  const [a, b] = [layoutOf([images, c, 1, size, size], from), layoutOf([images, c, 1, size, size], to)];
  const [x, y] = [floats(a), floats(b)];
  const params = { from_channel: 0, to_channel: 0, channels: c, borders: 0, fill: 0, from: a, to: b };
  report(name, time(isa, 'segments.convert', [x, y], params, 30), x.length + y.length, y.length / 16);
}
convert('convert 4x4 to 4 of 2x2, 256 at 28', 256, 28, 4, l44, l22);
convert('convert 4x4 to 2x7, 256 at 28', 256, 28, 1, l44, l27);
convert('convert 2x7 to 7x2, 512 at 14', 512, 14, 1, l27, l72);
convert('convert 2x2 to 16 images, 512 at 14', 512, 14, 16, l22, { images: 16, y: 1, x: 1 });

function transfer(kernel: string, c: number, size: number, lanes: Lanes, border = 0) {
  const sides = { top: border, bottom: border, left: border, right: border };
  const map = layoutOf([lanes.images, c, 1, size, size], lanes, sides);
  const lines = floats(map);
  const planes = alignedFloats(lanes.images * c * size * size);
  const operands = kernel === 'segments.border' ? [lines] : kernel.includes('from') ? [planes, lines] : [lines, planes];
  const params: StepParams = kernel === 'segments.border' ? { fill: 0 } : {};
  const ns = time(isa, kernel, operands, { channel: 0, channels: c, map, ...params }, 30);
  report(`${kernel} ${c} at ${size}`, ns, 2 * planes.length, lines.length / 16);
}
transfer('segments.from_planes', 3, 224, l44);
transfer('segments.from_planes', 64, 56, l44);
transfer('segments.from_planes', 256, 28, l44);
transfer('segments.to_planes', 256, 28, l44);
transfer('segments.from_planes', 256, 14, l27);
transfer('segments.from_rows', 768, 16, { images: 1, y: 1, x: 16 });
transfer('segments.to_rows', 768, 16, { images: 1, y: 1, x: 16 });
transfer('segments.border', 64, 56, l44, 1);
transfer('segments.border', 256, 14, l27, 1);

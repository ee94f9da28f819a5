/** Kernels over segment maps that move more than they compute: depthwise convolutions, pools, conversions. */

import type { Lanes, SegmentLayout } from '../../lib/ir/segments.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import { pack, random } from '../../test/kernels/harness.ts';
import { layoutOf } from '../../test/kernels/segments.ts';
import { type Triple, windowLayouts, windowParams } from '../../test/kernels/windows.ts';
import { alignedFloats, type KernelCall, type KernelCase, lineVectors } from './case.ts';
import { squareWindow } from './layers.ts';

const l44 = { images: 1, y: 4, x: 4 };
const l22 = { images: 4, y: 2, x: 2 };
const l27 = { images: 1, y: 2, x: 7 };
const l72 = { images: 1, y: 7, x: 2 };
const l16 = { images: 16, y: 1, x: 1 };
const row16 = { images: 1, y: 1, x: 16 };

const floats = (layout: SegmentLayout): Float32Array => alignedFloats(layout.tiles * layout.size.c * 16);
const filled = (x: Float32Array): Float32Array => {
  x.set(random(x.length));
  return x;
};

type Slide = readonly [c: number, size: number, kernel: number, stride: number, lanes: Lanes];

/** A window over each channel by itself. */
function slide(kernel: string, [c, size, k, stride, lanes]: Slide, extra: StepParams = {}): KernelCase {
  const makesBorders = extra.borders === 1;
  const make = (isa: string): KernelCall => {
    const window = squareWindow(k, stride);
    const [lined, bordered] = windowLayouts(
      { n: lanes.images, size: [1, size, size] as Triple, lanes, ...window },
      c,
      c,
    );
    const input = makesBorders ? lined.withoutBorders() : lined;
    const output = bordered.withChannels(c);
    const sizes = { groups: c, channels_in: c, channels_out: c };
    const convolves = kernel.startsWith('conv');
    const packing = convolves
      ? [pack(isa, `pack.${kernel}`, [random(c * k * k), null], { ...sizes, taps: k * k, transposed: 0 }), null]
      : [];
    const channels = { in_channel: 0, out_channel: 0, res_channel: 0 };
    const rest = { ...channels, activation: 1, alpha: 0, beta: 0, split: 0, tile_block: 0 };
    const [x, y] = [filled(floats(input)), floats(output)];
    return {
      kernel,
      operands: [x, ...packing, y],
      params: { ...sizes, ...rest, ...windowParams(window), ...extra, in: input, out: output, res: [] },
      macs: convolves ? y.length * k * k : 0,
      bytes8: false,
      loads: (y.length / 16) * k * k * lineVectors(isa),
    };
  };
  const own = makesBorders ? ', own borders' : '';
  const batch = lanes.images > 1 ? `, ${lanes.images} images` : '';
  return { family: 'moving', name: `${c} at ${size}, ${k}x${k} stride ${stride}${batch}${own}`, kernel, make };
}

/** A call that reads `x` once. */
function copying(isa: string, kernel: string, operands: readonly Float32Array[], params: StepParams): KernelCall {
  const loads = (operands[0]!.length / 16) * lineVectors(isa);
  return { kernel, operands, params, macs: 0, bytes8: false, loads };
}

function convert(name: string, c: number, size: number, images: number, from: Lanes, to: Lanes): KernelCase {
  const make = (isa: string): KernelCall => {
    const [a, b] = [layoutOf([images, c, 1, size, size], from), layoutOf([images, c, 1, size, size], to)];
    const whole = { borders: 0, fill: 0, step_y: 1, step_x: 1 };
    const params = { from_channel: 0, to_channel: 0, channels: c, ...whole, from: a, to: b };
    return copying(isa, 'segments.convert', [filled(floats(a)), floats(b)], params);
  };
  return { family: 'moving', name, kernel: 'segments.convert', make };
}

/** Between planes or rows and segments. */
function transfer(kernel: string, c: number, size: number, lanes: Lanes): KernelCase {
  const make = (isa: string): KernelCall => {
    const [n, h, w] = kernel.endsWith('rows') ? [1, 1, size * size] : [lanes.images, size, size];
    const map = layoutOf([n, c, 1, h, w], lanes);
    const [lines, planes] = [floats(map), alignedFloats(n * c * h * w)];
    const operands = kernel.includes('from') ? [filled(planes), lines] : [filled(lines), planes];
    return copying(isa, kernel, operands, { channel: 0, channels: c, map });
  };
  return { family: 'moving', name: `${c} at ${size}`, kernel, make };
}

function border(c: number, size: number, lanes: Lanes): KernelCase {
  const make = (isa: string): KernelCall => {
    const map = layoutOf([lanes.images, c, 1, size, size], lanes, { top: 1, bottom: 1, left: 1, right: 1 });
    const x = filled(floats(map));
    const call = copying(isa, 'segments.border', [x], { fill: 0, channel: 0, channels: c, map });
    // The lines of the border alone are written.
    const lines = c * (map.tiles - map.tileRows * map.tileColumns);
    return { ...call, loads: undefined, bytes: lines * 64 };
  };
  return { family: 'moving', name: `${c} at ${size}, border 1`, kernel: 'segments.border', make };
}

const depthwise: readonly Slide[] = [
  [32, 112, 3, 1, l44],
  [96, 112, 3, 2, l44],
  [144, 56, 3, 1, l44],
  [192, 28, 3, 1, l44],
  [384, 14, 3, 1, l27],
  [384, 14, 3, 1, l22],
  [960, 7, 3, 1, l72],
  [240, 28, 5, 1, l44],
];

/** Small maps, whose borders the kernel makes itself. */
const bordering: readonly Slide[] = [
  [192, 28, 3, 1, l44],
  [384, 14, 3, 1, l27],
  [672, 14, 5, 1, l27],
  [576, 14, 3, 2, l72],
  [960, 7, 3, 1, l72],
  [960, 7, 3, 1, l16],
];

export function movingCases(): KernelCase[] {
  const average = { count_include_pad: 0, pad_back: 0, pad_bottom: 1, pad_right: 1 };
  return [
    ...depthwise.map((each) => slide('conv.segments.depthwise.f32', each, { borders: 0 })),
    ...bordering.map((each) => slide('conv.segments.depthwise.f32', each, { borders: 1 })),
    slide('pool.segments.max.f32', [64, 112, 3, 2, l44]),
    slide('pool.segments.average.f32', [64, 56, 3, 1, l44], average),
    convert('256 at 28, 4x4 to 4 of 2x2', 256, 28, 4, l44, l22),
    convert('256 at 28, 4x4 to 2x7', 256, 28, 1, l44, l27),
    convert('512 at 14, 2x7 to 7x2', 512, 14, 1, l27, l72),
    convert('512 at 14, 2x2 to 16 images', 512, 14, 16, l22, l16),
    transfer('segments.from_planes', 3, 224, l44),
    transfer('segments.from_planes', 64, 56, l44),
    transfer('segments.from_planes', 256, 14, l27),
    transfer('segments.to_planes', 256, 28, l44),
    transfer('segments.from_rows', 768, 12, row16),
    transfer('segments.to_rows', 768, 12, row16),
    border(64, 56, l44),
    border(256, 14, l27),
  ];
}

/**
 * Dense convolutions in the segment layout, layer by layer: time and share of the multiply-add peak on one core. For
 * bytes the peak is four multiply-adds where float32 has one. Usage: node dense.js [isa] [batch] [f32 or u8] [tile block]
 */

import type { Lanes, SegmentLayout } from '../../lib/ir/segments.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import { isas, pack, random } from '../../test/kernels/harness.ts';
import { type Triple, windowLayouts, windowParams } from '../../test/kernels/windows.ts';
import { alignedFloats, fmaPeak, measure } from './measure.ts';

interface Layer {
  readonly name: string;
  readonly c: number;
  readonly m: number;
  /** Height and width of the input. */
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly residual?: boolean;
}

const layers: readonly Layer[] = [
  { name: 'conv1', c: 3, m: 64, size: 224, kernel: 7, stride: 2 },
  { name: 'stage 1 a', c: 256, m: 64, size: 56, kernel: 1, stride: 1 },
  { name: 'stage 1 b', c: 64, m: 64, size: 56, kernel: 3, stride: 1 },
  { name: 'stage 1 c', c: 64, m: 256, size: 56, kernel: 1, stride: 1, residual: true },
  { name: 'stage 2 entry', c: 128, m: 128, size: 56, kernel: 3, stride: 2 },
  { name: 'stage 2 shortcut', c: 256, m: 512, size: 56, kernel: 1, stride: 2 },
  { name: 'stage 2 a', c: 512, m: 128, size: 28, kernel: 1, stride: 1 },
  { name: 'stage 2 b', c: 128, m: 128, size: 28, kernel: 3, stride: 1 },
  { name: 'stage 2 c', c: 128, m: 512, size: 28, kernel: 1, stride: 1, residual: true },
  { name: 'stage 3 a', c: 1024, m: 256, size: 14, kernel: 1, stride: 1 },
  { name: 'stage 3 b', c: 256, m: 256, size: 14, kernel: 3, stride: 1 },
  { name: 'stage 3 c', c: 256, m: 1024, size: 14, kernel: 1, stride: 1, residual: true },
  { name: 'stage 4 a', c: 2048, m: 512, size: 7, kernel: 1, stride: 1 },
  { name: 'stage 4 b', c: 512, m: 512, size: 7, kernel: 3, stride: 1 },
  { name: 'stage 4 c', c: 512, m: 2048, size: 7, kernel: 1, stride: 1, residual: true },
];

function lanesFor(size: number, batch: number): Lanes {
  if (size >= 28) return { images: 1, y: 4, x: 4 };
  if (size >= 14) return batch >= 4 ? { images: 4, y: 2, x: 2 } : { images: 1, y: 2, x: 7 };
  return batch >= 16 ? { images: 16, y: 1, x: 1 } : { images: 1, y: 7, x: 2 };
}

const isa = process.argv[2] ?? isas[isas.length - 1]!;
const batch = Number(process.argv[3] ?? 1);
const bytes = process.argv[4] === 'u8';
const kernelName = `conv.segments.dense.${bytes ? 'u8' : 'f32'}`;

/** Bytes of a map as floats, at a page boundary. */
function buffer(layout: SegmentLayout, asBytes: boolean): Float32Array {
  return alignedFloats(layout.tiles * 16 * (asBytes ? Math.ceil(layout.size.c / 4) : layout.size.c));
}

function packWeights(m: number, perRow: number, sizes: StepParams) {
  const params = { ...sizes, transposed: 0 };
  if (!bytes) return pack(isa, `pack.${kernelName}`, [random(m * perRow), null], params);
  const weights = Int8Array.from(random(m * perRow), (v) => v * 127);
  const scale = new Float32Array(m).fill(1e-4);
  const types = { weights_unsigned: 0, input_signed: 0, input_zero_point: 0 };
  return pack(isa, `pack.${kernelName}`, [weights, null, null, scale], { ...params, ...types });
}

const byteParams = {
  input_signed: 0,
  input_zero_point: 0,
  output: 1,
  output_zero_point: 0,
  output_scale: 1,
  residual_signed: 0,
  residual_zero_point: 0,
  residual_scale: 1,
  middle: 0,
  middle_low: 0,
  middle_high: 0,
  middle_offset: 0,
  middle_scale: 1,
  middle_shift: 0,
};
console.log(`${isa}, batch ${batch}, peak ${fmaPeak(isa).toFixed(1)} multiply-adds a nanosecond`);
let total = 0;
let ideal = 0;
for (const layer of layers) {
  const { kernel: k, stride: s } = layer;
  const triple = (v: number): Triple => [1, v, v];
  const window = { kernel: triple(k), stride: triple(s), dilation: triple(1), pad: [0, k >> 1, k >> 1] as const };
  const lanes = lanesFor(layer.size / s, batch);
  const [input, output] = windowLayouts({ n: batch, size: triple(layer.size), lanes, ...window }, layer.c, layer.m);
  const bare = output.withChannels(layer.m);
  const sizes = { groups: 1, channels_in: layer.c, channels_out: layer.m };
  const packed = packWeights(layer.m, layer.c * k * k, { ...sizes, taps: k * k });
  const y = buffer(bare, bytes);
  const offsets = { in_channel: 0, out_channel: 0, res_channel: 0 };
  const rest = { activation: 1, alpha: 0, beta: 0, split: 0, tile_block: Number(process.argv[5] ?? 0) };
  const maps = { in: input, out: bare, res: layer.residual ? bare : [] };
  const params = { ...sizes, ...offsets, ...windowParams(window), ...rest, ...maps, ...(bytes ? byteParams : {}) };
  const tiles = bare.tiles;
  const macs = tiles * 16 * layer.m * layer.c * k * k * (bytes ? 0.25 : 1);
  const operands = [buffer(input, bytes), packed, layer.residual ? y : null, y];
  const { ns, share } = measure(isa, kernelName, operands, params, macs);
  total += ns;
  ideal += ns * share;
  const us = (ns / 1000).toFixed(0).padStart(7);
  console.log(`${layer.name.padEnd(18)} ${String(tiles).padStart(5)} tiles ${us} us  ${(share * 100).toFixed(0)} %`);
}
console.log(`together ${(total / 1e6).toFixed(2)} ms, ${((ideal / total) * 100).toFixed(0)} % of peak`);

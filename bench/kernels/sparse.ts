/**
 * Sparse kernels on the layers of ResNet-50 and BERT-base: microseconds on one core and the share of the multiply-add
 * peak that the nonzeros alone reach (8-bit kernels: whole blocks of four, against four times that peak). Usage: npm run bench:kernels -- [--type u8] [--density 0.1] [--only text] [--kernel text] [--repeats 20]
 */

import { parseArgs } from 'node:util';
import { type Lanes, rowsLayout, type SegmentLayout } from '../../lib/ir/segments.ts';
import { native } from '../../lib/runtime/native.ts';
import { isas, pack, random, sparseWeights, time } from '../../test/kernels/harness.ts';
import { layoutOf } from '../../test/kernels/segments.ts';

interface Layer {
  readonly name: string;
  readonly c: number;
  readonly m: number;
  readonly input: SegmentLayout;
  readonly output: SegmentLayout;
  readonly kernel: number;
  readonly stride: number;
  readonly residual: boolean;
}

const { values } = parseArgs({
  options: {
    density: { type: 'string', default: '0.1' },
    kernel: { type: 'string', default: '' },
    type: { type: 'string', default: 'f32' },
    only: { type: 'string', default: '' },
    repeats: { type: 'string', default: '20' },
    'tile-block': { type: 'string', default: '0' },
    'column-blocks': { type: 'string', default: '0' },
    'prefetch-output': { type: 'string', default: '' },
  },
});
const density = Number(values.density);
const repeats = Number(values.repeats);

/** A convolution of `size` x `size` positions in, with the border its kernel needs. */
function conv(
  name: string,
  c: number,
  m: number,
  size: number,
  n: number,
  lanes: Lanes,
  kernel = 1,
  stride = 1,
): Layer {
  const out = size / stride;
  const output = layoutOf([n, m, 1, out, out], lanes);
  const borders = kernel > 1 ? { top: 1, bottom: 1, left: 1, right: 1 } : {};
  const input = layoutOf([n, c, 1, size, size], lanes, borders, stride, stride);
  return { name, c, m, input, output, kernel, stride, residual: name.endsWith('c') };
}

function linear(name: string, c: number, m: number, rows: number): Layer {
  const residual = name.endsWith('out') || name.endsWith('f2');
  return { name, c, m, input: rowsLayout(rows, c), output: rowsLayout(rows, m), kernel: 1, stride: 1, residual };
}

function resnet(batch: 'batch 16' | 'batch 1'): Layer[] {
  const large = { images: 1, y: 4, x: 4 };
  const [n3, n4] = batch === 'batch 16' ? [4, 16] : [1, 1];
  const third = batch === 'batch 16' ? { images: 4, y: 2, x: 2 } : { images: 1, y: 2, x: 7 };
  const fourth = batch === 'batch 16' ? { images: 16, y: 1, x: 1 } : { images: 1, y: 7, x: 2 };
  const stages = [
    conv('1a', 256, 64, 56, 1, large),
    conv('1b', 64, 64, 56, 1, large, 3),
    conv('1c', 64, 256, 56, 1, large),
    conv('2a', 512, 128, 28, 1, large),
    conv('2b', 128, 128, 28, 1, large, 3),
    conv('2b stride 2', 128, 128, 56, 1, large, 3, 2),
    conv('2c', 128, 512, 28, 1, large),
    conv('3a', 1024, 256, 14, n3, third),
    conv('3b', 256, 256, 14, n3, third, 3),
    conv('3c', 256, 1024, 14, n3, third),
    conv('4a', 2048, 512, 7, n4, fourth),
    conv('4b', 512, 512, 7, n4, fourth, 3),
    conv('4c', 512, 2048, 7, n4, fourth),
  ];
  return stages.map((layer) => ({ ...layer, name: `resnet ${batch} ${layer.name}` }));
}

const layers = [
  ...resnet('batch 16'),
  ...resnet('batch 1').slice(7),
  linear('bert qkv', 768, 2304, 128),
  linear('bert out', 768, 768, 128),
  linear('bert f1', 768, 3072, 128),
  linear('bert f2', 3072, 768, 128),
].filter((layer) => layer.name.includes(values.only));

/** Floats at a 64-byte boundary, as kernels find them in a plan. */
function aligned(count: number, from?: Float32Array): Float32Array {
  const buffer = new Float32Array(native().alignedBuffer(count * 4));
  if (from) buffer.set(from);
  return buffer;
}

/** Multiply-adds a nanosecond of one core on vectors of this width, from a dense layer's sheer registers: 2 a cycle. */
function peak(isa: string): number {
  const lanes = isa.startsWith('avx512') ? 16 : isa === 'avx2' ? 8 : 4;
  return 2 * lanes * 3.75;
}

/** The parameters a layer's kernel takes. */
function kernelParams(layer: Layer) {
  const { c, m, kernel: k, stride, input, output } = layer;
  const pad = k > 1 ? 1 : 0;
  return {
    groups: 1,
    channels_in: c,
    channels_out: m,
    in_channel: 0,
    out_channel: 0,
    res_channel: 0,
    kernel_d: 1,
    kernel_h: k,
    kernel_w: k,
    stride_d: 1,
    stride_h: stride,
    stride_w: stride,
    dilation_d: 1,
    dilation_h: 1,
    dilation_w: 1,
    pad_front: 0,
    pad_top: pad,
    pad_left: pad,
    activation: 1,
    alpha: 0,
    beta: 0,
    split: 0,
    tile_block: Number(values['tile-block']),
    density,
    in: input,
    out: output,
    res: layer.residual ? output : [],
  };
}

/** The parameters that the packers of both types share. */
function packerParams(layer: Layer) {
  const { c, m, kernel: k, output, residual } = layer;
  return {
    groups: 1,
    channels_in: c,
    channels_out: m,
    taps: k * k,
    transposed: false,
    residual,
    activation: 1,
    alpha: 0,
    beta: 0,
    tiles: output.tiles,
    tile_block: Number(values['tile-block']),
    prefetch_output: Number(values['prefetch-output'] || (layer.name.includes('batch 1 ') ? '0' : '1')),
  };
}

function measureFloats(isa: string, kernel: string, layer: Layer): string {
  const { c, m, kernel: k, input, output, residual } = layer;
  const weights = sparseWeights(m * c * k * k, density, 5);
  const nonzeros = weights.reduce((sum, w) => sum + (w === 0 ? 0 : 1), 0);
  const packing = pack(isa, `pack.${kernel}`, [weights, random(m)], {
    ...packerParams(layer),
    column_blocks: Number(values['column-blocks']),
  });
  const x = aligned(input.tiles * c * 16, random(input.tiles * c * 16));
  const y = aligned(output.tiles * m * 16);
  const ns = time(isa, kernel, [x, packing, residual ? y : null, y], kernelParams(layer), repeats);
  return report(ns, (nonzeros * output.tiles * 16) / ns / peak(isa));
}

/** Weights in blocks of four input channels. */
function measureBytes(isa: string, kernel: string, layer: Layer): string {
  const { c, m, kernel: k, input, output, residual } = layer;
  const quads = c / 4;
  const keep = sparseWeights(m * quads * k * k, density, 5);
  const blocks = keep.reduce((sum, w) => sum + (w === 0 ? 0 : 1), 0);
  const weights = Int8Array.from({ length: m * c * k * k }, (_, i) => {
    const tap = i % (k * k);
    const channel = Math.floor(i / (k * k)) % c;
    const row = Math.floor(i / (k * k * c));
    return keep[(row * quads + (channel >> 2)) * k * k + tap] === 0 ? 0 : 1 + (i % 100);
  });
  const bytes = {
    input_signed: false,
    input_zero_point: 0,
    output: 1,
    output_zero_point: 0,
    output_scale: 1,
    residual_signed: false,
    residual_zero_point: 0,
    residual_scale: 1,
    middle: 0,
    middle_low: 0,
    middle_high: 0,
    middle_offset: 0,
    middle_scale: 1,
    middle_shift: 0,
  };
  const scale = new Float32Array(m).fill(0.01);
  const packing = pack(isa, `pack.${kernel}`, [weights, null, new Int32Array(m), scale], {
    ...packerParams(layer),
    weights_unsigned: false,
    ...bytes,
  });
  const x = new Uint8Array(native().alignedBuffer(input.tiles * quads * 64)).fill(3);
  const y = new Uint8Array(native().alignedBuffer(output.tiles * Math.ceil(m / 4) * 64));
  const ns = time(isa, kernel, [x, packing, residual ? y : null, y], { ...kernelParams(layer), ...bytes }, repeats);
  return report(ns, (blocks * output.tiles * 16) / ns / peak(isa));
}

function report(ns: number, share: number): string {
  return `${(ns / 1000).toFixed(0).padStart(7)} us ${(100 * share).toFixed(0).padStart(3)} %`;
}

const wanted = new RegExp(`^conv\\.segments\\.(sparse|packed)\\.${values.type}$`);
const columns = isas
  .filter((isa) => isa !== 'portable' && (values.type === 'u8' || isa !== 'avx512vnni'))
  .flatMap((isa) =>
    native()
      .kernels(isa)
      .flatMap((k) => (wanted.test(k.name) ? [[isa, k.name] as const] : [])),
  )
  .filter(([, name]) => name.includes(values.kernel));
const measure = values.type === 'u8' ? measureBytes : measureFloats;
console.log(`${''.padEnd(28)} ${columns.map(([isa, name]) => `${isa} ${name.split('.')[2]}`.padStart(18)).join('')}`);
for (const layer of layers) {
  const cells = columns.map(([isa, name]) => measure(isa, name, layer).padStart(18));
  console.log(`${layer.name.padEnd(28)} ${cells.join('')}`);
}

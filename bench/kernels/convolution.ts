/** Convolutions and linear layers over segment maps: dense and sparse, of floats and bytes. */

import { LANE_ROWS, laneBlockRows } from '../../lib/ir/segments.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import { pack, random, sparseWeights } from '../../test/kernels/harness.ts';
import { windowParams } from '../../test/kernels/windows.ts';
import { alignedBytes, alignedFloats, type KernelCall, type KernelCase, lineVectors, vectorLanes } from './case.ts';
import { type Layer, layersOf } from './layers.ts';

export type WeightForm = 'sparse' | 'packed' | 'dense' | 'lanes' | 'tiles';

/** What the planner chooses, to try by hand; 0 leaves it to the kernel. */
export interface Tuning {
  readonly tileBlock: number;
  readonly columnBlocks: number;
  /** Fetches output lines ahead: 0 or 1. */
  readonly prefetchOutput: number | undefined;
}

export const noTuning: Tuning = { tileBlock: 0, columnBlocks: 0, prefetchOutput: undefined };

const byteParams = {
  ...{ input_signed: 0, input_zero_point: 0, output: 1, output_zero_point: 0, output_scale: 1 },
  ...{ residual_signed: 0, residual_zero_point: 0, residual_scale: 1 },
  ...{ middle: 0, middle_low: 0, middle_high: 0, middle_offset: 0, middle_scale: 1, middle_shift: 0 },
};

/** Rows whose sums generated code keeps in registers: it loads an input line once for them (native/jit). */
const GENERATED_ROWS = 29;
/** Tiles that a packed weight serves once it is loaded (native/kernels/packed_driver.h). */
const packedTiles = (isa: string): number => (lineVectors(isa) === 1 ? 4 : 8 / lineVectors(isa));

/** Rows and tiles that dense kernels keep in registers (native/kernels/dense_tile.h, conv_segments_dense_u8.cc). */
function denseBlock(isa: string, bytes: boolean): { rows: number; tiles: number } {
  if (lineVectors(isa) === 1) return { rows: bytes ? 12 : 14, tiles: 2 };
  if (isa === 'avx2') return { rows: bytes ? 4 : 6, tiles: 1 };
  return { rows: bytes ? 4 : 3, tiles: 1 };
}

const usedLanes = ({ output: { lanes } }: Layer): number => lanes.images * lanes.y * lanes.x;

/** Which of the blocks of `width` channels of a row have weights that are not zero: [row][block][tap]. */
interface Pattern {
  readonly keep: Float32Array;
  readonly nonzeros: number;
  readonly columns: number;
}

function patternOf({ c, m, window }: Layer, width: number, density: number): Pattern {
  const columns = Math.ceil(c / width) * window.kernel[1] * window.kernel[2];
  const keep = density < 1 ? sparseWeights(m * columns, density, 5) : random(m * columns, 5);
  return { keep, nonzeros: keep.reduce((sum, w) => sum + (w === 0 ? 0 : 1), 0), columns };
}

/** Columns with a nonzero, summed over groups of `rows` rows: lines that such a group has to load. */
export function linesOf(keep: ArrayLike<number>, columns: number, rows: number): number {
  let lines = 0;
  for (let first = 0; first * columns < keep.length; first += rows) {
    const end = Math.min(keep.length, (first + rows) * columns);
    for (let column = 0; column < columns; column++) {
      for (let at = first * columns + column; at < end; at += columns) {
        if (keep[at] === 0) continue;
        lines++;
        break;
      }
    }
  }
  return lines;
}

/** Load instructions of one call; of tiles nobody counted them. */
function loadsOf(
  isa: string,
  form: Exclude<WeightForm, 'tiles'>,
  layer: Layer,
  { keep, nonzeros, columns }: Pattern,
  bytes: boolean,
) {
  const { tiles } = layer.output;
  const vectors = lineVectors(isa);
  // Without products of four bytes, four are two pairs of 16 bits.
  const words = bytes && !['avx512vnni', 'avx512bf16', 'amx'].includes(isa) ? 2 : 1;
  if (form === 'sparse') return words * tiles * (nonzeros + vectors * linesOf(keep, columns, GENERATED_ROWS));
  if (form === 'packed') return words * nonzeros * (tiles * vectors + Math.ceil(tiles / packedTiles(isa)));
  if (form === 'lanes') {
    const panels = Math.ceil(layer.m / (2 * vectorLanes(isa)));
    const lanes = usedLanes(layer);
    return panels * tiles * columns * (2 * Math.ceil(lanes / laneBlockRows(vectorLanes(isa))) + lanes);
  }
  const block = denseBlock(isa, bytes);
  const blocks = Math.ceil(layer.m / block.rows) * Math.ceil(tiles / block.tiles);
  return words * blocks * columns * (block.tiles * vectors + block.rows);
}

function kernelParams(layer: Layer, tuning: Tuning, density: number): StepParams {
  const { c, m, input, output, window, residual } = layer;
  return {
    ...{ groups: 1, channels_in: c, channels_out: m, in_channel: 0, out_channel: 0, res_channel: 0 },
    ...windowParams(window),
    ...{ activation: 1, alpha: 0, beta: 0, split: 0, tile_block: tuning.tileBlock },
    ...{ in: input, out: output, res: residual ? output : [], density },
  };
}

function packerParams(form: WeightForm, layer: Layer, tuning: Tuning): StepParams {
  const { c, m, window, output, residual } = layer;
  const sizes = {
    groups: 1,
    channels_in: c,
    channels_out: m,
    taps: window.kernel[1] * window.kernel[2],
    transposed: 0,
  };
  if (form === 'dense' || form === 'lanes') return sizes;
  if (form === 'tiles') return { ...sizes, run_taps: window.kernel[2] };
  const fetch = tuning.prefetchOutput ?? (layer.name.endsWith('batch 1') ? 0 : 1);
  return {
    ...sizes,
    ...{ residual: residual ? 1 : 0, activation: 1, alpha: 0, beta: 0, tiles: output.tiles },
    ...{ tile_block: tuning.tileBlock, prefetch_output: fetch },
  };
}

/** Parameters that the kernels of one form only have. */
function without(form: WeightForm, params: StepParams): StepParams {
  if (form === 'sparse' || form === 'packed') return params;
  const { density: _, ...rest } = params;
  return rest;
}

/** A layer of floats with this share of nonzero weights; the same weights and inputs for every form. */
export function floatCall(
  isa: string,
  form: Exclude<WeightForm, 'tiles'>,
  layer: Layer,
  density: number,
  tuning = noTuning,
): KernelCall {
  const kernel = `conv.segments.${form}.f32`;
  const { c, m, input, output, residual } = layer;
  const pattern = patternOf(layer, 1, density);
  const dense = form === 'dense' || form === 'lanes';
  const packer: StepParams = dense ? {} : { column_blocks: tuning.columnBlocks };
  const packing = pack(isa, `pack.${kernel}`, [pattern.keep, random(m, 3)], {
    ...packerParams(form, layer, tuning),
    ...packer,
  });
  const x = alignedFloats(input.tiles * c * 16, random(input.tiles * c * 16, 7));
  const y = alignedFloats(output.tiles * m * 16);
  return {
    kernel,
    operands: [x, packing, residual ? y : null, y],
    params: without(form, kernelParams(layer, tuning, density)),
    // Lanes that hold no positions are computed by all kernels but the one that skips them.
    macs: (dense ? pattern.keep.length : pattern.nonzeros) * output.tiles * (form === 'lanes' ? usedLanes(layer) : 16),
    bytes8: false,
    loads: loadsOf(isa, form, layer, pattern, false),
  };
}

/** Whole numbers from -108 to 108 but 0, small ones more often, as trained weights have them. */
function bellShaped(count: number): Int8Array {
  const [a, b, c] = [3, 4, 7].map((seed) => random(count, seed)) as [Float32Array, Float32Array, Float32Array];
  return Int8Array.from(a, (value, i) => Math.round(36 * (value + b[i]! + c[i]!)) || 1);
}

/** A layer of bytes whose zeros come in blocks of four input channels. */
export function byteCall(isa: string, form: WeightForm, layer: Layer, density: number, tuning = noTuning): KernelCall {
  const kernel = `conv.segments.${form}.u8`;
  const { c, m, window, input, output, residual } = layer;
  const taps = window.kernel[1] * window.kernel[2];
  const quads = Math.ceil(c / 4);
  const pattern = patternOf(layer, 4, density);
  const weights = bellShaped(m * c * taps).map((weight, i) => {
    const channel = Math.floor(i / taps) % c;
    const row = Math.floor(i / (taps * c));
    return pattern.keep[(row * quads + (channel >> 2)) * taps + (i % taps)] === 0 ? 0 : weight;
  });
  const dense = form === 'dense' || form === 'tiles';
  const types = { weights_unsigned: 0, input_signed: 0, input_zero_point: 0 };
  const packing = pack(
    isa,
    `pack.${kernel}`,
    [weights, null, dense ? null : new Int32Array(m), new Float32Array(m).fill(1e-4)],
    { ...packerParams(form, layer, tuning), ...(dense ? types : { ...types, ...byteParams }) },
  );
  const x = alignedBytes(input.tiles * quads * 64, 3);
  const y = alignedBytes(output.tiles * Math.ceil(m / 4) * 64);
  const blocks = dense ? pattern.keep.length : pattern.nonzeros;
  return {
    kernel,
    operands: [x, packing, residual ? y : null, y],
    params: {
      ...without(form, kernelParams(layer, tuning, density)),
      ...byteParams,
      ...(form === 'tiles' ? { run_taps: window.kernel[2] } : {}),
    },
    macs: blocks * 4 * output.tiles * 16,
    bytes8: true,
    loads: form === 'tiles' ? undefined : loadsOf(isa, form, layer, pattern, true),
  };
}

/** All layers in all forms. Sparse ones have `density` of their weights. */
export function convolutionCases(density: number, tuning: Tuning): KernelCase[] {
  const layers = [...layersOf(1), ...layersOf(16)];
  const caseOf = (form: WeightForm, type: string, layer: Layer, call: (isa: string, share: number) => KernelCall) => ({
    ...{ family: form, name: layer.name, kernel: `conv.segments.${form}.${type}` },
    make: (isa: string): KernelCall => call(isa, form === 'sparse' || form === 'packed' ? density : 1),
  });
  const forms = ['dense', 'sparse', 'packed'] as const;
  const floats = (form: (typeof forms)[number]): KernelCase[] =>
    layers.map((layer) => caseOf(form, 'f32', layer, (isa, share) => floatCall(isa, form, layer, share, tuning)));
  const bytes = (form: WeightForm): KernelCase[] =>
    layers.map((layer) => caseOf(form, 'u8', layer, (isa, share) => byteCall(isa, form, layer, share, tuning)));
  const idle = layersOf(1).filter((layer) => usedLanes(layer) <= LANE_ROWS);
  const lanes = idle.map((layer) =>
    caseOf('lanes', 'f32', layer, (isa, share) => floatCall(isa, 'lanes', layer, share, tuning)),
  );
  return [...forms.flatMap((form) => [...floats(form), ...bytes(form)]), ...lanes, ...bytes('tiles')];
}

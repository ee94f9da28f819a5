/** Weights quantised in blocks: MatMulNBits, MatMulBnb4 and GatherBlockQuantized. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toIntegers, toNumbers } from '../ir/tensor.ts';
import { multiplyDims } from './dims.ts';
import { firstAlone } from './keeps-rows.ts';
import { lowerBnb4, lowerGatherBlocks, lowerNBits } from './ms-nbits-lower.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';
import { roundHalfEven } from './special-functions.ts';

/** Fields of `bits` bits of every byte, the first in the low bits: `count` values for each row of bytes. */
export function unpackFields(bytes: ArrayLike<number>, rows: number, count: number, bits: number): Uint8Array {
  const rowBytes = rows ? bytes.length / rows : 0;
  const out = new Uint8Array(rows * count);
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < count; i++) {
      out[r * count + i] = (bytes[r * rowBytes + Math.floor(i / perByte)] >> ((i % perByte) * bits)) & mask;
    }
  }
  return out;
}

interface NBits {
  readonly n: number;
  readonly k: number;
  readonly bits: number;
  readonly block: number;
  readonly blocks: number;
}

function readNBits(ctx: NodeReader): NBits {
  const [n, k, bits, block] = [ctx.int('N'), ctx.int('K'), ctx.int('bits', 4), ctx.int('block_size')];
  if (![2, 4, 8].includes(bits)) throw ctx.error(`bits is ${bits}, expected 2, 4 or 8`);
  if (!(n > 0 && k > 0 && block >= 16 && Number.isInteger(Math.log2(block)))) {
    throw ctx.error(`N ${n}, K ${k} and block_size ${block}: expected positive sizes and a power of two from 16 on`);
  }
  if (ctx.int('weight_prepacked', 0) !== 0) throw ctx.error('weight_prepacked is for other processors');
  return { n, k, bits, block, blocks: Math.ceil(k / block) };
}

/** Zero points [n, blocks]: packed like the weights, or one number each. */
function zeroPoints(ctx: NodeReader, t: HostTensor | undefined, q: NBits): ArrayLike<number> {
  const count = q.n * q.blocks;
  if (!t) return new Float64Array(count).fill(2 ** (q.bits - 1));
  const packed = t.dtype === 'uint8';
  const stored = toNumbers(t);
  const want = packed ? q.n * Math.ceil((q.blocks * q.bits) / 8) : count;
  if (stored.length !== want) throw ctx.error(`zero_points has shape ${shapeText(t.dims)}, expected ${want} elements`);
  return packed ? unpackFields(stored, q.n, q.blocks, q.bits) : stored;
}

/** The weights [n, k] as real numbers. */
function decodeNBits(ctx: ReferenceContext, q: NBits): Float64Array {
  const [b, scaleTensor] = [ctx.tensor(1), ctx.tensor(2)];
  const want = q.n * q.blocks * ((q.block * q.bits) / 8);
  if (sizeOf(b.dims) !== want) throw ctx.error(`B has shape ${shapeText(b.dims)}, expected ${want} bytes`);
  const scales = toNumbers(scaleTensor);
  if (scales.length !== q.n * q.blocks) {
    throw ctx.error(`scales has shape ${shapeText(scaleTensor.dims)}, expected [${q.n},${q.blocks}]`);
  }
  const zeros = zeroPoints(ctx, ctx.optional(3), q);
  const groups = ctx.has(4) ? ctx.integers(4) : undefined;
  const padded = q.blocks * q.block;
  const levels = unpackFields(b.data as Uint8Array, q.n, padded, q.bits);
  const out = new Float64Array(q.n * q.k);
  for (let i = 0; i < q.n; i++) {
    for (let j = 0; j < q.k; j++) {
      const group = groups ? groups[j] : Math.floor(j / q.block);
      if (!(group >= 0 && group < q.blocks)) throw ctx.error(`g_idx ${group} is outside the ${q.blocks} blocks`);
      const at = i * q.blocks + group;
      out[i * q.k + j] = (levels[i * padded + j] - zeros[at]) * scales[at];
    }
  }
  return out;
}

/**
 * The input as accuracy level 4 sees it: every block of a row rounded to 8 bits, symmetric around zero. The level
 * permits this and does not require it; models of that level are tuned and judged with it.
 */
function int8Activations(a: HostTensor, { k, block }: NBits): HostTensor {
  const x = Float64Array.from(toNumbers(a));
  for (let row = 0; row < x.length; row += k) {
    for (let at = row; at < row + k; at += block) {
      const part = x.subarray(at, Math.min(at + block, row + k));
      const most = part.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      const scale = Math.fround(most / 127);
      if (scale === 0) continue;
      const inverse = Math.fround(127 / most);
      for (let i = 0; i < part.length; i++) part[i] = roundHalfEven(Math.fround(part[i] * inverse)) * scale;
    }
  }
  return fromNumbers('float64', a.dims, x);
}

/** A [..., k] times the transpose of a weight [n, k], plus a bias. */
function multiplyRows(
  ctx: ReferenceContext,
  a: HostTensor,
  weight: Float64Array,
  k: number,
  n: number,
  bias?: HostTensor,
) {
  if (a.dims.at(-1) !== k) throw ctx.error(`A has shape ${shapeText(a.dims)}, expected ${k} columns`);
  const x = toNumbers(a);
  const b = bias && toNumbers(bias);
  if (b && b.length !== n) throw ctx.error(`the bias has ${b.length} elements, expected ${n}`);
  const rows = x.length / k;
  const y = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < n; i++) {
      let sum = b ? b[i] : 0;
      for (let j = 0; j < k; j++) sum += x[r * k + j] * weight[i * k + j];
      y[r * n + i] = sum;
    }
  }
  return fromNumbers(ctx.tensor(0).dtype, [...a.dims.slice(0, -1), n], y);
}

const nf4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];
const fp4Magnitudes = [0, 5.208333333e-3, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25];
const fp4 = [...fp4Magnitudes, ...fp4Magnitudes.map((x) => -x)];

function bnb4Reference(ctx: ReferenceContext): HostValue[] {
  const [n, k, block] = [ctx.int('N'), ctx.int('K'), ctx.int('block_size')];
  const [b, absmax] = [ctx.tensor(1), toNumbers(ctx.tensor(2))];
  const count = n * k;
  const bytes = toNumbers(b);
  if (!(n > 0 && k > 0 && block > 0) || bytes.length !== Math.ceil(count / 2)) {
    throw ctx.error(`B has shape ${shapeText(b.dims)} for N ${n}, K ${k} and block_size ${block}`);
  }
  if (absmax.length !== Math.ceil(count / block)) throw ctx.error(`absmax has ${absmax.length} elements`);
  const type = ctx.int('quant_type');
  if (type !== 0 && type !== 1) throw ctx.error(`quant_type is ${type}, expected 0 (FP4) or 1 (NF4)`);
  const table = type === 1 ? nf4 : fp4;
  const weight = new Float64Array(count);
  const transposed = ctx.int('transB', 1) !== 0;
  for (let i = 0; i < count; i++) {
    const level = (bytes[i >> 1] >> (i % 2 ? 0 : 4)) & 15;
    // Stored [n, k], or [k, n] where B is not transposed.
    const at = transposed ? i : (i % n) * k + Math.floor(i / n);
    weight[at] = table[level] * absmax[Math.floor(i / block)];
  }
  return [multiplyRows(ctx, ctx.tensor(0), weight, k, n)];
}

interface Blocks {
  readonly gatherAxis: number;
  readonly quantizeAxis: number;
  readonly block: number;
  /** Elements that a stored element holds along the last axis. */
  readonly parts: number;
  readonly bits: number;
}

function readBlocks(ctx: NodeReader, dtype: HostTensor['dtype'], rank: number): Blocks {
  const bits = ctx.int('bits', 4);
  if (dtype === 'uint8' && ![2, 4, 8].includes(bits)) throw ctx.error(`bits is ${bits}, expected 2, 4 or 8`);
  return {
    gatherAxis: normalizeAxis(ctx, ctx.int('gather_axis', 0), rank, 'gather_axis'),
    quantizeAxis: normalizeAxis(ctx, ctx.int('quantize_axis', 1), rank, 'quantize_axis'),
    block: ctx.int('block_size', 128),
    parts: dtype === 'uint8' ? 8 / bits : 1,
    bits,
  };
}

function inferGather(ctx: InferContext): (ValueType | undefined)[] {
  if (ctx.dtype(1) !== 'int32' && ctx.dtype(1) !== 'int64') {
    throw ctx.error(`the indices are of ${ctx.dtype(1)}, expected int32 or int64`);
  }
  const [data, indices] = [ctx.shape(0), ctx.shape(1)];
  if (!data || !indices) return [tensorType(ctx.dtype(2), undefined)];
  const { gatherAxis, parts } = readBlocks(ctx, ctx.dtype(0), data.length);
  const full: Shape = [...data.slice(0, -1), multiplyDims(data.at(-1) as Dim, parts)];
  return [tensorType(ctx.dtype(2), [...full.slice(0, gatherAxis), ...indices, ...full.slice(gatherAxis + 1)])];
}

/** All of the table as real numbers, with its dimensions. */
function decodeTable(ctx: ReferenceContext): { values: Float64Array; dims: number[] } {
  const [data, scaleTensor, zeroTensor] = [ctx.tensor(0), ctx.tensor(2), ctx.optional(3)];
  const rank = data.dims.length;
  const { quantizeAxis, block, parts, bits } = readBlocks(ctx, data.dtype, rank);
  const last = data.dims[rank - 1];
  const dims = [...data.dims.slice(0, -1), last * parts];
  const rows = sizeOf(dims) / Math.max(dims[rank - 1], 1);
  const unpack = (t: HostTensor, count: number): ArrayLike<number> =>
    t.dtype === 'uint8' && parts > 1 ? unpackFields(t.data as Uint8Array, rows, count, bits) : toNumbers(t);
  const levels = unpack(data, dims[rank - 1]);
  const size = block || dims[quantizeAxis];
  const sdims = scaleTensor.dims;
  const fits = sdims.every((dim, i) => dim === 1 || dim === (i === quantizeAxis ? Math.ceil(dims[i] / size) : dims[i]));
  if (sdims.length !== rank || !fits) {
    throw ctx.error(`scales has shape ${shapeText(sdims)} for data of shape ${shapeText(dims)}`);
  }
  const scales = toNumbers(scaleTensor);
  const zeros = zeroTensor && unpack(zeroTensor, sdims[rank - 1]);
  const zeroDefault = data.dtype === 'uint8' ? 2 ** (bits - 1) : 0;
  const values = new Float64Array(sizeOf(dims));
  const index = new Array<number>(rank).fill(0);
  for (let i = 0; i < values.length; i++) {
    let at = 0;
    for (let axis = 0; axis < rank; axis++) {
      const position = axis === quantizeAxis ? Math.floor(index[axis] / size) : index[axis];
      at = at * sdims[axis] + (sdims[axis] === 1 ? 0 : position);
    }
    values[i] = (levels[i] - (zeros ? zeros[at] : zeroDefault)) * scales[at];
    for (let axis = rank - 1; axis >= 0 && ++index[axis] === dims[axis]; axis--) index[axis] = 0;
  }
  return { values, dims };
}

function gatherReference(ctx: ReferenceContext): HostValue[] {
  const { values, dims } = decodeTable(ctx);
  const indexTensor = ctx.tensor(1);
  const { gatherAxis } = readBlocks(ctx, ctx.tensor(0).dtype, dims.length);
  const indices = toIntegers(indexTensor);
  const outer = sizeOf(dims.slice(0, gatherAxis));
  const inner = sizeOf(dims.slice(gatherAxis + 1));
  const count = dims[gatherAxis];
  const out = new Float64Array(outer * indices.length * inner);
  for (let o = 0; o < outer; o++) {
    indices.forEach((index, i) => {
      const row = index < 0 ? index + count : index;
      // An index outside the table gives zeros.
      if (row < 0 || row >= count) return;
      const from = (o * count + row) * inner;
      out.set(values.subarray(from, from + inner), (o * indices.length + i) * inner);
    });
  }
  const outDims = [...dims.slice(0, gatherAxis), ...indexTensor.dims, ...dims.slice(gatherAxis + 1)];
  return [fromNumbers(ctx.tensor(2).dtype, outDims, out)];
}

const inferRows = (ctx: InferContext): (ValueType | undefined)[] => {
  const a = ctx.shape(0);
  return [tensorType(ctx.dtype(0), a && [...a.slice(0, -1), ctx.int('N')])];
};

export const msBlockQuantizedOps: readonly OpDefinition[] = [
  defineOp({
    name: 'MatMulNBits',
    domain: 'com.microsoft',
    since: [1],
    inputs: [3, 6],
    outputs: [1, 1],
    attributes: {
      accuracy_level: 'int',
      bits: 'int',
      block_size: 'int',
      K: 'int',
      N: 'int',
      weight_prepacked: 'int',
    },
    infer: inferRows,
    keepsRows: (_, inputs) => firstAlone(inputs) && inputs.ranks[0] > 1,
    reference: (ctx) => {
      const q = readNBits(ctx);
      // First, because it holds N and K against the weights there are.
      const weight = decodeNBits(ctx, q);
      const a = ctx.int('accuracy_level', 0) === 4 ? int8Activations(ctx.tensor(0), q) : ctx.tensor(0);
      return [multiplyRows(ctx, a, weight, q.k, q.n, ctx.optional(5))];
    },
    lower: (ctx) => lowerNBits(ctx, readNBits(ctx), ctx.int('accuracy_level', 0) === 4),
  }),
  defineOp({
    name: 'MatMulBnb4',
    domain: 'com.microsoft',
    since: [1],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: { block_size: 'int', K: 'int', N: 'int', quant_type: 'int', training_mode: 'int', transB: 'int' },
    infer: inferRows,
    reference: bnb4Reference,
    lower: lowerBnb4,
  }),
  defineOp({
    name: 'GatherBlockQuantized',
    domain: 'com.microsoft',
    since: [1],
    inputs: [3, 4],
    outputs: [1, 1],
    attributes: { bits: 'int', block_size: 'int', gather_axis: 'int', quantize_axis: 'int' },
    infer: inferGather,
    reference: gatherReference,
    lower: (ctx) => lowerGatherBlocks(ctx, readBlocks(ctx, ctx.dtype(0), ctx.dims(0).length)),
  }),
];

/** Native products with weights quantised in blocks, and rows of tables of them. */

import { dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers, toNumbers } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { floatInput, intoFloatOutput, optionalFloatInput, servedByFloat32 } from './lower-floats.ts';

/** Sizes of MatMulNBits. */
export interface NativeNBits {
  readonly n: number;
  readonly k: number;
  readonly bits: number;
  readonly block: number;
  readonly blocks: number;
}

const ZEROS = 3;
const CENTRED = 0;
const PACKED_ZEROS = 1;
const FLOAT_ZEROS = 2;

function zerosKind(ctx: LowerContext): number {
  if (!ctx.has(ZEROS)) return CENTRED;
  return ctx.dtype(ZEROS) === 'uint8' ? PACKED_ZEROS : FLOAT_ZEROS;
}

function reasonFor(ctx: LowerContext, q: NativeNBits): string | undefined {
  const kind = zerosKind(ctx);
  const floats = kind === FLOAT_ZEROS ? [0, 2, ZEROS, 5] : [0, 2, 5];
  const odd = floats.find((i) => ctx.has(i) && !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (ctx.has(4)) return 'blocks in another order';
  if ([1, 2, ZEROS].some((i) => ctx.has(i) && !ctx.constant(i))) return 'the weights are computed at run time';
  const blocks = q.n * q.blocks;
  const levels = sizeOf(ctx.dims(1)) === blocks * ((q.block * q.bits) / 8) && sizeOf(ctx.dims(2)) === blocks;
  const points = [0, q.n * Math.ceil((q.blocks * q.bits) / 8), blocks][kind];
  const zeros = kind === CENTRED || sizeOf(ctx.dims(ZEROS)) === points;
  const bias = !ctx.has(5) || sizeOf(ctx.dims(5)) === q.n;
  return levels && zeros && bias && ctx.dims(0).at(-1) === q.k ? undefined : 'operands that do not fit';
}

/** The zero points as the packer reads them: bytes, or float32. */
function zeroPoints(ctx: LowerContext): Operand | null {
  const constant = ctx.constant(ZEROS);
  if (!constant) return null;
  if (constant.dtype === 'uint8' || constant.dtype === 'float32') return ctx.input(ZEROS);
  return ctx.literal('zero points', () => fromNumbers('float32', constant.dims, toNumbers(constant)));
}

/** Emits the product; `rounded` rounds every block of a row of the input to 8 bits before. */
export function lowerNBits(ctx: LowerContext, q: NativeNBits, rounded: boolean): string | undefined {
  const reason = reasonFor(ctx, q);
  if (reason) return reason;
  const sizes = { columns: q.n, depth: q.k, bits: q.bits, block: q.block, zeros: zerosKind(ctx) };
  const sources = [ctx.input(1), ctx.input(2), zeroPoints(ctx)];
  if (rounded) emitRounded(ctx, sources, sizes, optionalFloatInput(ctx, 5));
  else emitFloat(ctx, sources, { ...sizes, table: 0 }, optionalFloatInput(ctx, 5));
  return undefined;
}

type Sizes = Readonly<Record<'columns' | 'depth' | 'bits' | 'block' | 'zeros', number>>;
type Sources = readonly (Operand | null)[];

const rowsOf = (ctx: LowerContext, { depth }: Sizes): number => sizeOf(ctx.dims(0)) / depth;

function emitFloat(
  ctx: LowerContext,
  sources: Sources,
  sizes: Sizes & { readonly table: number },
  bias: Operand | null,
): void {
  const { table, ...form } = sizes;
  const scale_type = dtypeInfo(ctx.dtype(2)).onnx;
  const weights = ctx.packed('pack.matmul.nbits.f32', sources, { ...form, scale_type, table });
  const x = floatInput(ctx, 0);
  const params = { rows: rowsOf(ctx, sizes), ...sizes };
  intoFloatOutput(ctx, 0, (y) => ctx.step('matmul.nbits.f32', [x, weights, bias, y], params));
}

function emitRounded(ctx: LowerContext, sources: Sources, sizes: Sizes, bias: Operand | null): void {
  const { depth, block } = sizes;
  const rows = rowsOf(ctx, sizes);
  const scale_type = dtypeInfo(ctx.dtype(2)).onnx;
  const weights = ctx.packed('pack.matmul.nbits.s8', sources, { ...sizes, scale_type });
  // Every block has its scale and the sum of its levels before them.
  const levels = ctx.scratch('int8', [rows, Math.ceil(depth / block), block + 8]);
  ctx.step('quantize.blocks.s8', [floatInput(ctx, 0), levels], { rows, depth, block });
  const params = { rows, ...sizes };
  intoFloatOutput(ctx, 0, (y) => ctx.step('matmul.nbits.s8', [levels, weights, bias, y], params));
}

/** Emits MatMulBnb4. */
export function lowerBnb4(ctx: LowerContext): string | undefined {
  const [n, k, block, type] = [ctx.int('N'), ctx.int('K'), ctx.int('block_size'), ctx.int('quant_type')];
  const odd = [0, 2].find((i) => !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (!ctx.constant(1) || !ctx.constant(2)) return 'the weights are computed at run time';
  if (ctx.int('transB', 1) === 0) return 'weights that are not transposed';
  if (!(block >= 16 && Number.isInteger(Math.log2(block)) && k % block === 0))
    return 'blocks that are no parts of rows';
  const counts = sizeOf(ctx.dims(1)) === (n * k) / 2 && sizeOf(ctx.dims(2)) === (n * k) / block;
  if (!counts || ctx.dims(0).at(-1) !== k || (type !== 0 && type !== 1)) return 'operands that do not fit';
  const sizes = { columns: n, depth: k, bits: 4, block, zeros: CENTRED, table: type + 1 };
  emitFloat(ctx, [ctx.input(1), ctx.input(2), null], sizes, null);
  return undefined;
}

/** What GatherBlockQuantized reads of its attributes. */
export interface NativeBlocks {
  readonly gatherAxis: number;
  readonly quantizeAxis: number;
  readonly block: number;
  readonly bits: number;
}

/** Emits the gather of rows of a table whose blocks lie along the last axis. */
export function lowerGatherBlocks(ctx: LowerContext, q: NativeBlocks): string | undefined {
  const [data, dims, scales] = [ctx.dtype(0), ctx.dims(0), ctx.dims(2)];
  const bits = data === 'uint8' ? q.bits : 4;
  if (!servedByFloat32(ctx.dtype(2))) return `no kernel for ${ctx.dtype(2)}`;
  if (ctx.has(3) && ctx.dtype(3) !== data) return `zero points of ${ctx.dtype(3)}`;
  if (q.gatherAxis !== 0 || q.quantizeAxis !== dims.length - 1 || dims.length < 2) return 'blocks along another axis';
  const length = (dims.at(-1) as number) * (data === 'uint8' ? 8 / bits : 1);
  const block = q.block || length;
  const blocks = block > 0 ? Math.ceil(length / block) : 0;
  const lines = sizeOf(dims.slice(1, -1));
  if ((length * bits) % 8 !== 0 || length === 0) return 'lines that are no whole bytes';
  if (scales.join() !== [...dims.slice(0, -1), blocks].join()) return 'scales of another shape';
  // Bytes of a line of zero points are padded; the elements of 4-bit types are not.
  const zeroFields = data === 'uint8' ? Math.ceil((blocks * bits) / 8) * (8 / bits) : blocks;
  const points = data === 'uint8' ? (zeroFields * bits) / 8 : blocks;
  if (ctx.has(3) && sizeOf(ctx.dims(3)) !== dims[0] * lines * points) return 'zero points of another shape';
  const zeros = ctx.has(3) ? ctx.input(3) : null;
  const sizes = { rows: dims[0], lines, length, count: sizeOf(ctx.dims(1)), bits, block };
  intoFloatOutput(ctx, 0, (y) =>
    ctx.step('gather.nbits.f32', [ctx.input(0), ctx.input(1), ctx.input(2), zeros, y], {
      ...{ ...sizes, index_bytes: ctx.dtype(1) === 'int64' ? 8 : 4, signed: data === 'int4' },
      ...{ scale_type: dtypeInfo(ctx.dtype(2)).onnx, centre: data === 'uint8' ? 2 ** (bits - 1) : 0 },
      zero_fields: zeroFields,
    }),
  );
  return undefined;
}

/** Native embeddings: rows of three tables, their sum normalised, and the lengths of masks. */

import { dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { tensor } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { binaryStep, castStep, noKernel } from './lower-elementwise.ts';
import { intoFloatOutput, servedByFloat32 } from './lower-floats.ts';
import { fillStep, gatherStep, indexBytes } from './lower-movement.ts';
import { reduceCodes } from './lower-reduce.ts';

/** A table of floats, or of bytes with a scale and a zero point: numbers of inputs. */
export interface Table {
  readonly input: number;
  readonly scale?: number;
  readonly zero?: number;
}

/** Inputs of a node; those of embeddings that it lacks are undefined. */
export interface EmbeddingSlots {
  readonly ids: number;
  readonly segments: number;
  readonly word: Table;
  readonly position: Table;
  readonly segment: Table;
  readonly gamma: Table;
  readonly beta: Table;
  readonly mask: number;
  readonly positions: number | undefined;
}

const bytes = ['uint8', 'int8'];

function tableReason(ctx: LowerContext, { input, scale, zero }: Table): string | undefined {
  const dtype = ctx.dtype(input);
  if (scale === undefined) return servedByFloat32(dtype) ? undefined : noKernel(dtype);
  if (!bytes.includes(dtype) || ctx.dtype(scale) !== 'float32') return noKernel(dtype);
  const parameters = [scale, ...(zero !== undefined && ctx.has(zero) ? [zero] : [])];
  return parameters.every((i) => sizeOf(ctx.dims(i)) === 1) ? undefined : 'scales that are no single numbers';
}

/** The first numbers of a table's bytes or floats as float32. */
function decoded(ctx: LowerContext, operand: Operand, dims: readonly number[], { scale, zero }: Table): Operand {
  if (operand.dtype === 'float32') return { ...operand, dims };
  const y = ctx.scratch('float32', dims);
  if (scale === undefined) {
    castStep(ctx, operand, y);
    return y;
  }
  const origin = zero !== undefined && ctx.has(zero) ? ctx.input(zero) : null;
  const params = { type: dtypeInfo(operand.dtype).onnx, dims: [sizeOf(dims)], scale_strides: [0] };
  ctx.step('dequantize.f32', [operand, ctx.input(scale), origin, y], params);
  return y;
}

/** The rows of a table that an input names, as float32 [rows, width]. */
function named(ctx: LowerContext, table: Table, indices: number): Operand {
  const dims = [sizeOf(ctx.dims(indices)), ctx.dims(table.input)[1]];
  const rows = ctx.scratch(ctx.dtype(table.input), dims);
  gatherStep(ctx, [ctx.input(table.input), ctx.input(indices), rows], 0);
  return decoded(ctx, rows, dims, table);
}

/** Positions [length, width], or one row for each id. */
function positionRows(ctx: LowerContext, slots: EmbeddingSlots, length: number): Operand {
  const { position, positions } = slots;
  if (positions !== undefined && ctx.has(positions)) return named(ctx, position, positions);
  const [, width] = ctx.dims(position.input);
  return decoded(ctx, ctx.input(position.input), [length, width], position);
}

function reasonFor(ctx: LowerContext, slots: EmbeddingSlots): string | undefined {
  const { ids, segments, word, position, segment, gamma, beta, mask, positions } = slots;
  const dims = ctx.dims(ids);
  const segmented = ctx.has(segments) && ctx.has(segment.input);
  const tables = [word, position, ...(segmented ? [segment] : [])];
  const widths = tables.map(({ input }) => (ctx.dims(input).length === 2 ? ctx.dims(input)[1] : -1));
  if (dims.length !== 2 || sizeOf(dims) === 0 || widths.some((width) => width !== widths[0] || width <= 0)) {
    return 'operands of another form';
  }
  if ([gamma, beta].some(({ input }) => sizeOf(ctx.dims(input)) !== widths[0])) return 'parameters that are broadcast';
  if (!ctx.wants(0)) return 'the result is not read';
  const given = positions !== undefined && ctx.has(positions);
  const indices = [ids, ...(segmented ? [segments] : []), ...(given ? [positions] : [])];
  const odd = indices.find((i) => !indexBytes(ctx, i));
  if (odd !== undefined) return `indices of ${ctx.dtype(odd)}`;
  if (!given && ctx.dims(position.input)[0] < dims[1]) return 'more ids than positions';
  if (given && ![dims[1], sizeOf(dims)].includes(sizeOf(ctx.dims(positions)))) return 'positions of another form';
  const flat = [...(segmented ? [segments] : []), ...(ctx.has(mask) ? [mask] : [])];
  if (flat.some((i) => ctx.dims(i).join() !== dims.join())) return 'ids of another form';
  if (ctx.has(mask) && ctx.dtype(mask) !== 'int32') return `a mask of ${ctx.dtype(mask)}`;
  if (ctx.wants(1) && ctx.outputDtype(1) !== 'int32') return `lengths of ${ctx.outputDtype(1)}`;
  return [...tables, gamma, beta].map((table) => tableReason(ctx, table)).find((reason) => reason !== undefined);
}

/** How many entries of each row of the mask are one. */
function lengthsStep(ctx: LowerContext, mask: number): void {
  const y = ctx.output(1);
  if (!ctx.has(mask)) {
    fillStep(ctx, y, undefined);
    return;
  }
  const dims = ctx.dims(mask);
  const [shown, counted] = [ctx.scratch('bool', dims), ctx.scratch('int32', dims)];
  const one = { operand: ctx.literal('one', () => tensor('int32', [1], Int32Array.of(1))), strides: [0] };
  const view = { dims: [sizeOf(dims)], inputs: [], output: shown };
  binaryStep(ctx, 'binary.i32', 'Equal', view, [{ operand: ctx.input(mask), strides: [1] }, one]);
  castStep(ctx, shown, counted);
  ctx.step('reduce.i32', [counted, y], {
    ...{ op: reduceCodes.Sum, kept: [dims[0]], kept_strides: [dims[1]], reduced: [dims[1]], reduced_strides: [1] },
  });
}

/** Lowers a node; its outputs are the normalised sum, the lengths, and perhaps the sum. */
export function lowerEmbedding(ctx: LowerContext, slots: EmbeddingSlots): string | undefined {
  const reason = reasonFor(ctx, slots);
  if (reason) return reason;
  const [batch, length] = ctx.dims(slots.ids);
  const width = ctx.dims(slots.word.input)[1];
  const words = named(ctx, slots.word, slots.ids);
  const sum = ctx.scratch('float32', [batch * length, width]);
  const positions = positionRows(ctx, slots, length);
  const each = sizeOf(positions.dims) === sizeOf(sum.dims);
  binaryStep(ctx, 'binary.f32', 'Add', { dims: [batch, length * width], inputs: [], output: sum }, [
    { operand: words, strides: [length * width, 1] },
    { operand: positions, strides: [each ? length * width : 0, 1] },
  ]);
  const segmented = ctx.has(slots.segments) && ctx.has(slots.segment.input);
  const segments = segmented ? named(ctx, slots.segment, slots.segments) : null;
  const vector = (table: Table): Operand => decoded(ctx, ctx.input(table.input), [width], table);
  const [gamma, beta] = [vector(slots.gamma), vector(slots.beta)];
  const params = { rms: false, rows: batch * length, n: width, epsilon: ctx.float('epsilon', 1e-12) };
  const emit = (y: Operand, total: Operand | null): void =>
    ctx.step('layernorm.f32', [sum, segments, null, gamma, beta, y, total, null, null], params);
  intoFloatOutput(ctx, 0, (y) => (ctx.wants(2) ? intoFloatOutput(ctx, 2, (total) => emit(y, total)) : emit(y, null)));
  if (ctx.wants(1)) lengthsStep(ctx, slots.mask);
  return undefined;
}

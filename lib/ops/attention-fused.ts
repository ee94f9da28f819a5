/** Scaled dot-product attention as the rewrites make it from products, softmax and the transposes around them. */

import type { DType } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { broadcastShapes, broadcastStrides, type Dim, type Shape, shapeText, sizeOf, stridesOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { type AttentionSizes, attend } from './attention-core.ts';
import { attentionStep, type Place, type Placed, placedMask, UNDEFINED_ROWS } from './attention-lower.ts';
import { doubles, expectSame, floatKinds } from './elements.ts';
import { alignsRows } from './keeps-rows.ts';
import type { LowerContext, Operand } from './lower.ts';
import { floatInput, intoFloatOutput, optionalFloatInput, servedByFloat32 } from './lower-floats.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** Batch, heads, sequence, head size: the axes of an operand. */
const AXES = 'bhsd';

/** The order in which an operand's axes lie in memory, as letters of "bhsd"; axes left out have size 1. */
export function layoutOf(ctx: NodeReader, which: 'q' | 'k' | 'v' | 'y'): string {
  const layout = ctx.string(`${which}_layout`, AXES);
  const letters = new Set(layout);
  const known = [...letters].every((letter) => AXES.includes(letter));
  if (!known || letters.size !== layout.length || !letters.has('s') || !letters.has('d')) {
    throw ctx.error(`"${which}_layout" is "${layout}", expected distinct letters of "${AXES}", s and d among them`);
  }
  return layout;
}

/** Sizes of an operand as [b, h, s, d]. */
function logicalDims<D extends Dim>(ctx: NodeReader, shape: readonly D[], layout: string): (D | 1)[] {
  if (shape.length !== layout.length) {
    throw ctx.error(`an operand of layout "${layout}" is ${shapeText(shape)}, expected rank ${layout.length}`);
  }
  return [...AXES].map((axis) => (layout.includes(axis) ? shape[layout.indexOf(axis)] : 1));
}

/** Elements from one entry to the next along b, h, s and d; 0 for an axis that the layout leaves out. */
export function logicalStrides(dims: readonly number[], layout: string): number[] {
  const strides = stridesOf(dims);
  return [...AXES].map((axis) => (layout.includes(axis) ? strides[layout.indexOf(axis)] : 0));
}

/** The common size of dimensions that are equal or 1; undefined where they differ. */
function joint(...dims: readonly number[]): number | undefined {
  const size = dims.find((dim) => dim !== 1) ?? 1;
  return dims.every((dim) => dim === 1 || dim === size) ? size : undefined;
}

/** The sizes of the problem; throws where the operands do not fit each other. */
export function attentionSizes(ctx: NodeReader, dims: (i: number) => readonly number[]): AttentionSizes {
  const [q, k, v] = (['q', 'k', 'v'] as const).map((which, i) => logicalDims(ctx, dims(i), layoutOf(ctx, which)));
  const batch = joint(q[0], k[0], v[0]);
  const kvHeads = joint(k[1], v[1]);
  const heads = q[1] === 1 ? kvHeads : q[1];
  const fits = k[2] === v[2] && k[3] === q[3];
  if (!fits || batch === undefined || kvHeads === undefined || heads === undefined || (heads && heads % kvHeads)) {
    throw ctx.error(`queries ${shapeText(q)}, keys ${shapeText(k)} and values ${shapeText(v)} (b, h, s, d) do not fit`);
  }
  return { batch, heads, kvHeads, queries: q[2], keys: k[2], headSize: q[3], valueSize: v[3] };
}

export function inferAttention(ctx: InferContext): Dim[] | undefined {
  const shapes = [ctx.shape(0), ctx.shape(1), ctx.shape(2)];
  const [q, k, v] = shapes.map(
    (shape, i) => shape && logicalDims(ctx, shape, layoutOf(ctx, (['q', 'k', 'v'] as const)[i])),
  );
  if (!q || !k || !v) return undefined;
  const [batch] = broadcastShapes([[q[0]], [k[0]], [v[0]]]) ?? [null];
  const heads = q[1] === 1 ? (broadcastShapes([[k[1]], [v[1]]])?.[0] ?? null) : q[1];
  const sizes: Shape = [batch, heads, q[2], v[3]];
  return [...layoutOf(ctx, 'y')].map((axis) => sizes[AXES.indexOf(axis)]);
}

/** Copies between a layout and the order b, h, s, d. */
function reorder(from: Float64Array, fromStrides: readonly number[], dims: readonly number[]): Float64Array {
  const [b, h, s, d] = dims;
  const [sb, sh, ss, sd] = fromStrides;
  const out = doubles(sizeOf(dims));
  let to = 0;
  for (let i = 0; i < b; i++) {
    for (let j = 0; j < h; j++) {
      for (let k = 0; k < s; k++) {
        const at = i * sb + j * sh + k * ss;
        for (let l = 0; l < d; l++) out[to++] = from[at + l * sd];
      }
    }
  }
  return out;
}

/** Operand `i` as [batch, heads, sequence, size], repeated where it has a batch or a head for all. */
export function headMajor(ctx: ReferenceContext, i: 0 | 1 | 2, sizes: AttentionSizes): Float64Array {
  const { dims } = ctx.tensor(i);
  const layout = layoutOf(ctx, (['q', 'k', 'v'] as const)[i]);
  const own = logicalDims(ctx, dims, layout);
  const whole = [sizes.batch, i === 0 ? sizes.heads : sizes.kvHeads, own[2], own[3]];
  const strides = logicalStrides(dims, layout).map((stride, axis) => (own[axis] === 1 ? 0 : stride));
  return reorder(toNumbers(ctx.tensor(i)), strides, whole);
}

/** Adds the mask to one row of scores, rounded as the sum of two float32 is: a huge negative entry absorbs the score. */
export function masking(ctx: ReferenceContext, { batch, heads, queries, keys }: AttentionSizes) {
  const mask = ctx.optional(3);
  if (!mask) return undefined;
  const whole = [batch, heads, queries, keys];
  const fits = mask.dims.length <= 4 && mask.dims.every((dim, i) => [1, whole[4 - mask.dims.length + i]].includes(dim));
  if (!fits) throw ctx.error(`the mask is ${shapeText(mask.dims)}, expected to broadcast to ${shapeText(whole)}`);
  const values = toNumbers(mask);
  const [sb, sh, sq, sk] = broadcastStrides(mask.dims, whole);
  return (scores: Float64Array, b: number, h: number, i: number): boolean => {
    const at = b * sb + h * sh + i * sq;
    for (let j = 0; j < scores.length; j++) scores[j] = Math.fround(scores[j] + values[at + j * sk]);
    return true;
  };
}

/** The result [batch, heads, queries, valueSize] in the order of "y_layout". */
export function inLayout(ctx: NodeReader, dtype: DType, sizes: AttentionSizes, y: Float64Array): HostTensor {
  const layout = layoutOf(ctx, 'y');
  const logical = [sizes.batch, sizes.heads, sizes.queries, sizes.valueSize];
  const dims = [...layout].map((axis) => logical[AXES.indexOf(axis)]);
  const strides = stridesOf(logical);
  const turned = [...layout].map((axis) => strides[AXES.indexOf(axis)]);
  const pad = 4 - dims.length;
  const ordered = reorder(y, [0, 0, 0, 0].slice(0, pad).concat(turned), [1, 1, 1, 1].slice(0, pad).concat(dims));
  return fromNumbers(dtype, dims, ordered);
}

function attentionReference(ctx: ReferenceContext): HostTensor[] {
  const sizes = attentionSizes(ctx, (i) => ctx.tensor(i).dims);
  const mask = masking(ctx, sizes);
  const zero = ctx.int('nan_to_zero', 0) !== 0;
  const bias = (scores: Float64Array, b: number, h: number, i: number): boolean => {
    mask?.(scores, b, h, i);
    // A row of -Infinity alone has no softmax: NaN, or zeros where the model asks for them.
    const hidden = scores.every((score) => score === Number.NEGATIVE_INFINITY);
    const undefinedRow = hidden || scores.some((score) => Number.isNaN(score) || score === Number.POSITIVE_INFINITY);
    if (undefinedRow && !zero) scores.fill(Number.NaN);
    return !(undefinedRow && zero);
  };
  const [q, k, v] = ([0, 1, 2] as const).map((i) => headMajor(ctx, i, sizes));
  const y = attend({ sizes, q, k, v, scale: ctx.float('scale', 1), bias });
  return [inLayout(ctx, ctx.tensor(0).dtype, sizes, y)];
}

/** An operand with the strides that its layout means. */
export function placedAs(ctx: NodeReader, operand: Operand, which: 'q' | 'k' | 'v' | 'y'): Placed {
  const layout = layoutOf(ctx, which);
  const own = logicalDims(ctx, operand.dims, layout);
  const strides = logicalStrides(operand.dims, layout).map((stride, axis) => (own[axis] === 1 ? 0 : stride));
  return { operand, at: [...strides, 0] as unknown as Place };
}

/** Input 3 over [batch, heads, queries, keys]. */
export function addedMask(ctx: LowerContext, sizes: AttentionSizes): Placed | undefined {
  const operand = optionalFloatInput(ctx, 3);
  const mask = operand ? placedMask(operand, sizes) : undefined;
  if (operand && !mask)
    throw ctx.error(`the mask is ${shapeText(operand.dims)}, which does not broadcast to the scores`);
  return mask;
}

function lowerAttention(ctx: LowerContext): string | undefined {
  if (!servedByFloat32(ctx.dtype(0))) return `no kernel for ${ctx.dtype(0)}`;
  const sizes = attentionSizes(ctx, (i) => ctx.dims(i));
  const [q, k, v] = (['q', 'k', 'v'] as const).map((which, i) => placedAs(ctx, floatInput(ctx, i), which));
  const mask = addedMask(ctx, sizes);
  const undefinedRows = ctx.int('nan_to_zero', 0) ? UNDEFINED_ROWS.zero : UNDEFINED_ROWS.nan;
  const scale = ctx.float('scale', 1);
  intoFloatOutput(ctx, 0, (y) =>
    attentionStep(ctx, { sizes, q, k, v, y: placedAs(ctx, y, 'y'), mask, scale, undefinedRows }),
  );
  return undefined;
}

/**
 * True where batches of all operands that have one, or heads of operands that have no batch, are along axis 0: one is
 * computed like the other.
 */
export const keepsAttentionRows: NonNullable<OpDefinition['keepsRows']> = (node, inputs) => {
  const { shared, dims } = inputs;
  const layouts = (['q', 'k', 'v', 'y'] as const).map((which) => layoutOf(node, which));
  const rank = layouts.some((layout) => layout.includes('b')) ? 4 : 3;
  const leads = (layout: string): boolean => layout[0] === AXES[4 - rank];
  const fits = [0, 1, 2].every((i) => (shared[i] ? rank === 4 && isForAll(layouts[i], dims[i]) : leads(layouts[i])));
  return fits && !shared.slice(0, 3).every(Boolean) && leads(layouts[3]) && alignsRows(inputs, 3, rank);
};

/** True where an operand has no batch, or one for all. */
function isForAll(layout: string, dims: readonly number[]): boolean {
  const axis = layout.indexOf('b');
  return axis < 0 || dims[axis] === 1;
}

export const attentionFusedOps: readonly OpDefinition[] = [
  /**
   * softmax(scale * q k^T + mask) v, heads apart.
   *
   * Inputs: 0 q, 1 k, 2 v; 3 mask (optional), which broadcasts to [b, h, queries, keys] and is added after scaling.
   * All of one float type. Query heads are a multiple of key heads: consecutive query heads share a key head. A batch or
   * number of heads of 1 goes for all, in every operand.
   *
   * Attributes: `q_layout`, `k_layout`, `v_layout`, `y_layout` are the order of the axes of an operand, outermost
   * first, as letters of b(atch), h(eads), s(equence), d (head size); "bhsd" by default. The transposes that split and
   * merge heads are absorbed as "bshd" (a view of [b, s, h * d]), transposed keys as "bhds". Axes left out have size 1
   * (rank 3: "hsd"). `scale` (1 by default) multiplies the products. With `nan_to_zero` = 1 a row whose softmax is not
   * a number (all masked by -Infinity) gives zeros instead of NaN.
   */
  defineOp({
    name: 'Attention',
    domain: 'filigree',
    since: [1],
    inputs: [3, 4],
    outputs: [1, 1],
    attributes: {
      q_layout: 'string',
      k_layout: 'string',
      v_layout: 'string',
      y_layout: 'string',
      scale: 'float',
      nan_to_zero: 'int',
    },
    infer: (ctx) => [tensorType(expectSame(ctx, 3, floatKinds), inferAttention(ctx))],
    reference: attentionReference,
    keepsRows: keepsAttentionRows,
    lower: lowerAttention,
  }),
];

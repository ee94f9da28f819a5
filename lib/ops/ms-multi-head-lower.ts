/** Native lowering of com.microsoft MultiHeadAttention. */

import {
  attentionStep,
  type Placed,
  pastReason,
  placed,
  placedMask,
  UNDEFINED_ROWS,
  withState,
} from './attention-lower.ts';
import type { LowerContext } from './lower.ts';
import { binaryStep, denseOver } from './lower-elementwise.ts';
import { moveStep } from './lower-movement.ts';
import { paddingMaskOf, paddingReason } from './ms-mask-lower.ts';

/** Numbers of the inputs. */
const BIAS = 3;
const MASK = 4;
const ATTENTION_BIAS = 5;
const PAST_KEY = 6;
const PAST_VALUE = 7;

/** Query, key or value: where it lies, and its [batch, heads, length, size]. */
interface Part {
  readonly place: Placed;
  readonly sizes: readonly number[];
  /** Takes its part of the projection bias. */
  readonly biased: boolean;
}

/** Part `index` of input `i`, [batch, length, heads, parts, size]. */
function packedPart(ctx: LowerContext, i: number, index: number): Part {
  const [batch, length, heads, parts, size] = ctx.dims(i);
  const row = heads * parts * size;
  const place: Placed = { operand: ctx.input(i), at: [length * row, parts * size, row, 1, index * size] };
  return { place, sizes: [batch, heads, length, size], biased: true };
}

/** Third `index` of the columns of the packed query. */
function columnPart(ctx: LowerContext, heads: number, index: number): Part {
  const [batch, length, columns] = ctx.dims(0);
  const size = columns / 3 / heads;
  const place: Placed = { operand: ctx.input(0), at: [length * columns, size, columns, 1, (index * columns) / 3] };
  return { place, sizes: [batch, heads, length, size], biased: true };
}

/** Input `i` of its own, token-major at rank 3 and head-major at rank 4. */
function wholePart(ctx: LowerContext, i: number, heads: number): Part {
  const dims = ctx.dims(i);
  const [batch, length, hidden] = dims;
  const tokenMajor = dims.length === 3;
  const sizes = tokenMajor ? [batch, heads, length, hidden / heads] : dims;
  return { place: placed(ctx.input(i), sizes, tokenMajor), sizes, biased: tokenMajor };
}

/** The three operands; undefined where the inputs have another form. */
function partsOf(ctx: LowerContext): readonly Part[] | undefined {
  const heads = ctx.int('num_heads');
  const rank = (i: number): number => (ctx.has(i) ? ctx.dims(i).length : 0);
  const splits = (i: number, factor = 1): boolean => rank(i) === 3 && ctx.dims(i)[2] % (heads * factor) === 0;
  if (rank(0) === 5) {
    const [, , own, parts] = ctx.dims(0);
    return own === heads && parts === 3 && !ctx.has(1) ? [0, 1, 2].map((i) => packedPart(ctx, 0, i)) : undefined;
  }
  if (!ctx.has(1)) return splits(0, 3) ? [0, 1, 2].map((i) => columnPart(ctx, heads, i)) : undefined;
  if (!splits(0)) return undefined;
  const q = wholePart(ctx, 0, heads);
  if (rank(1) === 5) {
    const [, , own, parts] = ctx.dims(1);
    return own === heads && parts === 2 ? [q, packedPart(ctx, 1, 0), packedPart(ctx, 1, 1)] : undefined;
  }
  const apart = (i: number): boolean => rank(i) === 4 || splits(i);
  if (!apart(1) || !apart(2) || rank(1) !== rank(2)) return undefined;
  return [q, wholePart(ctx, 1, heads), wholePart(ctx, 2, heads)];
}

function reasonFor(ctx: LowerContext): string | undefined {
  const odd = [0, 1, 2, BIAS, ATTENTION_BIAS, PAST_KEY, PAST_VALUE].find(
    (i) => ctx.has(i) && ctx.dtype(i) !== 'float32',
  );
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (!ctx.wants(0)) return 'the result is not read';
  if (ctx.wants(3)) return 'the scores are an output';
  if (ctx.has(8) || ctx.has(9)) return 'a shared state buffer';
  if (ctx.has(PAST_KEY) !== ctx.has(PAST_VALUE)) return 'half a past state';
  return ctx.has(MASK) && ctx.has(ATTENTION_BIAS) ? 'a mask beside an attention bias' : undefined;
}

/** The part with its slice of the projection bias added, which begins at `from`. */
function withBias(ctx: LowerContext, part: Part, from: number): Placed {
  if (!ctx.has(BIAS) || !part.biased) return part.place;
  const [batch, heads, length, size] = part.sizes;
  const slice = ctx.scratch('float32', [heads * size]);
  moveStep(ctx, ctx.input(BIAS), slice, { dims: [heads * size], x: [1], y: [1], xOffset: from });
  const { operand, at } = part.place;
  const dims = [batch, length, heads, size];
  // The elementwise kernel has no offset: a packed part is copied first.
  let a = { operand, strides: [at[0], at[2], at[1], at[3]] };
  const y = ctx.scratch('float32', [batch, length, heads * size]);
  if (at[4]) {
    moveStep(ctx, operand, y, { dims, x: a.strides, y: denseOver(dims), xOffset: at[4] });
    a = { operand: y, strides: denseOver(dims) };
  }
  const view = { dims, inputs: [], output: y };
  binaryStep(ctx, 'binary.f32', 'Add', view, [a, { operand: slice, strides: [0, 0, size, 1] }]);
  return placed(y, part.sizes, true);
}

export function lowerMultiHead(ctx: LowerContext): string | undefined {
  const reason = reasonFor(ctx);
  if (reason) return reason;
  const parts = partsOf(ctx);
  if (!parts) return 'operands of another form';
  const [q, k, v] = parts;
  const [batch, heads, queries, headSize] = q.sizes;
  const valueSize = v.sizes[3];
  const [kWant, vWant] = [headSize, valueSize].map((size) => [batch, heads, k.sizes[2], size].join());
  if (k.sizes.join() !== kWant || v.sizes.join() !== vWant) return 'operands that do not fit';
  const hidden = heads * headSize;
  if (ctx.has(BIAS) && ctx.dims(BIAS)[0] < 2 * hidden + heads * valueSize) return 'a bias that does not fit';
  const state = pastReason(ctx, PAST_KEY, k.sizes) ?? pastReason(ctx, PAST_VALUE, v.sizes);
  if (state) return state;
  const past = ctx.has(PAST_KEY) ? ctx.dims(PAST_KEY)[2] : 0;
  const keys = past + k.sizes[2];
  const sizes = { batch, heads, kvHeads: heads, queries, keys, headSize, valueSize };
  const padding = paddingReason(ctx, MASK, sizes);
  if (padding) return padding;
  const bias = ctx.has(ATTENTION_BIAS) ? placedMask(ctx.input(ATTENTION_BIAS), sizes) : undefined;
  if (ctx.has(ATTENTION_BIAS) && !bias) return 'an attention bias of another form';
  const mask = ctx.has(MASK) ? paddingMaskOf(ctx, MASK, sizes) : bias;
  attentionStep(ctx, {
    sizes,
    q: withBias(ctx, q, 0),
    k: withState(ctx, withBias(ctx, k, hidden), k.sizes, { past: PAST_KEY, present: 1 }),
    v: withState(ctx, withBias(ctx, v, 2 * hidden), v.sizes, { past: PAST_VALUE, present: 2 }),
    y: placed(ctx.output(0), [batch, heads, queries, valueSize], true),
    mask,
    hidden: ctx.float('mask_filter_value', -10000),
    causal: ctx.int('unidirectional', 0) ? past : undefined,
    scale: ctx.float('scale', 0) || 1 / Math.sqrt(headSize),
    undefinedRows: UNDEFINED_ROWS.hiddenZero,
  });
  return undefined;
}

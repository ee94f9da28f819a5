/** Native attention: one kernel for every operator that reduces to softmax(scale * q k^T + mask) v. */

import { broadcastStrides } from '../ir/shape.ts';
import type { AttentionSizes } from './attention-core.ts';
import type { LowerContext, Operand } from './lower.ts';
import { moveStep } from './lower-movement.ts';

/** Strides along batch, heads, sequence and size, and where the operand begins, in elements. */
export type Place = readonly [number, number, number, number, number];

/** An operand with how its four axes lie in it. */
export interface Placed {
  readonly operand: Operand;
  readonly at: Place;
}

/** Rows that have no softmax: NaN, zeros, or zeros where all keys are hidden and NaN where a score is NaN. */
export const UNDEFINED_ROWS = { nan: 0, zero: 1, hiddenZero: 2 } as const;

const maskKinds: Readonly<Record<string, number>> = { float32: 0, bool: 1, int32: 2 };

export interface NativeAttention {
  readonly sizes: AttentionSizes;
  readonly q: Placed;
  readonly k: Placed;
  readonly v: Placed;
  readonly y: Placed;
  /** Along batch, heads, queries and keys; float32 is added, bool and int32 hide where not positive. */
  readonly mask?: Placed;
  /** What a hiding mask adds. */
  readonly hidden?: number;
  /** Query i sees keys up to i + causal. */
  readonly causal?: number;
  /** Keys that a query of causal attention sees at most; 0 or undefined for all. */
  readonly window?: number;
  /** int32 [batch]: each entry's last key. */
  readonly last?: Operand;
  /** The last query sees the last key, instead of what `causal` says. */
  readonly trailing?: boolean;
  /** [heads]: logits in the denominators alone. */
  readonly sinks?: Operand;
  readonly scale: number;
  readonly softcap?: number;
  readonly undefinedRows: number;
}

/** Why a mask of this type is no kernel's. */
export function maskReason(ctx: LowerContext, i: number): string | undefined {
  if (!ctx.has(i) || ctx.dtype(i) in maskKinds) return undefined;
  return `a mask of ${ctx.dtype(i)}`;
}

/** Dense operand of [batch, heads, length, size], or of [batch, length, heads, size] where `tokenMajor`. */
export function placed(operand: Operand, sizes: readonly number[], tokenMajor: boolean): Placed {
  const [, heads, length, size] = sizes;
  const [head, row] = tokenMajor ? [size, heads * size] : [length * size, size];
  return { operand, at: [heads * length * size, head, row, 1, 0] };
}

/** Strides of a mask of these dims over [batch, heads, queries, keys]; undefined where it does not broadcast to them. */
export function maskStrides(
  dims: readonly number[],
  { batch, heads, queries, keys }: AttentionSizes,
): readonly number[] | undefined {
  const whole = [batch, heads, queries, keys];
  const lead = 4 - dims.length;
  if (lead < 0 || dims.some((dim, i) => dim !== 1 && dim !== whole[lead + i])) return undefined;
  return broadcastStrides(dims, whole);
}

/** A mask that broadcasts to [batch, heads, queries, keys]; undefined where it does not. */
export function placedMask(operand: Operand, sizes: AttentionSizes): Placed | undefined {
  const strides = maskStrides(operand.dims, sizes);
  if (!strides) return undefined;
  const [b, h, q, k] = strides;
  return { operand, at: [b, h, q, k, 0] };
}

/**
 * Keys or values with the past before them: where the fresh ones lie if nobody wants the state, else gathered
 * head-major into output `present` or a temporary. `fresh` sizes are [batch, heads, length, size].
 */
export function withState(
  ctx: LowerContext,
  fresh: Placed,
  sizes: readonly number[],
  { past, present }: { readonly past: number; readonly present: number },
): Placed {
  const wanted = ctx.wants(present);
  if (!ctx.has(past) && !wanted) return fresh;
  const [batch, heads, length, size] = sizes;
  const before = ctx.has(past) ? ctx.dims(past)[2] : 0;
  const total = before + length;
  const whole = [batch, heads, total, size];
  const y = wanted ? ctx.output(present) : ctx.scratch('float32', whole);
  const lies = placed(y, whole, false);
  const to = lies.at.slice(0, 4);
  if (before) {
    const x = [heads * before * size, before * size, size, 1];
    moveStep(ctx, ctx.input(past), y, { dims: [batch, heads, before, size], x, y: to });
  }
  const { operand, at } = fresh;
  moveStep(ctx, operand, y, { dims: sizes, x: at.slice(0, 4), y: to, xOffset: at[4], yOffset: before * size });
  return lies;
}

/** Why the past state of input `i` is not one that the kernels read, its fresh part being of these sizes. */
export function pastReason(
  ctx: LowerContext,
  i: number,
  [batch, heads, , size]: readonly number[],
): string | undefined {
  if (!ctx.has(i)) return undefined;
  const dims = ctx.dims(i);
  const fits = dims.length === 4 && dims[0] === batch && dims[1] === heads && dims[3] === size;
  return fits ? undefined : 'a past state of another shape';
}

export function attentionStep(ctx: LowerContext, a: NativeAttention): void {
  const { batch, heads, kvHeads, queries, keys, headSize, valueSize } = a.sizes;
  const [q, k, v, mask, y] = [a.q, a.k, a.v, a.mask, a.y].map((place) => place?.operand ?? null);
  ctx.step('attention.f32', [q, k, v, mask, a.last ?? null, a.sinks ?? null, y], {
    ...{ batch, heads, kv_heads: kvHeads, queries, keys, head_size: headSize, value_size: valueSize },
    ...{ causal: a.causal === undefined ? 0 : 1, causal_offset: a.causal ?? 0 },
    mask_kind: maskKinds[a.mask?.operand.dtype ?? 'float32'],
    ...{ trailing: a.trailing ?? false, window: a.window ?? 0 },
    ...{ undefined_rows: a.undefinedRows, scale: a.scale, softcap: a.softcap ?? 0 },
    hidden: a.hidden ?? Number.NEGATIVE_INFINITY,
    ...{ q: a.q.at, k: a.k.at, v: a.v.at, y: a.y.at, mask: a.mask?.at ?? [0, 0, 0, 0, 0] },
  });
}

/** Axes of operators: from an attribute in old versions, from an input in new ones. */

import type { Shape } from '../ir/shape.ts';
import { type InferContext, type NodeReader, normalizeAxis, type ReferenceContext } from './op.ts';

/** Non-negative, distinct axes; throws for one outside the rank or given twice. */
export function normalizeAxes(ctx: NodeReader, axes: readonly number[], rank: number): number[] {
  const out = axes.map((axis) => normalizeAxis(ctx, axis, rank));
  if (new Set(out).size !== out.length) throw ctx.error(`axes [${axes.join(',')}] name an axis twice`);
  return out;
}

/**
 * Integers that are the attribute `name` before version `since` and input `i` from there on. `undefined` where
 * neither is given, null where the input's content is not known yet.
 */
export function inferIntegers(
  ctx: NodeReader & Pick<InferContext, 'integers'>,
  name: string,
  i: number,
  since: number,
): readonly number[] | undefined | null {
  if (ctx.version < since) return ctx.hasAttribute(name) ? ctx.ints(name) : undefined;
  if (!ctx.has(i)) return undefined;
  return ctx.integers(i) ?? null;
}

/** The same at run time, where every input is known. */
export function readIntegers(
  ctx: ReferenceContext,
  name: string,
  i: number,
  since: number,
): readonly number[] | undefined {
  if (ctx.version < since) return ctx.hasAttribute(name) ? ctx.ints(name) : undefined;
  return ctx.has(i) ? ctx.integers(i) : undefined;
}

/** A shape of `rank` unknown dimensions. */
export function unknownDims(rank: number): null[] {
  return new Array<null>(rank).fill(null);
}

/** No tensor has more axes; larger counts come from broken models. */
const MAX_RANK = 4096;

/** Number of entries of a known 1-D input that holds a shape or axes, else undefined. */
export function vectorLength(shape: Shape | undefined): number | undefined {
  const length = shape?.length === 1 ? shape[0] : undefined;
  return typeof length === 'number' && length <= MAX_RANK ? length : undefined;
}

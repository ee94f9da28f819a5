/** Shapes: lists of dimensions, each a number, a symbol or unknown. */

/** A dimension: a size, the name of a symbolic size, or null where nothing is known. */
export type Dim = number | string | null;

/** A shape of known rank. */
export type Shape = readonly Dim[];

/** Begins the symbols of sizes that are not known: one for each, so that what follows can tell them equal. */
export const FRESH = '?';

/** True for a size that inference has given a symbol of its own. */
export const isFresh = (dim: Dim): boolean => typeof dim === 'string' && dim.startsWith(FRESH);

/** The most elements a tensor may have: offsets stay exact in double arithmetic. */
export const MAX_ELEMENTS = 2 ** 52;

/** True where every dimension is a number. */
export function isConcrete(shape: Shape | undefined): shape is readonly number[] {
  return shape?.every((dim) => typeof dim === 'number') ?? false;
}

/** Number of elements; Infinity-safe because sizes are checked on entry. The empty product is 1. */
export function sizeOf(dims: readonly number[]): number {
  let size = 1;
  for (const dim of dims) size *= dim;
  return size;
}

/** Number of elements of `dims[from..to)`. */
export function sizeBetween(dims: readonly number[], from: number, to: number): number {
  let size = 1;
  for (let i = from; i < to; i++) size *= dims[i];
  return size;
}

/** Row-major strides in elements. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length);
  let stride = 1;
  for (let i = dims.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return strides;
}

/** True where the dimensions are equal, one by one. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** `[2,"batch",?]`: for messages. */
export function shapeText(shape: Shape | undefined): string {
  if (!shape) return '[unknown rank]';
  return `[${shape.map((dim) => (dim === null ? '?' : String(dim))).join(',')}]`;
}

/**
 * The shape of an elementwise operation under multidirectional broadcasting.
 * Returns undefined where two sizes cannot meet. Unknown sizes against a size other than 1 take that size.
 */
export function broadcastShapes(shapes: readonly Shape[]): Dim[] | undefined {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const out: Dim[] = new Array(rank).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const at = rank - shape.length + i;
      const merged = broadcastDim(out[at], shape[i]);
      if (merged === undefined) return undefined;
      out[at] = merged;
    }
  }
  return out;
}

function broadcastDim(a: Dim, b: Dim): Dim | undefined {
  if (a === b) return a;
  if (a === 1) return b;
  if (b === 1) return a;
  if (typeof a === 'number' && typeof b === 'number') return undefined;
  if (typeof a === 'number') return a;
  if (typeof b === 'number') return b;
  return null;
}

/** Strides in elements that walk a tensor of `dims` along the broadcast shape `to`: 0 where it repeats. */
export function broadcastStrides(dims: readonly number[], to: readonly number[]): number[] {
  const own = stridesOf(dims);
  const lead = to.length - dims.length;
  return to.map((_, i) => (i < lead || dims[i - lead] === 1 ? 0 : own[i - lead]));
}

/** Arithmetic on dimensions that may be symbols or unknown. */

import type { Dim, Shape } from '../ir/shape.ts';

/** The sum, unknown unless every term is a number (or there is one term beside zeros). */
export function addDims(...dims: readonly Dim[]): Dim {
  const rest = dims.filter((dim) => dim !== 0);
  if (rest.length === 1) return rest[0];
  return rest.every((dim) => typeof dim === 'number') ? rest.reduce((sum, dim) => sum + dim, 0) : null;
}

/** The product, unknown unless every factor is a number (or there is one factor beside ones). */
export function multiplyDims(...dims: readonly Dim[]): Dim {
  if (dims.includes(0)) return 0;
  const rest = dims.filter((dim) => dim !== 1);
  if (rest.length === 1) return rest[0];
  return rest.every((dim) => typeof dim === 'number') ? rest.reduce((product, dim) => product * dim, 1) : null;
}

/** The quotient, rounded down; unknown unless `dim` is a number (or the divisor is 1). */
export function divideDim(dim: Dim, divisor: number): Dim {
  if (divisor === 1) return dim;
  return typeof dim === 'number' && divisor > 0 ? Math.floor(dim / divisor) : null;
}

/** Dimension `i` of a shape; negative counts from the end; unknown where the shape is. */
export function dimAt(shape: Shape | undefined, i: number): Dim {
  return shape?.at(i) ?? null;
}

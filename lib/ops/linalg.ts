/** Linear algebra: determinants. */

import { tensorType } from '../ir/graph.ts';
import { type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { expectKind, floatKinds } from './elements.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** The stack's dimensions, undefined where the input's shape is. */
function stackOf(ctx: NodeReader, x: Shape | undefined): Shape | undefined {
  if (!x) return undefined;
  const [rows, columns] = x.slice(-2);
  const square = typeof rows !== 'number' || typeof columns !== 'number' || rows === columns;
  if (x.length < 2 || !square) throw ctx.error(`input 0 is ${shapeText(x)}, expected square matrices`);
  return x.slice(0, -2);
}

/** Determinant of a row-major n x n matrix by elimination with row pivots. Changes `a`. */
function determinant(a: Float64Array, n: number): number {
  let result = 1;
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let r = c + 1; r < n; r++) if (Math.abs(a[r * n + c]) > Math.abs(a[pivot * n + c])) pivot = r;
    const lead = a[pivot * n + c];
    if (lead === 0) return 0;
    if (pivot !== c) {
      result = -result;
      for (let j = c; j < n; j++) [a[c * n + j], a[pivot * n + j]] = [a[pivot * n + j], a[c * n + j]];
    }
    result *= lead;
    for (let r = c + 1; r < n; r++) {
      const factor = a[r * n + c] / lead;
      for (let j = c; j < n; j++) a[r * n + j] -= factor * a[c * n + j];
    }
  }
  return result;
}

function det(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const dims = stackOf(ctx, x.dims) as number[];
  const n = x.dims[x.dims.length - 1];
  const values = toNumbers(x);
  const y = Array.from({ length: sizeOf(dims) }, (_, i) => determinant(values.slice(i * n * n, (i + 1) * n * n), n));
  return [fromNumbers(x.dtype, dims, y)];
}

export const linalgOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Det',
    since: [11, 22],
    inputs: [1, 1],
    outputs: [1, 1],
    infer: (ctx) => [tensorType(expectKind(ctx, 0, floatKinds), stackOf(ctx, ctx.shape(0)))],
    reference: det,
  }),
];

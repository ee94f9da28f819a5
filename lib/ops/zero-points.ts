/** Operands of integer products: elements with their zero points taken off. */

import { broadcastStrides, shapeText, sizeOf } from '../ir/shape.ts';
import { type HostTensor, toNumbers } from '../ir/tensor.ts';
import { forEachRow } from './broadcast.ts';
import { numbersOf } from './elements.ts';
import type { NodeReader } from './op.ts';

/** A parameter's dims as they broadcast to a matrix operand: a vector goes down the rows or along the columns. */
function parameterDims(
  ctx: NodeReader,
  what: string,
  t: HostTensor,
  dims: readonly number[],
  side: 'rows' | 'columns',
): readonly number[] {
  if (sizeOf(t.dims) === 1) return [];
  const want = t.dims.length === 1 && side === 'rows' ? [...t.dims, 1] : t.dims;
  const lead = dims.length - want.length;
  if (lead < 0 || want.some((dim, i) => dim !== 1 && dim !== dims[lead + i])) {
    throw ctx.error(`the ${what} is ${shapeText(t.dims)}, which does not fit the ${side} of ${shapeText(dims)}`);
  }
  return want;
}

/** One number of `t` for every element of `dims`. */
export function spreadParameter(
  ctx: NodeReader,
  what: string,
  t: HostTensor,
  dims: readonly number[],
  side: 'rows' | 'columns',
): Float64Array {
  const own = parameterDims(ctx, what, t, dims, side);
  const values = numbersOf(t);
  const out = new Float64Array(sizeOf(dims));
  forEachRow(dims, [broadcastStrides(own, dims)], (at, count, [from], [step]) => {
    for (let i = 0; i < count; i++) out[at + i] = values[from + i * step];
  });
  return out;
}

/** The matrix operand `t` minus its zero point, exact in double. */
export function shiftMatrix(
  ctx: NodeReader,
  t: HostTensor,
  zero: HostTensor | undefined,
  side: 'rows' | 'columns',
): Float64Array {
  const out = Float64Array.from(toNumbers(t));
  if (!zero) return out;
  const shift = spreadParameter(ctx, 'zero point', zero, t.dims, side);
  for (let i = 0; i < out.length; i++) out[i] -= shift[i];
  return out;
}

/** The convolution operand `t` minus its zero point: one number, or one for every slice along the first axis. */
export function shiftSlices(
  ctx: NodeReader,
  t: HostTensor,
  zero: HostTensor | undefined,
  single: boolean,
): Float64Array {
  const out = Float64Array.from(toNumbers(t));
  if (!zero) return out;
  const values = numbersOf(zero);
  if (values.length !== 1 && (single || values.length !== t.dims[0])) {
    throw ctx.error(
      `the zero point is ${shapeText(zero.dims)}, expected one number${single ? '' : ` or [${t.dims[0]}]`}`,
    );
  }
  const slice = out.length / values.length;
  for (let i = 0; i < out.length; i++) out[i] -= values[Math.floor(i / slice)];
  return out;
}

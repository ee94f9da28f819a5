/** Key-value states of the com.microsoft attention operators: joining past and new, and the projections before. */

import { shapeText } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { joinInner } from './attention-core.ts';
import type { NodeReader } from './op.ts';

/** Head-major data: [batch, heads, length, size]. */
export interface HeadMajor {
  readonly data: Float64Array;
  readonly dims: readonly number[];
}

/** `shared` past buffers are longer than what they hold: `length` is how much is valid. */
export interface Past {
  readonly data: Float64Array;
  readonly dims: readonly number[];
  readonly shared?: { readonly length: number };
}

/** What attention reads, and the state that the node gives back. */
export interface Joined {
  readonly all: HeadMajor;
  readonly present: HeadMajor;
}

/** Puts the new rows behind the past ones. */
export function joinPast(ctx: NodeReader, past: Past | undefined, x: HeadMajor): Joined {
  if (!past) return { all: x, present: x };
  const [batch, heads, length, size] = x.dims;
  const [pb, ph, capacity, ps] = past.dims;
  if (past.dims.length !== 4 || pb !== batch || ph !== heads || ps !== size) {
    throw ctx.error(`past state of shape ${shapeText(past.dims)}, expected [${batch},${heads},past,${size}]`);
  }
  const held = past.shared ? past.shared.length : capacity;
  if (held < 0 || held > capacity || (past.shared && held + length > capacity)) {
    throw ctx.error(`past length ${held} and ${length} new rows do not fit the shared buffer of ${capacity} rows`);
  }
  const head = past.shared ? rows(past, held) : past.data;
  const all = {
    data: joinInner(head, held * size, x.data, length * size),
    dims: [batch, heads, held + length, size],
  };
  if (!past.shared) return { all, present: all };
  const present = past.data.slice();
  for (let bh = 0; bh < batch * heads; bh++) {
    const from = x.data.subarray(bh * length * size, (bh + 1) * length * size);
    present.set(from, (bh * capacity + held) * size);
  }
  return { all, present: { data: present, dims: past.dims } };
}

/** The first `count` rows of every head. */
function rows(x: HeadMajor, count: number): Float64Array {
  const [batch, heads, length, size] = x.dims;
  const out = new Float64Array(batch * heads * count * size);
  for (let bh = 0; bh < batch * heads; bh++) {
    out.set(x.data.subarray(bh * length * size, (bh * length + count) * size), bh * count * size);
  }
  return out;
}

/** Columns [from, from + width) of a matrix of `columns` columns. */
export function columnsOf(x: Float64Array, columns: number, from: number, width: number): Float64Array {
  const count = columns ? x.length / columns : 0;
  const out = new Float64Array(count * width);
  for (let r = 0; r < count; r++) out.set(x.subarray(r * columns + from, r * columns + from + width), r * width);
  return out;
}

/** Adds `bias[from, from + columns)` to every row, in place. */
export function addBias(x: Float64Array, columns: number, bias: Float64Array, from: number): void {
  for (let i = 0; i < x.length; i++) x[i] += bias[from + (i % columns)];
}

/** `[rows, inner] x [inner, columns]`. */
export function multiply(a: Float64Array, b: Float64Array, inner: number, columns: number): Float64Array {
  const count = inner ? a.length / inner : 0;
  const out = new Float64Array(count * columns);
  for (let r = 0; r < count; r++) {
    const row = out.subarray(r * columns, (r + 1) * columns);
    for (let k = 0; k < inner; k++) {
      const factor = a[r * inner + k];
      const at = k * columns;
      for (let c = 0; c < columns; c++) row[c] += factor * b[at + c];
    }
  }
  return out;
}

/** Checks that a tensor has a shape; -1 leaves a dimension free. */
export function expectDims(ctx: NodeReader, t: HostTensor, wanted: readonly number[], what: string): void {
  const fits = t.dims.length === wanted.length && t.dims.every((dim, i) => wanted[i] === -1 || wanted[i] === dim);
  if (fits) return;
  const text = wanted.map((dim) => (dim === -1 ? '?' : dim)).join(',');
  throw ctx.error(`${what} has shape ${shapeText(t.dims)}, expected [${text}]`);
}

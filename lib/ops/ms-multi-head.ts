/** com.microsoft MultiHeadAttention. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { type AttentionSizes, attend, swapMiddle } from './attention-core.ts';
import { addDims, dimAt, divideDim, multiplyDims } from './dims.ts';
import { alignsRows } from './keeps-rows.ts';
import { type Additive, biasHook, paddingMask } from './ms-attention-mask.ts';
import { columnsOf, expectDims, type HeadMajor, joinPast, type Past } from './ms-attention-state.ts';
import { lowerMultiHead } from './ms-multi-head-lower.ts';
import { defineOp, type InferContext, type NodeReader, type ReferenceContext } from './op.ts';

/** Which inputs of a node hold what; the decoder's operator orders them otherwise. */
export interface MultiHeadInputs {
  readonly bias: number;
  readonly mask: number;
  readonly attentionBias: number;
  readonly pastKey: number;
  readonly pastValue: number;
  readonly pastLength: number;
}

const inputs: MultiHeadInputs = { bias: 3, mask: 4, attentionBias: 5, pastKey: 6, pastValue: 7, pastLength: 8 };

/** Output types of multi-head attention. A rank-3 query alone is packed [batch, length, q + k + v hidden]. */
export function inferMultiHead(ctx: InferContext, at: MultiHeadInputs): (ValueType | undefined)[] {
  const dtype = ctx.dtype(0);
  const heads = ctx.int('num_heads');
  const [q, k, v] = [ctx.shape(0), ctx.shape(1), ctx.shape(2)];
  const sizes = q && inferSizes(heads, q, ctx.has(1) ? k : undefined, ctx.has(2) ? v : undefined, ctx.has(1));
  if (!sizes) return [0, 1, 2, 3].map(() => tensorType(dtype, undefined));
  const past = ctx.has(at.pastKey) ? dimAt(ctx.shape(at.pastKey), 2) : 0;
  const shared = ctx.has(at.pastKey) && sharesBuffer(ctx, at.pastLength);
  const total = addDims(past, sizes.keys);
  const kept = shared ? past : total;
  return [
    tensorType(dtype, [sizes.batch, sizes.length, multiplyDims(heads, sizes.valueSize)]),
    tensorType(dtype, [sizes.batch, heads, kept, sizes.headSize]),
    tensorType(dtype, [sizes.batch, heads, kept, sizes.valueSize]),
    tensorType(dtype, [sizes.batch, heads, sizes.length, shared ? null : total]),
  ];
}

/** True where past and present are one buffer that is longer than what it holds. */
function sharesBuffer(ctx: NodeReader, lengthInput: number): boolean {
  return ctx.has(lengthInput) && (ctx.op === 'MultiHeadAttention' || ctx.int('past_present_share_buffer', 0) !== 0);
}

interface InferredSizes {
  readonly batch: Dim;
  readonly length: Dim;
  readonly keys: Dim;
  readonly headSize: Dim;
  readonly valueSize: Dim;
}

function inferSizes(heads: number, q: Shape, k: Shape | undefined, v: Shape | undefined, hasKey: boolean) {
  const [batch, length] = [dimAt(q, 0), dimAt(q, 1)];
  const sizes = (keys: Dim, headSize: Dim, valueSize: Dim): InferredSizes => ({
    batch,
    length,
    keys,
    headSize,
    valueSize,
  });
  if (q.length === 5) return sizes(length, q[4], q[4]);
  if (!hasKey) {
    const size = divideDim(dimAt(q, 2), 3 * heads);
    return sizes(length, size, size);
  }
  const headSize = divideDim(dimAt(q, 2), heads);
  if (k?.length === 5) return sizes(k[1], headSize, k[4]);
  if (k?.length === 4) return v?.length === 4 ? sizes(k[2], headSize, v[3]) : undefined;
  if (!k || !v) return undefined;
  return sizes(k[1], headSize, divideDim(dimAt(v, 2), heads));
}

/** [batch, length, hidden] data as head-major. */
function split(ctx: NodeReader, data: Float64Array, dims: readonly number[], heads: number, what: string): HeadMajor {
  const [batch, length, hidden] = dims;
  if (dims.length !== 3 || heads <= 0 || hidden % heads !== 0) {
    throw ctx.error(`${what} has shape ${shapeText(dims)}, expected rank 3 with a multiple of ${heads} columns`);
  }
  const size = hidden / heads;
  return { data: swapMiddle(data, batch, length, heads, size), dims: [batch, heads, length, size] };
}

/** Part `index` of [batch, length, heads, parts, size]. */
function packedPart(t: HostTensor, index: number): HeadMajor {
  const [batch, length, heads, parts, size] = t.dims;
  const data = columnsOf(toNumbers(t), parts * size, index * size, size);
  return { data: swapMiddle(data, batch, length, heads, size), dims: [batch, heads, length, size] };
}

/** Adds the slice of the projection bias that starts at `from`, per head and element. */
function biased(x: HeadMajor, bias: Float64Array | undefined, from: number): HeadMajor {
  if (!bias) return x;
  const [, heads, length, size] = x.dims;
  const data = x.data.map((value, i) => {
    const h = Math.floor(i / (length * size)) % heads;
    return value + bias[from + h * size + (i % size)];
  });
  return { data, dims: x.dims };
}

/** Query, key and value, biased, before any past. */
export function projections(ctx: ReferenceContext, biasInput: number): [HeadMajor, HeadMajor, HeadMajor] {
  const heads = ctx.int('num_heads');
  const query = ctx.tensor(0);
  const [key, value] = [ctx.optional(1), ctx.optional(2)];
  const biasTensor = ctx.optional(biasInput);
  const bias = biasTensor && toNumbers(biasTensor);
  let parts: [HeadMajor, HeadMajor, HeadMajor];
  let biasKeys = true;
  if (query.dims.length === 5) {
    expectDims(ctx, query, [-1, -1, heads, 3, -1], 'the packed query');
    parts = [packedPart(query, 0), packedPart(query, 1), packedPart(query, 2)];
  } else if (!key) {
    const columns = query.dims[2];
    const data = toNumbers(query);
    const third = columns / 3;
    const dims = [query.dims[0], query.dims[1], third];
    const piece = (i: number): HeadMajor =>
      split(ctx, columnsOf(data, columns, i * third, third), dims, heads, 'a third of the packed query');
    if (!Number.isInteger(third)) throw ctx.error(`the packed query has ${columns} columns, no multiple of 3`);
    parts = [piece(0), piece(1), piece(2)];
  } else {
    const q = split(ctx, toNumbers(query), query.dims, heads, 'the query');
    if (key.dims.length === 5) {
      expectDims(ctx, key, [-1, -1, heads, 2, -1], 'the packed key');
      parts = [q, packedPart(key, 0), packedPart(key, 1)];
    } else {
      if (!value) throw ctx.error('a key of this form needs a value');
      const done = key.dims.length === 4;
      biasKeys = !done;
      const headMajor = (t: HostTensor, what: string): HeadMajor =>
        done ? { data: toNumbers(t), dims: t.dims } : split(ctx, toNumbers(t), t.dims, heads, what);
      parts = [q, headMajor(key, 'the key'), headMajor(value, 'the value')];
    }
  }
  const hidden = parts[0].dims[1] * parts[0].dims[3];
  const [q, k, v] = parts;
  if (bias && bias.length < hidden * 2 + v.dims[1] * v.dims[3]) throw ctx.error(`bias has ${bias.length} entries`);
  if (!biasKeys) return [biased(q, bias, 0), k, v];
  return [biased(q, bias, 0), biased(k, bias, hidden), biased(v, bias, 2 * hidden)];
}

function pastOf(ctx: ReferenceContext, input: number, lengthInput: number): Past | undefined {
  const t = ctx.optional(input);
  if (!t) return undefined;
  const shared = sharesBuffer(ctx, lengthInput) ? { length: ctx.integers(lengthInput)[0] } : undefined;
  return { data: toNumbers(t), dims: t.dims, shared };
}

function checkedSizes(ctx: NodeReader, q: HeadMajor, k: HeadMajor, v: HeadMajor): AttentionSizes {
  const [batch, heads, queries, headSize] = q.dims;
  const keys = k.dims[2];
  const same = (x: HeadMajor): boolean => x.dims[0] === batch && x.dims[1] === heads && x.dims[2] === keys;
  if (!same(k) || !same(v) || k.dims[3] !== headSize) {
    const text = [q, k, v].map((x) => shapeText(x.dims)).join(', ');
    throw ctx.error(`query, key and value of shapes ${text} (batch, heads, length, size) do not fit together`);
  }
  return { batch, heads, kvHeads: heads, queries, keys, headSize, valueSize: v.dims[3] };
}

/** Multi-head attention over separate or packed inputs. `causal` hides later keys. */
export function attendMultiHead(ctx: ReferenceContext, at: MultiHeadInputs, causal: boolean): HostValue[] {
  const [q, newKey, newValue] = projections(ctx, at.bias);
  const k = joinPast(ctx, pastOf(ctx, at.pastKey, at.pastLength), newKey);
  const v = joinPast(ctx, pastOf(ctx, at.pastValue, at.pastLength), newValue);
  const sizes = checkedSizes(ctx, q, k.all, v.all);
  const { batch, heads, queries, keys, valueSize } = sizes;
  const mask: Additive | undefined = paddingMask(ctx, ctx.optional(at.mask), {
    sizes,
    past: keys - newKey.dims[2],
    causal,
    filter: ctx.float('mask_filter_value', -10000),
  });
  const into = ctx.wants(3) ? new Float64Array(batch * heads * queries * keys) : undefined;
  const y = attend({
    sizes,
    q: q.data,
    k: k.all.data,
    v: v.all.data,
    scale: ctx.float('scale', 0) || 1 / Math.sqrt(sizes.headSize),
    bias: biasHook(ctx, sizes, mask, ctx.optional(at.attentionBias)),
    capture: into && { stage: 'biased', into },
  });
  const dtype = ctx.tensor(0).dtype;
  const merged = swapMiddle(y, batch, heads, queries, valueSize);
  const outputs: HostValue[] = [
    fromNumbers(dtype, [batch, queries, heads * valueSize], merged),
    fromNumbers(dtype, k.present.dims, k.present.data),
    fromNumbers(dtype, v.present.dims, v.present.data),
  ];
  if (into) outputs.push(fromNumbers(dtype, [batch, heads, queries, keys], into));
  return outputs;
}

export const multiHeadAttention = defineOp({
  name: 'MultiHeadAttention',
  domain: 'com.microsoft',
  since: [1],
  inputs: [1, 10],
  outputs: [1, 4],
  attributes: { mask_filter_value: 'float', num_heads: 'int', scale: 'float', unidirectional: 'int' },
  infer: (ctx) => inferMultiHead(ctx, inputs),
  // Query, key, value, bias of the projections, padding, bias of the scores, past keys and values.
  keepsRows: (node, rows) =>
    [0, 1, 2, 4, 6, 7].every((i) => !node.has(i) || !rows.shared[i]) &&
    (!node.has(3) || rows.shared[3]) &&
    alignsRows(rows, 5, 4) &&
    !node.has(8) &&
    !node.has(9),
  reference: (ctx) => attendMultiHead(ctx, inputs, ctx.int('unidirectional', 0) !== 0),
  lower: lowerMultiHead,
});

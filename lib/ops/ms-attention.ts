/** com.microsoft Attention: fused projection and attention; and the table of its family. */

import type { DType } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { type AttentionSizes, attend, swapMiddle } from './attention-core.ts';
import { addDims, dimAt } from './dims.ts';
import { alignsRows } from './keeps-rows.ts';
import { lowerMicrosoftAttention, lowerProjectedAttention } from './ms-attention-lower.ts';
import { biasHook, paddingMask } from './ms-attention-mask.ts';
import { columnsOf, type HeadMajor, joinPast, multiply, type Past } from './ms-attention-state.ts';
import { decoderMaskedAttention } from './ms-decoder-attention.ts';
import { groupQueryAttention } from './ms-group-query.ts';
import { multiHeadAttention } from './ms-multi-head.ts';
import { msStateOps } from './ms-state.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** What hides a padded key unless the node says otherwise. */
export const MASK_FILTER = -10000;

/** Hidden sizes of query, key and value in the columns of projected data. */
function hiddenSizes(ctx: NodeReader, columns: number): readonly [number, number, number] {
  const heads = ctx.int('num_heads');
  const given = ctx.hasAttribute('qkv_hidden_sizes') ? ctx.ints('qkv_hidden_sizes') : [];
  const [q, k, v] = given.length ? given : [columns / 3, columns / 3, columns / 3];
  const fits = heads > 0 && q + k + v === columns && q === k && [q, k, v].every((n) => n > 0 && n % heads === 0);
  if (!fits) {
    throw ctx.error(`${columns} projected columns do not split into query, key and value of ${heads} heads`);
  }
  return [q, k, v];
}

function pastOf(ctx: ReferenceContext, past: HostTensor | undefined, lengthInput: number): [Past?, Past?] {
  if (!past) return [];
  if (past.dims.length !== 5 || past.dims[0] !== 2) {
    throw ctx.error(`past has shape ${shapeText(past.dims)}, expected [2,batch,heads,length,size]`);
  }
  const data = toNumbers(past);
  const dims = past.dims.slice(1);
  const half = data.length / 2;
  const share = ctx.int('past_present_share_buffer', 0) !== 0;
  if (share && !ctx.has(lengthInput)) throw ctx.error('past_present_share_buffer needs past_sequence_length');
  const shared = share ? { length: ctx.integers(lengthInput)[0] } : undefined;
  return [
    { data: data.subarray(0, half), dims, shared },
    { data: data.subarray(half), dims, shared },
  ];
}

/** Inputs of attention on projected data; the numbers say which input of the node holds them. */
export interface ProjectedInputs {
  readonly mask?: HostTensor;
  readonly past?: HostTensor;
  readonly bias?: HostTensor;
  /** Input with the valid length of a shared past buffer. */
  readonly pastLengthInput: number;
}

/**
 * Attention on data of [batch, length, q + k + v hidden]: gives the output and the state of both, as
 * com.microsoft Attention and QAttention do.
 */
export function attendProjected(
  ctx: ReferenceContext,
  qkv: Float64Array,
  dims: readonly [number, number, number],
  inputs: ProjectedInputs,
): { y: Float64Array; yDims: number[]; present: Float64Array; presentDims: number[] } {
  if (ctx.int('do_rotary', 0) !== 0) throw ctx.error('the attribute do_rotary is not supported');
  const [batch, length, columns] = dims;
  const heads = ctx.int('num_heads');
  const [qHidden, kHidden, vHidden] = hiddenSizes(ctx, columns);
  const part = (from: number, width: number): HeadMajor => {
    const data = columnsOf(qkv, columns, from, width);
    const size = width / heads;
    return { data: swapMiddle(data, batch, length, heads, size), dims: [batch, heads, length, size] };
  };
  const q = part(0, qHidden);
  const [pastKey, pastValue] = pastOf(ctx, inputs.past, inputs.pastLengthInput);
  const k = joinPast(ctx, pastKey, part(qHidden, kHidden));
  const v = joinPast(ctx, pastValue, part(qHidden + kHidden, vHidden));
  const keys = k.all.dims[2];
  const sizes: AttentionSizes = {
    batch,
    heads,
    kvHeads: heads,
    queries: length,
    keys,
    headSize: qHidden / heads,
    valueSize: vHidden / heads,
  };
  const mask = paddingMask(ctx, inputs.mask, {
    sizes,
    past: keys - length,
    causal: ctx.int('unidirectional', 0) !== 0,
    filter: ctx.float('mask_filter_value', MASK_FILTER),
  });
  const scale = ctx.float('scale', 0) || 1 / Math.sqrt(sizes.headSize);
  const y = attend({
    sizes,
    q: q.data,
    k: k.all.data,
    v: v.all.data,
    scale,
    bias: biasHook(ctx, sizes, mask, inputs.bias),
  });
  if (ctx.wants(1) && sizes.headSize !== sizes.valueSize) {
    throw ctx.error('the present state needs keys and values of the same size');
  }
  const present = new Float64Array(k.present.data.length + v.present.data.length);
  present.set(k.present.data);
  present.set(v.present.data, k.present.data.length);
  return {
    y: swapMiddle(y, batch, heads, length, sizes.valueSize),
    yDims: [batch, length, vHidden],
    present,
    presentDims: [2, ...k.present.dims],
  };
}

/** The output, and the present state where it is wanted. */
export function projectedOutputs(ctx: NodeReader, dtype: DType, out: ReturnType<typeof attendProjected>): HostValue[] {
  const y = fromNumbers(dtype, out.yDims, out.y);
  return ctx.wants(1) ? [y, fromNumbers(dtype, out.presentDims, out.present)] : [y];
}

/** Output types of fused attention; `columns` is the width of the projection. */
export function inferProjected(
  ctx: InferContext,
  columns: Dim,
  pastInput: number,
  dtype = ctx.dtype(0),
): (ValueType | undefined)[] {
  const input = ctx.shape(0);
  const heads = ctx.int('num_heads');
  const [batch, length] = [dimAt(input, 0), dimAt(input, 1)];
  const hidden = typeof columns === 'number' ? hiddenSizes(ctx, columns) : undefined;
  const past = ctx.has(pastInput) ? dimAt(ctx.shape(pastInput), 3) : 0;
  const shared = ctx.int('past_present_share_buffer', 0) !== 0 && ctx.has(pastInput);
  const total = shared ? past : addDims(past, length);
  return [
    tensorType(dtype, [batch, length, hidden ? hidden[2] : null]),
    tensorType(dtype, [2, batch, heads, total, hidden ? hidden[1] / heads : null]),
  ];
}

function reference(ctx: ReferenceContext): HostValue[] {
  const [input, weights] = [ctx.tensor(0), ctx.tensor(1)];
  const [batch, length, inner] = input.dims;
  const columns = weights.dims[1];
  if (input.dims.length !== 3 || weights.dims.length !== 2 || weights.dims[0] !== inner) {
    throw ctx.error(`input ${shapeText(input.dims)} and weights ${shapeText(weights.dims)} do not fit`);
  }
  const qkv = multiply(toNumbers(input), toNumbers(weights), inner, columns);
  const bias = ctx.optional(2);
  if (bias) {
    const values = toNumbers(bias);
    if (values.length !== columns) throw ctx.error(`bias has ${values.length} entries, expected ${columns}`);
    for (let i = 0; i < qkv.length; i++) qkv[i] += values[i % columns];
  }
  const out = attendProjected(ctx, qkv, [batch, length, columns], {
    mask: ctx.optional(3),
    past: ctx.optional(4),
    bias: ctx.optional(5),
    pastLengthInput: 6,
  });
  return projectedOutputs(ctx, input.dtype, out);
}

/** Inputs: projected query, key and value side by side, mask, past, attention bias. */
function projectedReference(ctx: ReferenceContext): HostValue[] {
  const qkv = ctx.tensor(0);
  const [batch, length, columns] = qkv.dims;
  if (qkv.dims.length !== 3) throw ctx.error(`projected data of shape ${shapeText(qkv.dims)}`);
  const out = attendProjected(ctx, toNumbers(qkv), [batch, length, columns], {
    mask: ctx.optional(1),
    past: ctx.optional(2),
    bias: ctx.optional(3),
    pastLengthInput: Number.MAX_SAFE_INTEGER,
  });
  return projectedOutputs(ctx, qkv.dtype, out);
}

/** What the attributes of attention on projected data are. */
export const projectedAttributes = {
  do_rotary: 'int',
  mask_filter_value: 'float',
  num_heads: 'int',
  past_present_share_buffer: 'int',
  scale: 'float',
  unidirectional: 'int',
} as const;

/** Attention whose input `mask` is followed by the past, a bias of the scores, and a length of the past. */
const keepsProjectedRows =
  (mask: number): OpDefinition['keepsRows'] =>
  (node, inputs) =>
    !inputs.shared[0] &&
    inputs.shared.slice(1, mask).every(Boolean) &&
    !(node.has(mask) && inputs.shared[mask]) &&
    alignsRows(inputs, mask + 2, 4) &&
    !node.has(mask + 1) &&
    !node.has(mask + 3);

export const msAttentionOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Attention',
    domain: 'com.microsoft',
    since: [1],
    inputs: [2, 7],
    outputs: [1, 2],
    attributes: { ...projectedAttributes, qkv_hidden_sizes: 'ints', rotary_embedding_dim: 'int' },
    infer: (ctx) => inferProjected(ctx, dimAt(ctx.shape(1), 1), 4),
    reference,
    keepsRows: keepsProjectedRows(3),
    lower: lowerMicrosoftAttention,
  }),
  defineOp({
    name: 'ProjectedAttention',
    domain: 'filigree',
    since: [1],
    inputs: [1, 4],
    outputs: [1, 2],
    attributes: projectedAttributes,
    infer: (ctx) => inferProjected(ctx, dimAt(ctx.shape(0), 2), 2),
    reference: projectedReference,
    keepsRows: keepsProjectedRows(1),
    lower: lowerProjectedAttention,
  }),
  multiHeadAttention,
  decoderMaskedAttention,
  groupQueryAttention,
  ...msStateOps,
];

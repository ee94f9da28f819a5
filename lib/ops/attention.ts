/** Attention of the default domain. */

import { dtypeFromOnnx, isFloat } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import {
  type AttentionProblem,
  type AttentionSizes,
  type AttentionStage,
  attend,
  joinInner,
  swapMiddle,
} from './attention-core.ts';
import {
  attentionStep,
  maskReason,
  pastReason,
  placed,
  placedMask,
  UNDEFINED_ROWS,
  withState,
} from './attention-lower.ts';
import { maskRow } from './attention-mask.ts';
import { addDims, divideDim, multiplyDims } from './dims.ts';
import { flexAttention } from './flex-attention.ts';
import { alignsRows } from './keeps-rows.ts';
import { linearAttention } from './linear-attention.ts';
import type { LowerContext } from './lower.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const stages: readonly AttentionStage[] = ['product', 'capped', 'biased', 'softmax'];

interface Heads {
  readonly q: number;
  readonly kv: number;
}

/** Head counts of rank-3 inputs, from the attributes. */
function headAttributes(ctx: NodeReader): Heads {
  const heads = { q: ctx.int('q_num_heads', 0), kv: ctx.int('kv_num_heads', 0) };
  if (!(heads.q > 0 && heads.kv > 0)) {
    throw ctx.error('rank-3 inputs need positive attributes q_num_heads and kv_num_heads');
  }
  return heads;
}

function infer(ctx: InferContext): (ValueType | undefined)[] {
  const [q, k, v] = [ctx.shape(0), ctx.shape(1), ctx.shape(2)];
  const [dtype, vDtype] = [ctx.dtype(0), ctx.dtype(2)];
  if (!q || !k || !v) {
    return [0, 1, 2, 3].map((i) => tensorType(i === 2 ? vDtype : dtype, undefined));
  }
  if (q.length !== k.length || q.length !== v.length || (q.length !== 3 && q.length !== 4)) {
    const text = [q, k, v].map(shapeText).join(', ');
    throw ctx.error(`query, key and value have shapes ${text}, expected all of rank 3 or all of rank 4`);
  }
  const flat = q.length === 3;
  const heads: { q: Dim; kv: Dim } = flat ? headAttributes(ctx) : { q: q[1], kv: k[1] };
  const headSize = flat ? divideDim(k[2], heads.kv as number) : k[3];
  const valueSize = flat ? divideDim(v[2], heads.kv as number) : v[3];
  const [queries, keys] = flat ? [q[1], k[1]] : [q[2], k[2]];
  const past = ctx.has(4) ? (ctx.shape(4)?.[2] ?? null) : 0;
  const total = addDims(past, keys);
  const y = flat ? [q[0], queries, multiplyDims(heads.q, valueSize)] : [q[0], heads.q, queries, valueSize];
  return [
    tensorType(dtype, y),
    tensorType(dtype, [q[0], heads.kv, total, headSize]),
    tensorType(vDtype, [q[0], heads.kv, total, valueSize]),
    tensorType(dtype, [q[0], heads.q, queries, total]),
  ];
}

interface HeadMajor {
  readonly data: Float64Array;
  /** [batch, heads, length, size] */
  readonly dims: readonly number[];
}

function headMajor(ctx: NodeReader, t: HostTensor, heads: number, what: string): HeadMajor {
  const data = toNumbers(t);
  if (t.dims.length === 4) return { data, dims: t.dims };
  const [batch, length, hidden] = t.dims;
  if (hidden % heads !== 0) throw ctx.error(`the hidden size ${hidden} of ${what} is no multiple of ${heads} heads`);
  const size = hidden / heads;
  return { data: swapMiddle(data, batch, length, heads, size), dims: [batch, heads, length, size] };
}

function withPast(ctx: ReferenceContext, x: HeadMajor, pastInput: number): HeadMajor {
  const past = ctx.optional(pastInput);
  if (!past) return x;
  const [batch, heads, length, size] = x.dims;
  const [pb, ph, pl, ps] = past.dims;
  if (past.dims.length !== 4 || pb !== batch || ph !== heads || ps !== size) {
    throw ctx.error(`past state of shape ${shapeText(past.dims)}, expected [${batch},${heads},past,${size}]`);
  }
  const data = joinInner(toNumbers(past), pl * size, x.data, length * size);
  return { data, dims: [batch, heads, pl + length, size] };
}

function checkedSizes(ctx: NodeReader, q: HeadMajor, k: HeadMajor, v: HeadMajor): AttentionSizes {
  const [batch, heads, queries, headSize] = q.dims;
  const [, kvHeads, keys] = k.dims;
  const fits =
    k.dims[0] === batch &&
    v.dims[0] === batch &&
    v.dims[1] === kvHeads &&
    v.dims[2] === keys &&
    k.dims[3] === headSize &&
    kvHeads > 0 &&
    heads % kvHeads === 0;
  if (!fits) {
    const text = [q, k, v].map((x) => shapeText(x.dims)).join(', ');
    throw ctx.error(`query, key and value of shapes ${text} (batch, heads, length, size) do not fit together`);
  }
  return { batch, heads, kvHeads, queries, keys, headSize, valueSize: v.dims[3] };
}

type Bias = NonNullable<AttentionProblem['bias']>;
/** The additive bias of all masks together, made per query and added to its scores. */
function biasOf(ctx: ReferenceContext, sizes: AttentionSizes): Bias | undefined {
  const { batch, queries, keys } = sizes;
  const causal = ctx.int('is_causal', 0) !== 0;
  const [left, right] = [ctx.int('left_window_size', -1), ctx.int('right_window_size', -1)];
  const mask = ctx.optional(3);
  const valid = ctx.has(6) ? ctx.integers(6) : undefined;
  if (valid && ctx.has(4)) throw ctx.error('nonpad_kv_seqlen cannot be combined with past_key');
  if (valid && valid.length !== batch) {
    throw ctx.error(`nonpad_kv_seqlen has ${valid.length} entries, expected one per batch entry (${batch})`);
  }
  if (!causal && left < 0 && right < 0 && !mask && !valid) return undefined;
  const past = ctx.optional(4)?.dims[2] ?? 0;
  const fill = mask && maskRow(ctx, mask, sizes, 'attn_mask');
  const bias = new Float64Array(keys);
  return (scores, b, h, i) => {
    bias.fill(0);
    fill?.(bias, b, h, i);
    const position = i + (valid ? valid[b] - queries : past);
    const from = left >= 0 ? position - left : Number.NEGATIVE_INFINITY;
    const to = Math.min(causal ? position : keys, right >= 0 ? position + right : keys);
    const end = valid ? valid[b] : keys;
    let allowed = false;
    for (let j = 0; j < keys; j++) {
      if (j < from || j > to || j >= end) bias[j] = Number.NEGATIVE_INFINITY;
      if (bias[j] !== Number.NEGATIVE_INFINITY) allowed = true;
      scores[j] += bias[j];
    }
    return allowed;
  };
}

/** The precision a model asks for is at most what the reference computes in; only its validity is checked. */
function checkPrecision(ctx: NodeReader): void {
  if (!ctx.hasAttribute('softmax_precision')) return;
  const dtype = dtypeFromOnnx(ctx.int('softmax_precision'));
  if (!dtype || !isFloat(dtype)) throw ctx.error(`softmax_precision ${ctx.int('softmax_precision')} is no float type`);
}

function reference(ctx: ReferenceContext): HostValue[] {
  const tensors = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const [rank] = tensors.map((t) => t.dims.length);
  if ((rank !== 3 && rank !== 4) || tensors.some((t) => t.dims.length !== rank)) {
    const text = tensors.map((t) => shapeText(t.dims)).join(', ');
    throw ctx.error(`query, key and value have shapes ${text}, expected all of rank 3 or all of rank 4`);
  }
  if (ctx.has(4) !== ctx.has(5)) throw ctx.error('past_key and past_value must be given together');
  const heads = rank === 3 ? headAttributes(ctx) : { q: 0, kv: 0 };
  const q = headMajor(ctx, tensors[0], heads.q, 'the query');
  const k = withPast(ctx, headMajor(ctx, tensors[1], heads.kv, 'the key'), 4);
  const v = withPast(ctx, headMajor(ctx, tensors[2], heads.kv, 'the value'), 5);
  const sizes = checkedSizes(ctx, q, k, v);
  const { batch, queries, keys, valueSize } = sizes;
  checkPrecision(ctx);
  const mode = ctx.int('qk_matmul_output_mode', 0);
  if (!stages[mode]) throw ctx.error(`qk_matmul_output_mode is ${mode}, expected 0 to 3`);
  const into = ctx.wants(3) ? new Float64Array(batch * sizes.heads * queries * keys) : undefined;
  const y = attend({
    sizes,
    q: q.data,
    k: k.data,
    v: v.data,
    scale: ctx.float('scale', 1 / Math.sqrt(sizes.headSize)),
    softcap: ctx.float('softcap', 0),
    bias: biasOf(ctx, sizes),
    capture: into && { stage: stages[mode], into },
  });
  const dtype = tensors[0].dtype;
  const yDims = rank === 3 ? [batch, queries, sizes.heads * valueSize] : [batch, sizes.heads, queries, valueSize];
  const yData = rank === 3 ? swapMiddle(y, batch, sizes.heads, queries, valueSize) : y;
  const outputs: HostValue[] = [
    fromNumbers(dtype, yDims, yData),
    fromNumbers(tensors[1].dtype, k.dims, k.data),
    fromNumbers(tensors[2].dtype, v.dims, v.data),
  ];
  if (into) outputs.push(fromNumbers(dtype, [batch, sizes.heads, queries, keys], into));
  return outputs;
}

/** Sizes of one operand as [batch, heads, length, size]; undefined where they do not split. */
function headDims(dims: readonly number[], heads: number): number[] | undefined {
  if (dims.length === 4) return [...dims];
  const [batch, length, hidden] = dims;
  return heads > 0 && hidden % heads === 0 ? [batch, heads, length, hidden / heads] : undefined;
}

/** Why the node has no kernel, apart from its sizes. */
function unservedReason(ctx: LowerContext): string | undefined {
  const inputs = [0, 1, 2, 4, 5].filter((i) => ctx.has(i));
  const odd = inputs.find((i) => ctx.dtype(i) !== 'float32');
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (!ctx.wants(0)) return 'the result is not read';
  if (ctx.wants(3)) return 'the scores are an output';
  if (ctx.has(6)) return 'lengths are given at run time';
  if (ctx.int('left_window_size', -1) >= 0 || ctx.int('right_window_size', -1) >= 0) return 'a sliding window';
  if (ctx.has(4) !== ctx.has(5)) return 'half a past state';
  // Where kernels take a mask of int32 it hides; here it is added.
  return ctx.has(3) && ctx.dtype(3) === 'int32' ? 'a mask of int32' : maskReason(ctx, 3);
}

function lowerAttention(ctx: LowerContext): string | undefined {
  const tokenMajor = ctx.dims(0).length === 3;
  const heads = tokenMajor ? headAttributes(ctx) : { q: 0, kv: 0 };
  const shapes = [0, 1, 2].map((i) => headDims(ctx.dims(i), i ? heads.kv : heads.q));
  const [q, k, v] = shapes;
  const past = ctx.has(4) ? (ctx.dims(4)[2] ?? 0) : 0;
  const fits = q && k && v && k[0] === q[0] && v[0] === q[0] && k[1] === v[1] && k[2] === v[2] && k[3] === q[3];
  if (!fits || !(k[1] > 0) || q[1] % k[1]) return 'operands that do not fit';
  const reason = unservedReason(ctx) ?? pastReason(ctx, 4, k) ?? pastReason(ctx, 5, v);
  if (reason) return reason;
  const keys = past + k[2];
  const sizes: AttentionSizes = {
    ...{ batch: q[0], heads: q[1], kvHeads: k[1], queries: q[2], keys, headSize: q[3], valueSize: v[3] },
  };
  const mask = ctx.has(3) ? placedMask(ctx.input(3), sizes) : undefined;
  if (ctx.has(3) && !mask) return 'a mask that does not cover the keys';
  const place = (i: number, own: readonly number[]) => placed(ctx.input(i), own, tokenMajor);
  const keyState = withState(ctx, place(1, k), k, { past: 4, present: 1 });
  const valueState = withState(ctx, place(2, v), v, { past: 5, present: 2 });
  attentionStep(ctx, {
    sizes,
    q: place(0, q),
    k: keyState,
    v: valueState,
    y: placed(ctx.output(0), [q[0], q[1], q[2], v[3]], tokenMajor),
    mask,
    causal: ctx.int('is_causal', 0) ? past : undefined,
    scale: ctx.float('scale', 1 / Math.sqrt(sizes.headSize)),
    softcap: ctx.float('softcap', 0),
    undefinedRows: UNDEFINED_ROWS.hiddenZero,
  });
  return undefined;
}

export const attentionOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Attention',
    since: [23, 24, 25],
    inputs: [3, 7],
    outputs: [1, 4],
    attributes: {
      is_causal: 'int',
      kv_num_heads: 'int',
      left_window_size: 'int',
      q_num_heads: 'int',
      qk_matmul_output_mode: 'int',
      right_window_size: 'int',
      scale: 'float',
      softcap: 'float',
      softmax_precision: 'int',
    },
    infer,
    reference,
    keepsRows: (node, inputs) =>
      !inputs.shared.slice(0, 3).includes(true) &&
      alignsRows(inputs, 3, 4) &&
      [4, 5, 6].every((i) => !node.has(i) || !inputs.shared[i]),
    lower: lowerAttention,
  }),
  flexAttention,
  linearAttention('', 27),
  linearAttention('com.microsoft', 1),
];

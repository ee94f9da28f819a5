/** com.microsoft GroupQueryAttention: causal attention with a cache, grouped heads, rotary positions and windows. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { type AttentionProblem, type AttentionSizes, attend, swapMiddle } from './attention-core.ts';
import { maskRow } from './attention-mask.ts';
import { dimAt, divideDim, multiplyDims } from './dims.ts';
import { columnsOf } from './ms-attention-state.ts';
import { lowerGroupQuery } from './ms-group-query-lower.ts';
import { type CacheCodec, plainCodec, quantizedCodec } from './ms-kv-cache.ts';
import { defineOp, type InferContext, type NodeReader, type ReferenceContext } from './op.ts';
import { rotateHead } from './rotary.ts';

function infer(ctx: InferContext): (ValueType | undefined)[] {
  const heads = ctx.int('num_heads');
  const kvHeads = ctx.int('kv_num_heads');
  const q = ctx.shape(0);
  const packed = !ctx.has(1);
  const size = divideDim(dimAt(q, 2), packed ? heads + 2 * kvHeads : heads);
  const [batch, length] = [dimAt(q, 0), dimAt(q, 1)];
  const past = ctx.has(3) ? dimAt(ctx.shape(3), 2) : 0;
  const total = ctx.integers(6)?.[0];
  if (total !== undefined && total < 0) throw ctx.error(`total_sequence_length is ${total}`);
  const windowed = ctx.int('sliding_window_cache', 0) !== 0 && ctx.has(3);
  const kept: Dim = windowed ? past : total !== undefined && typeof past === 'number' ? Math.max(past, total) : null;
  const cacheType = ctx.has(3) ? ctx.dtype(3) : ctx.dtype(0);
  const stored = ctx.has(3) ? dimAt(ctx.shape(3), 3) : size;
  const dtype = ctx.dtype(0);
  return [
    tensorType(dtype, [batch, length, multiplyDims(heads, size)]),
    tensorType(cacheType, [batch, kvHeads, kept, stored]),
    tensorType(cacheType, [batch, kvHeads, kept, stored]),
    tensorType(dtype, [batch, heads, length, total ?? null]),
  ];
}

/** Everything about a call that does not change while it runs. */
interface Call {
  readonly sizes: Omit<AttentionSizes, 'keys'>;
  /** New rows of key and value, head-major, like the query. */
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly newLength: number;
  /** Tokens of a batch entry with the new ones. */
  readonly totals: readonly number[];
  /** Tokens of a batch entry before the new ones. */
  readonly pasts: readonly number[];
  readonly total: number;
  readonly window: number;
  readonly causal: boolean;
}

function splitInputs(ctx: ReferenceContext): Pick<Call, 'q' | 'k' | 'v' | 'newLength' | 'sizes'> {
  const [heads, kvHeads] = [ctx.int('num_heads'), ctx.int('kv_num_heads')];
  const query = ctx.tensor(0);
  const [batch, queries, columns] = query.dims;
  const [key, value] = [ctx.optional(1), ctx.optional(2)];
  const size = columns / (key ? heads : heads + 2 * kvHeads);
  const fits = heads > 0 && kvHeads > 0 && heads % kvHeads === 0 && query.dims.length === 3 && Number.isInteger(size);
  if (!fits) throw ctx.error(`the query has shape ${shapeText(query.dims)} for ${heads} and ${kvHeads} heads`);
  const [qWidth, kvWidth] = [heads * size, kvHeads * size];
  const data = toNumbers(query);
  const newLength = key ? key.dims[1] : queries;
  if (key) {
    for (const t of [key, value]) {
      if (t?.dims.length !== 3 || t.dims[0] !== batch || t.dims[1] !== newLength || t.dims[2] !== kvWidth) {
        throw ctx.error(`key or value has shape ${shapeText(t?.dims)}, expected [${batch},${newLength},${kvWidth}]`);
      }
    }
  }
  const part = (t: HostTensor | undefined, from: number, width: number, count: number, length: number): Float64Array =>
    swapMiddle(t ? toNumbers(t) : columnsOf(data, columns, from, width), batch, length, count, size).slice();
  return {
    q: part(key && query, 0, qWidth, heads, queries),
    k: part(key, qWidth, kvWidth, kvHeads, newLength),
    v: part(value, qWidth + kvWidth, kvWidth, kvHeads, newLength),
    newLength,
    sizes: { batch, heads, kvHeads, queries, headSize: size, valueSize: size },
  };
}

function callOf(ctx: ReferenceContext): Call {
  const parts = splitInputs(ctx);
  const { batch, queries } = parts.sizes;
  const total = ctx.integers(6)[0];
  const totals = ctx.integers(5).map((n) => n + 1);
  if (totals.length !== batch) throw ctx.error(`seqlens_k has ${totals.length} entries, expected ${batch}`);
  const prompt = queries === total;
  const causal = ctx.int('causal', 1) !== 0;
  const window = ctx.int('local_window_size', -1);
  if (!causal && window !== -1) throw ctx.error('local_window_size needs causal attention');
  const pasts = totals.map((n) => (prompt ? 0 : n - parts.newLength));
  if (pasts.some((n) => n < 0) || totals.some((n) => n > total || n < 0)) {
    throw ctx.error(`seqlens_k ${totals.map((n) => n - 1).join(',')} do not fit total_sequence_length ${total}`);
  }
  return { ...parts, totals, pasts, total, window, causal };
}

/** Scales a head to unit root mean square and by the weights, in place. */
function normalizeHeads(ctx: ReferenceContext, x: Float64Array, size: number, input: number): void {
  const t = ctx.optional(input);
  if (!t) return;
  const weight = toNumbers(t);
  if (weight.length !== size) throw ctx.error(`a head norm has ${weight.length} weights, expected ${size}`);
  const epsilon = ctx.float('qk_norm_epsilon', 1e-6);
  for (let at = 0; at < x.length; at += size) {
    let sum = 0;
    for (let d = 0; d < size; d++) sum += x[at + d] ** 2;
    const factor = 1 / Math.sqrt(sum / size + epsilon);
    for (let d = 0; d < size; d++) x[at + d] *= factor * weight[d];
  }
}

/** Rotates new queries and keys, in place. */
function rotate(ctx: ReferenceContext, call: Call): void {
  if (ctx.int('do_rotary', 0) === 0) return;
  const [cosTensor, sinTensor] = [ctx.tensor(7), ctx.tensor(8)];
  const width = cosTensor.dims[1];
  const { batch, heads, kvHeads, queries, headSize } = call.sizes;
  if (2 * width > headSize) throw ctx.error(`cos_cache has ${width} columns for a head size of ${headSize}`);
  const [cos, sin] = [toNumbers(cosTensor), toNumbers(sinTensor)];
  const rotation = { size: 2 * width, interleaved: ctx.int('rotary_interleaved', 0) !== 0 };
  const given = ctx.has(9) ? ctx.integers(9) : undefined;
  const positionOf = (b: number, i: number): number => {
    // A prompt counts on from the first given position alone.
    if (given && queries !== call.total && given.length === batch * queries) return given[b * queries + i];
    return (given?.[0] ?? call.pasts[b]) + i;
  };
  const rotateRows = (x: Float64Array, count: number): void => {
    for (let bh = 0; bh < batch * count; bh++) {
      for (let i = 0; i < queries; i++) {
        const position = positionOf(Math.floor(bh / count), i);
        const row = position * width;
        if (position < 0 || row + width > cos.length) throw ctx.error(`position ${position} is outside the caches`);
        const at = (bh * queries + i) * headSize;
        rotateHead(
          x,
          at,
          rotation,
          (p) => cos[row + p],
          (p) => sin[row + p],
        );
      }
    }
  };
  rotateRows(call.q, heads);
  if (call.newLength === queries) rotateRows(call.k, kvHeads);
}

/** Rows of a window-sized cache that are resident when `tokens` were seen: the newest, evicted in bulk. */
function resident(tokens: number, capacity: number, window: number): number {
  if (tokens <= capacity) return tokens;
  const bulk = capacity - window + 1;
  return tokens - bulk * Math.ceil((tokens - capacity) / bulk);
}

/** Keys or values by absolute position [batch, kvHeads, total, size], and the present state. */
interface Cache {
  readonly all: Float64Array;
  readonly present: HostTensor;
}

function cacheOf(
  ctx: ReferenceContext,
  call: Call,
  past: HostTensor | undefined,
  rows: Float64Array,
  codec: CacheCodec,
): Cache {
  const { batch, kvHeads, headSize } = call.sizes;
  const capacity = past ? past.dims[2] : 0;
  const windowed = past !== undefined && ctx.int('sliding_window_cache', 0) !== 0;
  if (windowed && !(call.window > 0 && call.window <= capacity)) {
    throw ctx.error(`a window cache of ${capacity} rows for a window of ${call.window}`);
  }
  const kept = windowed ? capacity : Math.max(capacity, call.total);
  const dims = [batch, kvHeads, kept, headSize];
  const old = past && codec.decode(past);
  if (old && old.length !== batch * kvHeads * capacity * headSize) {
    throw ctx.error(`past state of shape ${shapeText(past?.dims)} does not fit ${kvHeads} heads of ${headSize}`);
  }
  const all = new Float64Array(batch * kvHeads * call.total * headSize);
  const present = new Float64Array(batch * kvHeads * kept * headSize);
  // The stored form of the new rows is what later calls read, so it is what this one reads too.
  const stored = codec.decode(codec.encode([batch, kvHeads, call.newLength, headSize], rows));
  for (let bh = 0; bh < batch * kvHeads; bh++) {
    const b = Math.floor(bh / kvHeads);
    const [seen, total] = [call.pasts[b], call.totals[b]];
    const held = windowed ? resident(seen, capacity, call.window) : seen;
    if (held > capacity) throw ctx.error(`${held} past tokens in a cache of ${capacity} rows`);
    const at = (position: number): number => (bh * call.total + position) * headSize;
    if (old) {
      const from = bh * capacity * headSize;
      all.set(old.subarray(from, from + held * headSize), at(seen - held));
      if (!windowed) present.set(old.subarray(from, from + seen * headSize), bh * kept * headSize);
    }
    const count = Math.min(call.newLength, call.total - seen);
    const from = bh * call.newLength * headSize;
    all.set(stored.subarray(from, from + count * headSize), at(seen));
    if (windowed) {
      const stay = resident(total, capacity, call.window);
      present.set(all.subarray(at(total - stay), at(total)), bh * kept * headSize);
    } else {
      present.set(all.subarray(at(seen), at(seen + count)), (bh * kept + seen) * headSize);
    }
  }
  return { all, present: codec.encode(dims, present) };
}

function codecOf(ctx: ReferenceContext, call: Call, which: 'k' | 'v'): CacheCodec {
  const { kvHeads, headSize } = call.sizes;
  const past = ctx.optional(which === 'k' ? 3 : 4);
  const dtype = past?.dtype ?? ctx.tensor(0).dtype;
  if (ctx.string(`${which}_quant_type`, 'NONE') === 'NONE') return plainCodec(dtype, headSize);
  return quantizedCodec(ctx, dtype, kvHeads, headSize, toNumbers(ctx.tensor(which === 'k' ? 12 : 13)));
}

/** Hides what causality, the window and the entry's own length hide; adds the attention bias. */
function biasOf(ctx: ReferenceContext, call: Call, sizes: AttentionSizes): NonNullable<AttentionProblem['bias']> {
  const given = ctx.optional(10);
  const add = given && maskRow(ctx, given, sizes, 'attention_bias');
  return (scores, b, h, i) => {
    add?.(scores, b, h, i);
    const end = call.causal ? Math.min(call.pasts[b] + i + 1, call.totals[b]) : call.totals[b];
    const from = call.window > 0 ? call.pasts[b] + i + 1 - call.window : 0;
    for (let j = 0; j < scores.length; j++) if (j >= end || j < from) scores[j] = Number.NEGATIVE_INFINITY;
    return true;
  };
}

function sinkOf(ctx: ReferenceContext): AttentionProblem['sink'] {
  const sinks = ctx.optional(11);
  if (sinks) {
    const values = toNumbers(sinks);
    if (values.length !== ctx.int('num_heads')) throw ctx.error(`head_sink has ${values.length} entries`);
    return (h) => values[h];
  }
  return ctx.int('smooth_softmax', -1) === 1 ? () => 0 : undefined;
}

function checkInputs(ctx: NodeReader): void {
  if (ctx.has(3) !== ctx.has(4)) throw ctx.error('past_key and past_value must be given together');
  if (ctx.has(14) !== ctx.has(15)) throw ctx.error('q_norm_weight and k_norm_weight must be given together');
}

function reference(ctx: ReferenceContext): HostValue[] {
  checkInputs(ctx);
  const call = callOf(ctx);
  const { batch, heads, queries, headSize } = call.sizes;
  normalizeHeads(ctx, call.q, headSize, 14);
  normalizeHeads(ctx, call.k, headSize, 15);
  rotate(ctx, call);
  const k = cacheOf(ctx, call, ctx.optional(3), call.k, codecOf(ctx, call, 'k'));
  const v = cacheOf(ctx, call, ctx.optional(4), call.v, codecOf(ctx, call, 'v'));
  const sizes = { ...call.sizes, keys: call.total };
  const mode = ctx.int('qk_output', 0);
  const into = ctx.wants(3) ? new Float64Array(batch * heads * queries * call.total) : undefined;
  const y = attend({
    sizes,
    q: call.q,
    k: k.all,
    v: v.all,
    scale: ctx.float('scale', 0) || 1 / Math.sqrt(headSize),
    softcap: ctx.float('softcap', 0),
    bias: biasOf(ctx, call, sizes),
    sink: sinkOf(ctx),
    capture: into && { stage: mode === 2 ? 'softmax' : 'biased', into },
  });
  const dtype = ctx.tensor(0).dtype;
  const merged = swapMiddle(y, batch, heads, queries, headSize);
  const outputs: HostValue[] = [fromNumbers(dtype, [batch, queries, heads * headSize], merged), k.present, v.present];
  if (into) {
    const shown = into.map((score) => (score === Number.NEGATIVE_INFINITY ? 0 : score));
    outputs.push(fromNumbers(dtype, [batch, heads, queries, call.total], shown));
  }
  return outputs;
}

export const groupQueryAttention = defineOp({
  name: 'GroupQueryAttention',
  domain: 'com.microsoft',
  since: [1],
  inputs: [7, 16],
  omittable: [1, 2, 3, 4],
  outputs: [1, 4],
  attributes: {
    causal: 'int',
    do_rotary: 'int',
    k_quant_type: 'string',
    kv_cache_bit_width: 'int',
    kv_num_heads: 'int',
    local_window_size: 'int',
    num_heads: 'int',
    qk_norm_epsilon: 'float',
    qk_output: 'int',
    rotary_interleaved: 'int',
    scale: 'float',
    sliding_window_cache: 'int',
    smooth_softmax: 'int',
    softcap: 'float',
    v_quant_type: 'string',
  },
  infer,
  reference,
  lower: lowerGroupQuery,
});

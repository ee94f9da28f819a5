/** Native lowering of com.microsoft GroupQueryAttention over plain caches. */

import type { DType } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import type { AttentionSizes } from './attention-core.ts';
import { attentionStep, maskStrides, type Placed, placed, placedMask, UNDEFINED_ROWS } from './attention-lower.ts';
import type { LowerContext, Operand } from './lower.ts';
import { castStep, wholeBytes } from './lower-elementwise.ts';
import { floatInput, intoFloatOutput, servedByFloat32 } from './lower-floats.ts';
import { moveStep } from './lower-movement.ts';
import { cacheReason, type Positions, rotaryStep } from './rotary-lower.ts';

/** Numbers of the inputs. */
const PAST_KEY = 3;
const PAST_VALUE = 4;
const LAST = 5;
const TOTAL = 6;
const COS = 7;
const SIN = 8;
const POSITIONS = 9;
const BIAS = 10;
const SINKS = 11;
const Q_NORM = 14;
const K_NORM = 15;
const FLOATS = [0, 1, 2, PAST_KEY, PAST_VALUE, BIAS, SINKS, Q_NORM, K_NORM];

interface Call {
  readonly sizes: AttentionSizes;
  readonly packed: boolean;
  /** Rows of the past state and of the present one. */
  readonly capacity: number;
  readonly kept: number;
  readonly cacheType: DType;
  /** The new tokens are the first. */
  readonly prompt: boolean;
}

function callOf(ctx: LowerContext): Call | undefined {
  const [heads, kvHeads] = [ctx.int('num_heads'), ctx.int('kv_num_heads')];
  const packed = !ctx.has(1);
  const total = ctx.integers(TOTAL)?.[0];
  const dims = ctx.dims(0);
  if (total === undefined || dims.length !== 3 || !(heads > 0 && kvHeads > 0)) return undefined;
  const [batch, queries, columns] = dims;
  const size = columns / (packed ? heads + 2 * kvHeads : heads);
  const wanted = [batch, queries, kvHeads * size].join();
  const apart = packed || [1, 2].every((i) => ctx.has(i) && ctx.dims(i).join() === wanted);
  if (!Number.isInteger(size) || heads % kvHeads !== 0 || !apart) return undefined;
  const capacity = ctx.has(PAST_KEY) ? ctx.dims(PAST_KEY)[2] : 0;
  return {
    sizes: { batch, heads, kvHeads, queries, keys: total, headSize: size, valueSize: size },
    ...{ packed, capacity, kept: Math.max(capacity, total) },
    cacheType: ctx.dtype(ctx.has(PAST_KEY) ? PAST_KEY : 0),
    prompt: queries === total,
  };
}

/** Why the operator's rarer forms have no kernel. */
function formReason(ctx: LowerContext): string | undefined {
  const odd = FLOATS.find((i) => ctx.has(i) && !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (!ctx.wants(0)) return 'the result is not read';
  if (ctx.wants(3)) return 'the scores are an output';
  if (ctx.int('sliding_window_cache', 0) !== 0) return 'a cache of the size of the window';
  const quantized = ['k', 'v'].some((which) => ctx.string(`${which}_quant_type`, 'NONE') !== 'NONE');
  if (quantized) return 'a quantised cache';
  const halves = ctx.has(PAST_KEY) !== ctx.has(PAST_VALUE) || ctx.has(Q_NORM) !== ctx.has(K_NORM);
  if (halves) return 'half of a pair of inputs';
  return ctx.dtype(LAST) === 'int32' ? undefined : `lengths of ${ctx.dtype(LAST)}`;
}

function operandReason(ctx: LowerContext, { sizes, capacity, cacheType, kept }: Call): string | undefined {
  const { batch, heads, kvHeads, queries, headSize } = sizes;
  const past = [batch, kvHeads, capacity, headSize].join();
  const states = [PAST_KEY, PAST_VALUE].filter((i) => ctx.has(i));
  if (states.some((i) => ctx.dims(i).join() !== past || ctx.dtype(i) !== cacheType)) return 'a past of another shape';
  const present = [batch, kvHeads, kept, headSize].join();
  if ([1, 2].some((i) => ctx.wants(i) && ctx.outputDims(i).join() !== present)) return 'a present of another shape';
  const norms = [Q_NORM, K_NORM].some((i) => ctx.has(i) && sizeOf(ctx.dims(i)) !== headSize);
  const sinks = ctx.has(SINKS) && sizeOf(ctx.dims(SINKS)) !== heads;
  if (norms || sinks || sizeOf(ctx.dims(LAST)) !== batch) return 'operands that do not fit';
  if (ctx.has(BIAS) && !maskStrides(ctx.dims(BIAS), sizes)) return 'an attention bias of another form';
  if (ctx.int('causal', 1) === 0 && ctx.int('local_window_size', -1) !== -1) return 'a window without causality';
  if (ctx.int('do_rotary', 0) === 0) return undefined;
  if (!ctx.has(COS) || !ctx.has(SIN) || ctx.dims(COS).length !== 2) return 'no caches of angles';
  const pairs = ctx.dims(COS)[1];
  if (2 * pairs > headSize) return 'more angles than a head has';
  const given = ctx.has(POSITIONS) ? sizeOf(ctx.dims(POSITIONS)) : 1;
  const dtype = ctx.has(POSITIONS) ? ctx.dtype(POSITIONS) : 'int64';
  if (dtype !== 'int64' || (given !== 1 && given !== batch * queries)) return 'positions that do not fit';
  return cacheReason(ctx, COS, SIN, pairs);
}

/** Query, key or value as it comes: token-major, in the input's type. */
function tokensOf(ctx: LowerContext, { sizes, packed }: Call, index: number): { place: Placed; heads: number } {
  const { heads, kvHeads, queries, headSize } = sizes;
  const count = index === 0 ? heads : kvHeads;
  const columns = packed ? (heads + 2 * kvHeads) * headSize : count * headSize;
  const before = [0, heads, heads + kvHeads][index];
  const operand = ctx.input(packed ? 0 : index);
  return {
    place: { operand, at: [queries * columns, headSize, columns, 1, packed ? before * headSize : 0] },
    heads: count,
  };
}

function cast(ctx: LowerContext, operand: Operand, dtype: DType): Operand {
  if (operand.dtype === dtype) return operand;
  const converted = ctx.scratch(dtype, operand.dims);
  castStep(ctx, operand, converted);
  return converted;
}

const inFloat = (ctx: LowerContext, place: Placed): Placed => ({
  ...place,
  operand: cast(ctx, place.operand, 'float32'),
});

/** Heads to unit root mean square, by the weights of input `norm`. */
function normalized(ctx: LowerContext, call: Call, x: Placed, heads: number, norm: number): Placed {
  if (!ctx.has(norm)) return x;
  const { batch, queries, headSize } = call.sizes;
  const dims = [batch, queries, heads, headSize];
  const y = ctx.scratch('float32', dims);
  let from = inFloat(ctx, x).operand;
  if (call.packed) {
    const dense = ctx.scratch('float32', dims);
    const [b, h, t, one, xOffset] = x.at;
    const width = heads * headSize;
    moveStep(ctx, from, dense, { dims, x: [b, t, h, one], y: [queries * width, width, headSize, 1], xOffset });
    from = dense;
  }
  const epsilon = ctx.float('qk_norm_epsilon', 1e-6);
  const sizes = { rms: true, rows: batch * queries * heads, n: headSize, epsilon };
  ctx.step('layernorm.f32', [from, null, null, floatInput(ctx, norm), null, y, null, null, null], sizes);
  return placed(y, [batch, heads, queries, headSize], true);
}

function positionsOf(ctx: LowerContext, { sizes, prompt }: Call): Positions {
  const { batch, queries } = sizes;
  if (ctx.has(POSITIONS)) {
    const operand = ctx.input(POSITIONS);
    // A prompt counts on from the first given position alone.
    if (!prompt && sizeOf(operand.dims) === batch * queries) return { given: { operand, strides: [queries, 1] } };
    return { perToken: 1, given: { operand, strides: [0, 0] } };
  }
  if (prompt) return { perToken: 1 };
  return { base: 1 - queries, perToken: 1, given: { operand: ctx.input(LAST), strides: [1, 0] } };
}

function rotated(ctx: LowerContext, call: Call, x: Placed, heads: number): Placed {
  if (ctx.int('do_rotary', 0) === 0) return x;
  const { batch, queries, headSize } = call.sizes;
  const y = ctx.scratch('float32', [batch, queries, heads * headSize]);
  const to = placed(y, [batch, heads, queries, headSize], true);
  const short = ({ operand, at }: Placed) => ({ operand, at: [at[0], at[1], at[2], at[4]] as const });
  rotaryStep(ctx, {
    ...{ batch, heads, length: queries, headSize, cos: ctx.input(COS), sin: ctx.input(SIN) },
    interleaved: ctx.int('rotary_interleaved', 0) !== 0,
    ...{ positions: positionsOf(ctx, call), x: short(inFloat(ctx, x)), y: short(to) },
  });
  return to;
}

/** The past of input `past` and the new rows joined in output `present`, as attention reads them. */
function appended(ctx: LowerContext, call: Call, fresh: Placed, past: number, present: number): Placed {
  const { batch, kvHeads, queries, keys, headSize } = call.sizes;
  const { capacity, kept, cacheType, prompt } = call;
  const dims = [batch, kvHeads, kept, headSize];
  const y = ctx.wants(present) ? ctx.output(present) : ctx.scratch(cacheType, dims);
  const bytes = wholeBytes(cacheType);
  const rows = cast(ctx, fresh.operand, cacheType);
  const at = [0, 1, 2, 4].map((i) => fresh.at[i] * bytes);
  ctx.step('kv.append', [ctx.has(past) ? ctx.input(past) : null, rows, ctx.input(LAST), y], {
    ...{ batch, heads: kvHeads, capacity, length: queries, kept, row_bytes: headSize * bytes },
    ...{ total: keys, prompt, fresh: at },
  });
  return placed(cast(ctx, y, 'float32'), dims, false);
}

function sinksOf(ctx: LowerContext, heads: number): Operand | undefined {
  if (ctx.has(SINKS)) return floatInput(ctx, SINKS);
  if (ctx.int('smooth_softmax', -1) !== 1) return undefined;
  return ctx.literal('sinks', () => fromNumbers('float32', [heads], new Float64Array(heads)));
}

export function lowerGroupQuery(ctx: LowerContext): string | undefined {
  const form = formReason(ctx);
  if (form) return form;
  const call = callOf(ctx);
  if (!call) return 'operands of another form';
  const reason = operandReason(ctx, call);
  if (reason) return reason;
  const { sizes } = call;
  const [q, k, v] = [0, 1, 2].map((i) => tokensOf(ctx, call, i));
  const query = inFloat(ctx, rotated(ctx, call, normalized(ctx, call, q.place, q.heads, Q_NORM), q.heads));
  const key = rotated(ctx, call, normalized(ctx, call, k.place, k.heads, K_NORM), k.heads);
  const keys = appended(ctx, call, key, PAST_KEY, 1);
  const values = appended(ctx, call, v.place, PAST_VALUE, 2);
  const mask = ctx.has(BIAS) ? placedMask(floatInput(ctx, BIAS), sizes) : undefined;
  const sinks = sinksOf(ctx, sizes.heads);
  const window = Math.max(0, ctx.int('local_window_size', -1));
  intoFloatOutput(ctx, 0, (operand) =>
    attentionStep(ctx, {
      ...{ sizes, q: query, k: keys, v: values, mask, sinks, window, last: ctx.input(LAST), trailing: !call.prompt },
      y: placed(operand, [sizes.batch, sizes.heads, sizes.queries, sizes.valueSize], true),
      causal: ctx.int('causal', 1) ? 0 : undefined,
      scale: ctx.float('scale', 0) || 1 / Math.sqrt(sizes.headSize),
      softcap: ctx.float('softcap', 0),
      undefinedRows: UNDEFINED_ROWS.hiddenZero,
    }),
  );
  return undefined;
}

/** Native lowering of com.microsoft Attention: the projection is one product, the attention reads its columns. */

import { sizeOf } from '../ir/shape.ts';
import type { AttentionSizes } from './attention-core.ts';
import { attentionStep, maskStrides, type Placed, placed, placedMask, UNDEFINED_ROWS } from './attention-lower.ts';
import { NO_ACTIVATION } from './epilogue.ts';
import { layerStep } from './linear-lower.ts';
import type { LowerContext, Operand } from './lower.ts';
import { floatInput, intoFloatOutput, servedByFloat32 } from './lower-floats.ts';
import { moveStep } from './lower-movement.ts';
import { paddingMaskOf, paddingReason } from './ms-mask-lower.ts';

/** Numbers of the inputs. */
interface Slots {
  readonly mask: number;
  readonly past: number;
  readonly bias: number;
}

const WEIGHTS = 1;
const BIAS = 2;
const withWeights: Slots = { mask: 3, past: 4, bias: 5 };
const projected: Slots = { mask: 1, past: 2, bias: 3 };

interface Call {
  readonly slots: Slots;
  readonly sizes: AttentionSizes;
  /** Widths of query, key and value in the projection. */
  readonly widths: readonly [number, number, number];
  readonly past: number;
}

function callOf(ctx: LowerContext, slots: Slots, columns: number): Call | undefined {
  const heads = ctx.int('num_heads');
  const dims = ctx.dims(0);
  const given = ctx.hasAttribute('qkv_hidden_sizes') ? ctx.ints('qkv_hidden_sizes') : [];
  const third = columns / 3;
  const [q, k, v] = given.length === 3 ? given : [third, third, third];
  const whole = [q, k, v].every((width) => width > 0 && width % heads === 0);
  if (dims.length !== 3 || !(heads > 0) || !whole || q !== k || q + k + v !== columns) return undefined;
  const [batch, queries] = dims;
  const past = ctx.has(slots.past) ? ctx.dims(slots.past)[3] : 0;
  const [headSize, valueSize] = [q / heads, v / heads];
  const keys = past + queries;
  const sizes = { batch, heads, kvHeads: heads, queries, keys, headSize, valueSize };
  return { slots, sizes, widths: [q, k, v], past };
}

/** Why the projection is not for the kernels. */
function projectionReason(ctx: LowerContext): string | undefined {
  const odd = [0, WEIGHTS, BIAS].find((i) => ctx.has(i) && !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (!ctx.constant(WEIGHTS)) return 'the weights are computed at run time';
  const [, columns] = ctx.dims(WEIGHTS);
  return ctx.has(BIAS) && sizeOf(ctx.dims(BIAS)) !== columns ? 'a bias that does not fit' : undefined;
}

function reasonFor(ctx: LowerContext, { slots, sizes, past }: Call): string | undefined {
  const { batch, heads, headSize, valueSize } = sizes;
  const odd = [0, slots.bias].find((i) => ctx.has(i) && !servedByFloat32(ctx.dtype(i)));
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (!ctx.wants(0)) return 'the result is not read';
  if (ctx.int('do_rotary', 0) !== 0) return 'rotary positions';
  if (ctx.int('past_present_share_buffer', 0) !== 0) return 'a shared state buffer';
  const states = ctx.has(slots.past) || ctx.wants(1);
  if (states && (ctx.dtype(0) !== 'float32' || headSize !== valueSize)) return 'a state of another form';
  const shape = [2, batch, heads, past, headSize].join();
  if (ctx.has(slots.past) && ctx.dims(slots.past).join() !== shape) return 'a past state of another shape';
  if (ctx.has(slots.mask) && ctx.has(slots.bias)) return 'a mask beside an attention bias';
  const fits = !ctx.has(slots.bias) || maskStrides(ctx.dims(slots.bias), sizes);
  return fits ? paddingReason(ctx, slots.mask, sizes) : 'an attention bias of another form';
}

/** Keys (0) or values (1) with the past before them, in the state, which holds both. */
function inState(
  ctx: LowerContext,
  { slots, sizes, past }: Call,
  fresh: Placed,
  which: number,
  state: Operand,
): Placed {
  const { batch, heads, queries, keys, headSize } = sizes;
  const yOffset = which * batch * heads * keys * headSize;
  const to = [heads * keys * headSize, keys * headSize, headSize, 1];
  if (past) {
    const x = [heads * past * headSize, past * headSize, headSize, 1];
    const xOffset = which * batch * heads * past * headSize;
    moveStep(ctx, ctx.input(slots.past), state, { dims: [batch, heads, past, headSize], x, y: to, xOffset, yOffset });
  }
  moveStep(ctx, fresh.operand, state, {
    ...{ dims: [batch, heads, queries, headSize], x: fresh.at.slice(0, 4), y: to },
    ...{ xOffset: fresh.at[4], yOffset: yOffset + past * headSize },
  });
  return { operand: state, at: [to[0], to[1], to[2], 1, yOffset] };
}

/** Attention over the columns of a projection. */
function attendStep(ctx: LowerContext, call: Call, operand: Operand): void {
  const { slots, sizes, widths, past } = call;
  const { batch, heads, queries, keys, headSize, valueSize } = sizes;
  const columns = widths[0] + widths[1] + widths[2];
  const part = (from: number, size: number): Placed => ({
    operand,
    at: [queries * columns, size, columns, 1, from],
  });
  let [k, v] = [part(widths[0], headSize), part(2 * widths[0], valueSize)];
  if (ctx.has(slots.past) || ctx.wants(1)) {
    const state = ctx.wants(1) ? ctx.output(1) : ctx.scratch('float32', [2, batch, heads, keys, headSize]);
    [k, v] = [inState(ctx, call, k, 0, state), inState(ctx, call, v, 1, state)];
  }
  const bias = ctx.has(slots.bias) ? placedMask(floatInput(ctx, slots.bias), sizes) : undefined;
  const mask = ctx.has(slots.mask) ? paddingMaskOf(ctx, slots.mask, sizes) : bias;
  intoFloatOutput(ctx, 0, (y) =>
    attentionStep(ctx, {
      ...{ sizes, q: part(0, headSize), k, v, mask },
      y: placed(y, [batch, heads, queries, valueSize], true),
      hidden: ctx.float('mask_filter_value', -10000),
      causal: ctx.int('unidirectional', 0) ? past : undefined,
      scale: ctx.float('scale', 0) || 1 / Math.sqrt(headSize),
      undefinedRows: UNDEFINED_ROWS.hiddenZero,
    }),
  );
}

/** Attention of com.microsoft: projects, then attends. */
export function lowerMicrosoftAttention(ctx: LowerContext): string | undefined {
  const [dims, weights] = [ctx.dims(0), ctx.dims(WEIGHTS)];
  const fits = dims.length === 3 && weights.length === 2 && weights[0] === dims[2];
  const call = fits ? callOf(ctx, withWeights, weights[1]) : undefined;
  if (!call) return 'operands of another form';
  const reason = projectionReason(ctx) ?? reasonFor(ctx, call);
  if (reason) return reason;
  const operand = ctx.scratch('float32', [dims[0], dims[1], weights[1]]);
  const product = { rows: dims[0] * dims[1], depth: dims[2], columns: weights[1] };
  layerStep(ctx, { activation: NO_ACTIVATION, transposed: false }, product, [null, operand]);
  attendStep(ctx, call, operand);
  return undefined;
}

/** Attention on data that is projected already. */
export function lowerProjectedAttention(ctx: LowerContext): string | undefined {
  const call = callOf(ctx, projected, ctx.dims(0)[2]);
  if (!call) return 'operands of another form';
  const reason = reasonFor(ctx, call);
  if (reason) return reason;
  attendStep(ctx, call, floatInput(ctx, 0));
  return undefined;
}

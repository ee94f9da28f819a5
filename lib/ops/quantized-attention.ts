/** Attention over bytes, as the rewrites make it from quantized models. */

import { tensorType } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import type { AttentionSizes } from './attention-core.ts';
import { softmaxRow } from './attention-core.ts';
import {
  addedMask,
  attentionSizes,
  headMajor,
  inferAttention,
  inLayout,
  keepsAttentionRows,
  masking,
  placedAs,
} from './attention-fused.ts';
import { doubles } from './elements.ts';
import { bytes, expectType } from './integer-matmul.ts';
import type { LowerContext } from './lower.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { roundHalfEven } from './special-functions.ts';

const { fround } = Math;

const byteTypes = ['uint8', 'int8'] as const;
type ByteType = (typeof byteTypes)[number];

/** Sums of bytes along more than this many would leave 32 bits, or nearly. */
const DEEPEST = 1 << 15;

function byteType(ctx: NodeReader, name: 'scores_type' | 'weights_type' | 'y_type'): ByteType {
  const named = ctx.string(name, 'uint8');
  const known = byteTypes.find((type) => type === named);
  if (!known) throw ctx.error(`"${name}" is "${named}", expected ${byteTypes.join(' or ')}`);
  return known;
}

/** Bounds of bytes relative to their zero point. */
interface Rounded {
  readonly zero: number;
  readonly low: number;
  readonly high: number;
}

function roundedAs(ctx: NodeReader, which: 'scores' | 'weights' | 'y'): Rounded {
  const least = byteType(ctx, `${which}_type`) === 'int8' ? -128 : 0;
  const zero = ctx.int(`${which}_zero_point`, 0);
  return { zero, low: least - zero, high: least + 255 - zero };
}

/** A whole number relative to the zero point; NaN is the zero point itself. */
const round = (x: number, { low, high }: Rounded): number =>
  Number.isNaN(x) ? 0 : Math.min(Math.max(roundHalfEven(x), low), high);

/** Operand `i` less its zero point, as [batch, heads, length, size]. */
function centred(ctx: ReferenceContext, i: 0 | 1 | 2, sizes: AttentionSizes): Float64Array {
  const zero = ctx.int(`${(['q', 'k', 'v'] as const)[i]}_zero_point`, 0);
  return headMajor(ctx, i, sizes).map((byte) => byte - zero);
}

function quantizedAttention(ctx: ReferenceContext) {
  const sizes = attentionSizes(ctx, (i) => ctx.tensor(i).dims);
  const { batch, heads, kvHeads, queries, keys, headSize, valueSize } = sizes;
  const [q, k, v] = ([0, 1, 2] as const).map((i) => centred(ctx, i, sizes));
  const mask = masking(ctx, sizes);
  const [score, weight, result] = (['scores', 'weights', 'y'] as const).map((which) => roundedAs(ctx, which));
  const [scoreFactor, scoreScale] = [ctx.float('score_factor'), ctx.float('score_scale')];
  const [weightScale, valueFactor] = [ctx.float('weight_scale'), ctx.float('value_factor')];
  const y = doubles(batch * heads * queries * valueSize);
  const scores = doubles(keys);
  for (let row = 0; row < batch * heads * queries; row++) {
    const i = row % queries;
    const h = Math.floor(row / queries) % heads;
    const b = Math.floor(row / queries / heads);
    const kv = b * kvHeads + Math.floor(h / (heads / kvHeads));
    for (let j = 0; j < keys; j++) {
      let sum = 0;
      for (let d = 0; d < headSize; d++) sum += q[row * headSize + d] * k[(kv * keys + j) * headSize + d];
      scores[j] = fround(round(fround(sum * scoreFactor), score) * scoreScale);
    }
    mask?.(scores, b, h, i);
    // A row of hidden scores alone has no softmax.
    if (scores.every((s) => s === Number.NEGATIVE_INFINITY)) scores.fill(Number.NaN);
    softmaxRow(scores);
    for (let j = 0; j < keys; j++) scores[j] = round(scores[j] / weightScale, weight);
    for (let d = 0; d < valueSize; d++) {
      let sum = 0;
      for (let j = 0; j < keys; j++) sum += scores[j] * v[(kv * keys + j) * valueSize + d];
      y[row * valueSize + d] = result.zero + round(fround(sum * valueFactor), result);
    }
  }
  return [inLayout(ctx, byteType(ctx, 'y_type'), sizes, y)];
}

function lowerQuantized(ctx: LowerContext): string | undefined {
  const sizes = attentionSizes(ctx, (i) => ctx.dims(i));
  const { batch, heads, kvHeads, queries, keys, headSize, valueSize } = sizes;
  if (Math.max(keys, headSize, valueSize) > DEEPEST) return `sums of more than ${DEEPEST} products`;
  if (sizeOf(ctx.outputDims(0)) === 0) return 'an empty tensor';
  const [q, k, v] = (['q', 'k', 'v'] as const).map((which, i) => placedAs(ctx, ctx.input(i), which));
  const mask = addedMask(ctx, sizes);
  const y = placedAs(ctx, ctx.output(0), 'y');
  const [score, weight, result] = (['scores', 'weights', 'y'] as const).map((which) => roundedAs(ctx, which));
  const isSigned = (type: string): boolean => type === 'int8';
  const operands = [q.operand, k.operand, v.operand, mask?.operand ?? null, y.operand];
  ctx.step('attention.u8', operands, {
    ...{ batch, heads, kv_heads: kvHeads, queries, keys, head_size: headSize, value_size: valueSize },
    ...{ q_signed: isSigned(ctx.dtype(0)), k_signed: isSigned(ctx.dtype(1)), v_signed: isSigned(ctx.dtype(2)) },
    weights_signed: isSigned(byteType(ctx, 'weights_type')),
    y_signed: isSigned(ctx.outputDtype(0)),
    ...{ q_zero: ctx.int('q_zero_point', 0), k_zero: ctx.int('k_zero_point', 0), v_zero: ctx.int('v_zero_point', 0) },
    ...{ weights_zero: weight.zero, y_zero: result.zero },
    ...{ score_factor: ctx.float('score_factor'), score_low: score.low, score_high: score.high },
    score_scale: ctx.float('score_scale'),
    ...{ weight_factor: 1 / ctx.float('weight_scale'), weight_low: weight.low, weight_high: weight.high },
    ...{ value_factor: ctx.float('value_factor'), y_low: result.low, y_high: result.high },
    ...{ q: q.at, k: k.at, v: v.at, y: y.at, mask: mask?.at ?? [0, 0, 0, 0, 0] },
  });
  return undefined;
}

export const quantizedAttentionOps: readonly OpDefinition[] = [
  /**
   * Attention between DequantizeLinear and QuantizeLinear, heads apart, with scores and weights rounded to bytes too.
   *
   * Inputs: 0 q, 1 k, 2 v, bytes; 3 mask (optional, float32), which broadcasts to [b, h, queries, keys]. Layouts are those
   * of `filigree.Attention`.
   *
   * Sums of (q - q_zero_point) (k - k_zero_point) times `score_factor` are rounded to `scores_type`; the byte less
   * `scores_zero_point`, times `score_scale`, plus the mask goes through softmax. Its results divided by `weight_scale`
   * are rounded to `weights_type`. Sums of (weight - weights_zero_point) (v - v_zero_point) times `value_factor` are
   * rounded to `y_type` around `y_zero_point`.
   */
  defineOp({
    name: 'QAttention',
    domain: 'filigree',
    since: [1],
    inputs: [3, 4],
    outputs: [1, 1],
    attributes: {
      ...{ q_layout: 'string', k_layout: 'string', v_layout: 'string', y_layout: 'string' },
      ...{ q_zero_point: 'int', k_zero_point: 'int', v_zero_point: 'int' },
      ...{ scores_type: 'string', scores_zero_point: 'int', score_factor: 'float', score_scale: 'float' },
      ...{ weights_type: 'string', weights_zero_point: 'int', weight_scale: 'float', value_factor: 'float' },
      ...{ y_type: 'string', y_zero_point: 'int' },
    },
    infer: (ctx) => {
      for (const i of [0, 1, 2]) expectType(ctx, i, bytes);
      return [tensorType(byteType(ctx, 'y_type'), inferAttention(ctx))];
    },
    reference: quantizedAttention,
    keepsRows: keepsAttentionRows,
    lower: lowerQuantized,
  }),
];

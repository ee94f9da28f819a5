/** Padding masks of the com.microsoft attention operators, in all their forms. */

import { shapeText } from '../ir/shape.ts';
import { type HostTensor, toIntegers } from '../ir/tensor.ts';
import type { AttentionProblem, AttentionSizes } from './attention-core.ts';
import { maskRow } from './attention-mask.ts';
import type { NodeReader } from './op.ts';

/** Stands for "never": the lowest float32, as the operators add it where causality hides a key. */
const LOWEST = -3.4028234663852886e38;

/** Additive mask of query `i` of batch entry `b` at key `j`. */
export type Additive = (b: number, i: number, j: number) => number;

export interface MaskOptions {
  readonly sizes: AttentionSizes;
  /** Keys before the first query. */
  readonly past: number;
  readonly causal: boolean;
  /** Added where the mask hides a key. */
  readonly filter: number;
}

function fromRaw(mask: readonly number[], { sizes, filter }: MaskOptions, perQuery: boolean): Additive {
  const { queries, keys } = sizes;
  const at = perQuery
    ? (b: number, i: number, j: number): number => mask[(b * queries + i) * keys + j]
    : (b: number, _: number, j: number): number => mask[b * keys + j];
  return (b, i, j) => (at(b, i, j) > 0 ? 0 : filter);
}

/** Ends, or ends followed by starts, of the valid keys of each batch entry. */
function fromBounds(bounds: readonly number[], { sizes, filter }: MaskOptions): Additive {
  const starts = bounds.length === 2 * sizes.batch ? sizes.batch : undefined;
  return (b, _, j) => (j >= bounds[b] || (starts !== undefined && j < bounds[starts + b]) ? filter : 0);
}

/** The additive mask of `mask` and causality together; undefined where nothing is hidden. */
export function paddingMask(ctx: NodeReader, mask: HostTensor | undefined, o: MaskOptions): Additive | undefined {
  const { batch, queries, keys } = o.sizes;
  const causal: Additive | undefined = o.causal ? (_, i, j) => (j > o.past + i ? LOWEST : 0) : undefined;
  if (!mask) return causal;
  const values = toIntegers(mask);
  const { dims } = mask;
  const is = (...wanted: readonly number[]): boolean =>
    dims.length === wanted.length && dims.every((dim, i) => dim === wanted[i]);
  let padding: Additive;
  if (is(batch, queries, keys)) padding = fromRaw(values, o, true);
  else if (is(batch, keys)) padding = fromRaw(values, o, false);
  else if (is(batch) || is(2 * batch) || is(3 * batch + 2)) padding = fromBounds(values, o);
  else {
    const forms = `[${batch}], [${2 * batch}], [${batch},${keys}] or [${batch},${queries},${keys}]`;
    throw ctx.error(`the mask has shape ${shapeText(dims)}, expected ${forms}`);
  }
  return causal ? (b, i, j) => causal(b, i, j) || padding(b, i, j) : padding;
}

/** The bias hook of a problem: an additive mask and an `attention_bias` that broadcasts over batch and heads. */
export function biasHook(
  ctx: NodeReader,
  sizes: AttentionSizes,
  mask: Additive | undefined,
  bias: HostTensor | undefined,
): AttentionProblem['bias'] {
  if (!mask && !bias) return undefined;
  const addBias = bias && maskRow(ctx, bias, sizes, 'attention_bias');
  return (scores, b, h, i) => {
    addBias?.(scores, b, h, i);
    if (mask) for (let j = 0; j < scores.length; j++) scores[j] += mask(b, i, j);
    return true;
  };
}

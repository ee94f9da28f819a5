/** com.microsoft EmbedLayerNormalization: three embeddings, their sum normalised, and the length of each row. */

import type { DType } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toIntegers, toNumbers } from '../ir/tensor.ts';
import { dimAt } from './dims.ts';
import { alignsRows } from './keeps-rows.ts';
import { lowerEmbedding } from './ms-embedding-lower.ts';
import { normalizeRows, vector } from './ms-normalization.ts';
import { defineOp, type InferContext, type NodeReader, type ReferenceContext } from './op.ts';

/** Output types: [batch, length, hidden], [batch] and the sum. `dtype` is the type of the embeddings' values. */
export function inferEmbedding(ctx: InferContext, dtype: DType): (ValueType | undefined)[] {
  const ids = ctx.shape(0);
  const [batch, length] = [dimAt(ids, 0), dimAt(ids, 1)];
  const output = tensorType(dtype, [batch, length, dimAt(ctx.shape(2), 1)]);
  return [output, tensorType(ctx.dtype(0), [batch]), output];
}

/** Operands with the tables decoded to doubles. */
export interface Embedding {
  readonly ids: HostTensor;
  readonly segments: HostTensor | undefined;
  /** [vocabulary, hidden], [positions, hidden] and [segments, hidden]. */
  readonly word: HostTensor;
  readonly position: HostTensor;
  readonly segment: HostTensor | undefined;
  readonly gamma: HostTensor;
  readonly beta: HostTensor;
  readonly mask: HostTensor | undefined;
  readonly positions: HostTensor | undefined;
}

/** Adds the rows of `table` that `indices` name. */
function addRows(
  ctx: NodeReader,
  out: Float64Array,
  table: HostTensor,
  row: (i: number) => number,
  what: string,
): void {
  const [count, width] = table.dims;
  const values = toNumbers(table);
  for (let i = 0; i * width < out.length; i++) {
    const at = row(i);
    if (!(at >= 0 && at < count)) throw ctx.error(`${what} ${at} is outside the table of ${count} rows`);
    for (let d = 0; d < width; d++) out[i * width + d] += values[at * width + d];
  }
}

/** Lengths of the rows of a [batch, length] mask: how many entries are one before the first zero. */
function maskLengths(mask: HostTensor | undefined, batch: number, length: number): number[] {
  if (!mask) return new Array<number>(batch).fill(0);
  const values = toIntegers(mask);
  return Array.from(
    { length: batch },
    (_, b) => values.slice(b * length, (b + 1) * length).filter((m) => m === 1).length,
  );
}

/** The outputs of embedding and normalisation. */
export function embed(ctx: ReferenceContext, e: Embedding): HostValue[] {
  const [batch, length] = e.ids.dims;
  const hidden = e.word.dims[1];
  if (e.ids.dims.length !== 2 || e.word.dims.length !== 2) {
    throw ctx.error(`ids of shape ${shapeText(e.ids.dims)} and words of shape ${shapeText(e.word.dims)}`);
  }
  const same = [e.position, e.segment].every((t) => !t || (t.dims.length === 2 && t.dims[1] === hidden));
  if (!same)
    throw ctx.error(`the embeddings differ in width: ${shapeText(e.word.dims)}, ${shapeText(e.position.dims)}`);
  for (const [t, what] of [
    [e.segments, 'segment_ids'],
    [e.mask, 'mask'],
  ] as const) {
    if (t && (t.dims[0] !== batch || t.dims[1] !== length)) throw ctx.error(`${what} has shape ${shapeText(t.dims)}`);
  }
  const sum = new Float64Array(batch * length * hidden);
  const ids = toIntegers(e.ids);
  addRows(ctx, sum, e.word, (i) => ids[i], 'word id');
  const positions = e.positions && toIntegers(e.positions);
  if (positions && positions.length !== length && positions.length !== batch * length) {
    throw ctx.error(`position_ids has shape ${shapeText(e.positions?.dims)}`);
  }
  addRows(ctx, sum, e.position, (i) => (positions ? positions[i % positions.length] : i % length), 'position');
  if (e.segment && e.segments) {
    const segments = toIntegers(e.segments);
    addRows(ctx, sum, e.segment, (i) => segments[i], 'segment id');
  }
  const y = sum.slice();
  normalizeRows(y, {
    width: hidden,
    epsilon: ctx.float('epsilon', 1e-12),
    simplified: false,
    gamma: vector(ctx, e.gamma, hidden, 'gamma'),
    beta: vector(ctx, e.beta, hidden, 'beta'),
  });
  const dtype = e.word.dtype;
  return [
    fromNumbers(dtype, [batch, length, hidden], y),
    fromNumbers(e.ids.dtype, [batch], maskLengths(e.mask, batch, length)),
    fromNumbers(dtype, [batch, length, hidden], sum),
  ];
}

const slots = {
  ...{ ids: 0, segments: 1, word: { input: 2 }, position: { input: 3 }, segment: { input: 4 } },
  ...{ gamma: { input: 5 }, beta: { input: 6 }, mask: 7, positions: 8 },
};

export const embedLayerNormalization = defineOp({
  name: 'EmbedLayerNormalization',
  domain: 'com.microsoft',
  since: [1],
  inputs: [7, 9],
  omittable: [1, 4],
  outputs: [1, 3],
  attributes: { epsilon: 'float', mask_index_type: 'int' },
  infer: (ctx) => inferEmbedding(ctx, ctx.dtype(2)),
  keepsRows: (node, inputs) =>
    !inputs.shared[0] &&
    [1, 7].every((i) => !node.has(i) || !inputs.shared[i]) &&
    inputs.shared.slice(2, 7).every(Boolean) &&
    alignsRows(inputs, 8, 2),
  reference: (ctx) =>
    embed(ctx, {
      ids: ctx.tensor(0),
      segments: ctx.optional(1),
      word: ctx.tensor(2),
      position: ctx.tensor(3),
      segment: ctx.optional(4),
      gamma: ctx.tensor(5),
      beta: ctx.tensor(6),
      mask: ctx.optional(7),
      positions: ctx.optional(8),
    }),
  lower: (ctx) => lowerEmbedding(ctx, slots),
});

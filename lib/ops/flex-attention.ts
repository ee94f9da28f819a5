/** FlexAttention of ai.onnx.preview: attention with bodies that modify scores and probabilities. */

import { type DType, dtypeFromOnnx, dtypeInfo, isFloat } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { sameShape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostValue, toNumbers } from '../ir/tensor.ts';
import { softmaxRow } from './attention-core.ts';
import { dimAt } from './dims.ts';
import { defineOp, type NodeReader, type ReferenceContext } from './op.ts';

function computeType(ctx: NodeReader, dtype: DType): DType {
  if (!ctx.hasAttribute('softmax_precision')) return dtypeInfo(dtype).bits < 32 ? 'float32' : dtype;
  const asked = dtypeFromOnnx(ctx.int('softmax_precision'));
  if (!asked || !isFloat(asked)) throw ctx.error(`softmax_precision ${ctx.int('softmax_precision')} is no float type`);
  return asked;
}

/** Runs a modifier on [batch, heads, queries, keys] values, or gives them back where there is none. */
function modified(ctx: ReferenceContext, name: string, values: Float64Array, type: DType, dims: number[]) {
  if (!ctx.hasAttribute(name)) return values;
  const [out] = ctx.runGraph(ctx.graph(name), [fromNumbers(type, dims, values)]);
  if (out?.kind !== 'tensor' || !sameShape(out.dims, dims)) {
    const got = out?.kind === 'tensor' ? shapeText(out.dims) : out?.kind;
    throw ctx.error(`${name} gave ${got}, expected a tensor of shape ${shapeText(dims)}`);
  }
  return Float64Array.from(toNumbers(out));
}

function reference(ctx: ReferenceContext): HostValue[] {
  const [q, k, v] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const [batch, heads, queries, size] = q.dims;
  const [, kvHeads, keys] = k.dims;
  const valueSize = v.dims[3];
  const fits =
    q.dims.length === 4 &&
    sameShape(k.dims, [batch, kvHeads, keys, size]) &&
    sameShape(v.dims, [batch, kvHeads, keys, valueSize]) &&
    heads % kvHeads === 0;
  if (!fits) {
    const text = [q, k, v].map((t) => shapeText(t.dims)).join(', ');
    throw ctx.error(`query, key and value have shapes ${text}, expected rank 4 that fit together`);
  }
  const [qs, ks, vs] = [toNumbers(q), toNumbers(k), toNumbers(v)];
  const scale = ctx.float('scale', 1 / Math.sqrt(size));
  const type = computeType(ctx, q.dtype);
  const dims = [batch, heads, queries, keys];
  let scores: Float64Array = new Float64Array(batch * heads * queries * keys);
  const kvOf = (row: number): number => {
    const bh = Math.floor(row / queries);
    return Math.floor(bh / heads) * kvHeads + Math.floor(((bh % heads) * kvHeads) / heads);
  };
  const rows = batch * heads * queries;
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < keys; j++) {
      const at = (kvOf(row) * keys + j) * size;
      let sum = 0;
      for (let d = 0; d < size; d++) sum += qs[row * size + d] * ks[at + d];
      scores[row * keys + j] = sum * scale;
    }
  }
  scores = modified(ctx, 'score_mod', scores, type, dims);
  for (let row = 0; row < rows; row++) softmaxRow(scores.subarray(row * keys, (row + 1) * keys));
  scores = modified(ctx, 'prob_mod', scores, type, dims);
  const out = new Float64Array(rows * valueSize);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < keys; j++) {
      const at = (kvOf(row) * keys + j) * valueSize;
      for (let d = 0; d < valueSize; d++) out[row * valueSize + d] += scores[row * keys + j] * vs[at + d];
    }
  }
  return [fromNumbers(q.dtype, [batch, heads, queries, valueSize], out)];
}

export const flexAttention = defineOp({
  name: 'FlexAttention',
  domain: 'ai.onnx.preview',
  since: [1],
  inputs: [3, 3],
  outputs: [1, 1],
  attributes: { prob_mod: 'graph', scale: 'float', score_mod: 'graph', softmax_precision: 'int' },
  traits: ['control'],
  infer: (ctx) => {
    const q = ctx.shape(0);
    return [tensorType(ctx.dtype(0), [dimAt(q, 0), dimAt(q, 1), dimAt(q, 2), dimAt(ctx.shape(2), 3)])];
  },
  reference,
});

/** QAttention and QEmbedLayerNormalization: fused transformer operators over quantised operands. */

import { shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { dimAt } from './dims.ts';
import { attendProjected, inferProjected, projectedAttributes, projectedOutputs } from './ms-attention.ts';
import { multiply } from './ms-attention-state.ts';
import { embed, inferEmbedding } from './ms-embedding.ts';
import { lowerEmbedding } from './ms-embedding-lower.ts';
import { dequantize, perColumn, scalarInput } from './ms-quantization.ts';
import { defineOp, type OpDefinition, type ReferenceContext } from './op.ts';

function attentionReference(ctx: ReferenceContext): HostValue[] {
  const [input, weights, bias] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const [batch, length, inner] = input.dims;
  const columns = weights.dims[1];
  if (input.dims.length !== 3 || weights.dims.length !== 2 || weights.dims[0] !== inner) {
    throw ctx.error(`input ${shapeText(input.dims)} and weights ${shapeText(weights.dims)} do not fit`);
  }
  const zero = scalarInput(ctx, 6, "the input's zero point", 0);
  const scale = scalarInput(ctx, 3, "the input's scale");
  const scales = perColumn(ctx, ctx.tensor(4), columns, "the weight's scale");
  const zeros = perColumn(ctx, ctx.optional(7), columns, "the weight's zero point");
  const offsets = perColumn(ctx, bias, columns, 'the bias');
  const x = Float64Array.from(toNumbers(input), (q) => q - zero);
  const w = Float64Array.from(toNumbers(weights), (q, i) => q - zeros[i % columns]);
  const qkv = multiply(x, w, inner, columns).map((sum, i) => sum * scale * scales[i % columns] + offsets[i % columns]);
  const out = attendProjected(ctx, qkv, [batch, length, columns], {
    mask: ctx.optional(5),
    past: ctx.optional(8),
    pastLengthInput: Number.MAX_SAFE_INTEGER,
  });
  return projectedOutputs(ctx, bias.dtype, out);
}

/** The quantised input `i` as float32 values; scale and zero point are in the other two inputs. */
function table(ctx: ReferenceContext, i: number, scale: number, zero: number): HostTensor {
  const t = ctx.tensor(i);
  const linear = { scale: scalarInput(ctx, scale, 'a scale'), zero: scalarInput(ctx, zero, 'a zero point', 0) };
  return fromNumbers('float32', t.dims, dequantize(t, linear));
}

const bytesIn = (input: number, scale: number, zero: number) => ({ input, scale, zero });

const embeddingSlots = {
  ...{ ids: 0, segments: 1, word: bytesIn(2, 8, 13), position: bytesIn(3, 9, 14), segment: bytesIn(4, 10, 15) },
  ...{ gamma: bytesIn(5, 11, 16), beta: bytesIn(6, 12, 17), mask: 7, positions: undefined },
};

export const msQAttentionOps: readonly OpDefinition[] = [
  defineOp({
    name: 'QAttention',
    domain: 'com.microsoft',
    since: [1],
    inputs: [5, 9],
    outputs: [1, 2],
    attributes: projectedAttributes,
    infer: (ctx) => inferProjected(ctx, dimAt(ctx.shape(1), 1), 8, ctx.dtype(2)),
    reference: attentionReference,
  }),
  defineOp({
    name: 'QEmbedLayerNormalization',
    domain: 'com.microsoft',
    since: [1],
    inputs: [18, 18],
    omittable: [1, 4, 7, 10, 15],
    outputs: [1, 2],
    attributes: { epsilon: 'float' },
    infer: (ctx) => inferEmbedding(ctx, 'float32').slice(0, 2),
    reference: (ctx) =>
      embed(ctx, {
        ids: ctx.tensor(0),
        segments: ctx.optional(1),
        word: table(ctx, 2, 8, 13),
        position: table(ctx, 3, 9, 14),
        segment: ctx.has(4) ? table(ctx, 4, 10, 15) : undefined,
        gamma: table(ctx, 5, 11, 16),
        beta: table(ctx, 6, 12, 17),
        mask: ctx.optional(7),
        positions: undefined,
      }).slice(0, 2),
    lower: (ctx) => lowerEmbedding(ctx, embeddingSlots),
  }),
];

/** com.microsoft DecoderMaskedMultiHeadAttention: one new token against a cache. */

import { attendMultiHead, inferMultiHead, type MultiHeadInputs } from './ms-multi-head.ts';
import { defineOp } from './op.ts';

const inputs: MultiHeadInputs = { bias: 10, mask: 3, attentionBias: 4, pastKey: 5, pastValue: 6, pastLength: 7 };

export const decoderMaskedAttention = defineOp({
  name: 'DecoderMaskedMultiHeadAttention',
  domain: 'com.microsoft',
  since: [1],
  inputs: [1, 11],
  outputs: [1, 4],
  attributes: {
    mask_filter_value: 'float',
    num_heads: 'int',
    output_qk: 'int',
    past_present_share_buffer: 'int',
    scale: 'float',
  },
  infer: (ctx) => inferMultiHead(ctx, inputs),
  reference: (ctx) => {
    if (ctx.has(9)) throw ctx.error('the input cache_indirection (beam search inside the node) is not supported');
    return attendMultiHead(ctx, inputs, false);
  },
});

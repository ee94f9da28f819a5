/** Scales and shifts by channel, as the rewrites make them of batch normalisations and products with constants. */

import { tensorType } from '../ir/graph.ts';
import { shapeText, sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { activate, activationOf, epilogueAttributes } from './epilogue.ts';
import { defineOp, type OpDefinition, type ReferenceContext } from './op.ts';
import { lowerScale } from './scale-lower.ts';

function scaleReference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const [, channels] = x.dims;
  const [scale, shift] = [1, 2].map((i) => {
    const factors = ctx.optional(i);
    if (factors && sizeOf(factors.dims) !== channels) {
      throw ctx.error(`input ${i} is ${shapeText(factors.dims)}, expected ${channels} elements`);
    }
    return factors && toNumbers(factors);
  });
  const given = ctx.optional(3);
  const residual = given && toNumbers(given);
  const plane = sizeBetween(x.dims, 2, x.dims.length);
  const f = activate(ctx);
  const y = Float64Array.from(toNumbers(x), (v, i) => {
    const c = Math.floor(i / plane) % channels;
    return f(v * (scale ? scale[c] : 1) + (shift ? shift[c] : 0) + (residual ? residual[i] : 0));
  });
  return [fromNumbers(x.dtype, x.dims, y)];
}

export const scaleOps: readonly OpDefinition[] = [
  // Inputs: x [N, C, ...], scale [C]?, shift [C]?, residual? of x's shape.
  defineOp({
    name: 'Scale',
    domain: 'filigree',
    since: [1],
    inputs: [1, 4],
    outputs: [1, 1],
    attributes: epilogueAttributes,
    traits: ['elementwise'],
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: scaleReference,
    lower: (ctx) => lowerScale(ctx, activationOf(ctx)),
  }),
];

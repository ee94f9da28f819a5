/** Convolutions of com.microsoft: with activation and residual, and over channels-last data. */

import { type TensorType, tensorType, type ValueType } from '../ir/graph.ts';
import { type Shape, sameShape, shapeText, stridesOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { convAttributes, convolve, convProblem, convShape, filledWithBias } from './conv.ts';
import { convTransposeOps } from './conv-transpose.ts';
import { delegateInfer, delegateReference, member } from './delegate.ts';
import { expectSame } from './elements.ts';
import { strided } from './movement.ts';
import { namedActivation } from './ms-activation.ts';
import { defineOp, type InferContext, type OpDefinition, type ReferenceContext } from './op.ts';

/** Channels last to channels first, or back. */
export function moveChannels(t: HostTensor, to: 'first' | 'last'): HostTensor {
  const rank = t.dims.length;
  const spatial = Array.from({ length: rank - 2 }, (_, i) => (to === 'first' ? i + 1 : i + 2));
  const order = to === 'first' ? [0, rank - 1, ...spatial] : [0, ...spatial, 1];
  const strides = stridesOf(t.dims);
  return strided(
    t,
    order.map((i) => t.dims[i]),
    order.map((i) => strides[i]),
  );
}

/** A channels-last shape as a channels-first one. */
export const channelsFirst = (shape: Shape | undefined): Shape | undefined =>
  shape && shape.length > 2 ? [shape[0], shape.at(-1) ?? null, ...shape.slice(1, -1)] : shape;

function inferFused(ctx: InferContext, last: boolean): (ValueType | undefined)[] {
  const x = last ? channelsFirst(ctx.shape(0)) : ctx.shape(0);
  const shape = convShape(ctx, x, ctx.shape(1), ctx.shape(2));
  const output = last && shape ? [shape[0], ...shape.slice(2), shape[1]] : shape;
  return [tensorType(expectSame(ctx, 2), output)];
}

function fusedReference(ctx: ReferenceContext, last: boolean): HostValue[] {
  const x = last ? moveChannels(ctx.tensor(0), 'first') : ctx.tensor(0);
  const weight = ctx.tensor(1);
  const bias = ctx.optional(2);
  const p = convProblem(ctx, x.dims, weight.dims, bias?.dims);
  const y = filledWithBias(p.dims, bias);
  convolve(p, toNumbers(x), toNumbers(weight), y);
  const residual = ctx.optional(3);
  if (residual) {
    const z = last ? moveChannels(residual, 'first') : residual;
    if (!sameShape(z.dims, p.dims)) {
      throw ctx.error(`the residual has shape ${shapeText(residual.dims)}, the output ${shapeText(p.dims)}`);
    }
    const values = toNumbers(z);
    for (let i = 0; i < y.length; i++) y[i] += values[i];
  }
  const f = namedActivation(ctx, ctx.string('activation', ''), ctx.floats('activation_params', []));
  const output = fromNumbers(x.dtype, p.dims, y.map(f));
  return [last ? moveChannels(output, 'last') : output];
}

function fusedConv(name: string, last: boolean, fused: boolean): OpDefinition {
  return defineOp({
    name,
    domain: 'com.microsoft',
    since: [1],
    inputs: [2, fused ? 4 : 3],
    outputs: [1, 1],
    attributes: fused ? { ...convAttributes, activation: 'string', activation_params: 'floats' } : convAttributes,
    infer: (ctx) => inferFused(ctx, last),
    reference: (ctx) => fusedReference(ctx, last),
  });
}

/** The pads of ConvTransposeWithDynamicPads as the attribute of ConvTranspose. */
function dynamicPads(pads: readonly number[] | undefined) {
  return {
    op: member(convTransposeOps, 'ConvTranspose'),
    version: 11,
    inputs: [0, 1, 3],
    attributes: pads ? ({ pads: { type: 'ints', value: pads } } as const) : undefined,
  };
}

export const msConvOps: readonly OpDefinition[] = [
  fusedConv('FusedConv', false, true),
  fusedConv('NhwcFusedConv', true, true),
  fusedConv('NhwcConv', true, false),
  defineOp({
    name: 'ConvTransposeWithDynamicPads',
    domain: 'com.microsoft',
    since: [1],
    inputs: [2, 4],
    outputs: [1, 1],
    attributes: {
      auto_pad: 'string',
      dilations: 'ints',
      group: 'int',
      kernel_shape: 'ints',
      output_padding: 'ints',
      strides: 'ints',
    },
    infer: (ctx) => {
      const pads = ctx.integers(2);
      if (!ctx.has(2) || pads) return delegateInfer(ctx, dynamicPads(pads));
      const [type] = delegateInfer(ctx, dynamicPads(undefined)) as [TensorType];
      return [
        tensorType(
          type.dtype,
          type.shape?.map((dim, i) => (i < 2 ? dim : null)),
        ),
      ];
    },
    reference: (ctx) => delegateReference(ctx, dynamicPads(ctx.has(2) ? ctx.integers(2) : undefined)),
  }),
];

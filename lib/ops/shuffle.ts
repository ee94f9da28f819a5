/** Shuffles of channels, as the rewrites make them of two views with a transpose between. */

import { tensorType } from '../ir/graph.ts';
import type { SegmentLayout } from '../ir/segments.ts';
import { sizeOf, stridesOf } from '../ir/shape.ts';
import { type HostTensor, reshaped } from '../ir/tensor.ts';
import type { LowerContext } from './lower.ts';
import { lowerMove } from './lower-movement.ts';
import { strided } from './movement.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** The walk over [N, channels of a group, groups, ...] that reads a tensor of these dims. */
function shuffleWalk(ctx: NodeReader, dims: readonly number[]): { dims: number[]; strides: number[] } {
  const groups = ctx.int('group');
  const [batch, channels, ...rest] = dims;
  if (groups < 1 || channels % groups !== 0) throw ctx.error(`${channels} channels do not make ${groups} groups`);
  const each = channels / groups;
  const [perImage, perChannel, ...others] = stridesOf(dims);
  return { dims: [batch, each, groups, ...rest], strides: [perImage, perChannel, each * perChannel, ...others] };
}

function shuffle(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const walk = shuffleWalk(ctx, x.dims);
  return [reshaped(strided(x, walk.dims, walk.strides), x.dims)];
}

function lowerShuffle(ctx: LowerContext): string | undefined {
  const dims = ctx.dims(0);
  const layout = ctx.dtype(0) === 'float32' && sizeOf(dims) > 0 ? ctx.segmentsOf(0) : undefined;
  const walk = shuffleWalk(ctx, dims);
  if (layout?.axis !== 'planes') return lowerMove(ctx, walk.dims, walk.strides);
  const x = ctx.inputSegments(0, layout);
  const y = ctx.outputSegments(0, layout);
  const groups = ctx.int('group');
  const channels = layout.size.c / groups;
  for (let g = 0; g < groups; g++) {
    ctx.step('segments.copy', [x, y], {
      from_channel: (x.channel ?? 0) + g * channels,
      to_channel: (y.channel ?? 0) + g,
      channels,
      to_step: groups,
      from: x.layout as SegmentLayout,
      to: y.layout as SegmentLayout,
    });
  }
  return undefined;
}

export const shuffleOps: readonly OpDefinition[] = [
  // Input x [N, C, ...]: output channel c * group + g is channel g * (C / group) + c.
  defineOp({
    name: 'ShuffleChannels',
    domain: 'filigree',
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { group: 'int' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    channels: () => 'shuffle',
    keepsRows: () => true,
    reference: shuffle,
    lower: lowerShuffle,
  }),
];

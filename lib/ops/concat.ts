/** Concat and Tile: larger tensors out of smaller ones. */

import { tensorType } from '../ir/graph.ts';
import { type SegmentLayout, segmentChannels } from '../ir/segments.ts';
import { type Dim, type Shape, shapeText, sizeBetween, sizeOf, stridesOf } from '../ir/shape.ts';
import { type HostTensor, reshaped, unpacked } from '../ir/tensor.ts';
import { expectSame } from './elements.ts';
import type { LowerContext } from './lower.ts';
import { immovable, lowerMove, moveStep, type StridedMove, tooManyAxes } from './lower-movement.ts';
import { Assembly, strided } from './movement.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
  sparesRows,
} from './op.ts';

/**
 * Which tensors take part in a join. Those without elements are left out where they would not fit: a cache that is still
 * empty may have a batch of 0.
 */
function joining(shapes: readonly Shape[], axis: number): boolean[] {
  const first = shapes.find((shape) => !shape.includes(0));
  const fits = (shape: Shape): boolean =>
    !first || shape.every((dim, i) => i === axis || typeof dim !== 'number' || dim === first[i]);
  return shapes.map((shape) => !shape.includes(0) || shape.length !== first?.length || fits(shape));
}

/** Shape of tensors joined along `axis`; throws where another axis differs. */
export function concatShape(ctx: NodeReader, shapes: readonly Shape[], axis: number): Dim[] {
  const taken = joining(shapes, axis);
  const [head, ...rest] = shapes.filter((_, i) => taken[i]);
  const out = [...head];
  for (const shape of rest) {
    if (shape.length !== out.length) {
      throw ctx.error(`cannot join ${shapeText(shapes[0])} and ${shapeText(shape)} along axis ${axis}`);
    }
    shape.forEach((dim, i) => {
      const held = out[i];
      if (i === axis) out[i] = typeof held === 'number' && typeof dim === 'number' ? held + dim : null;
      else if (typeof held !== 'number') out[i] = typeof dim === 'number' ? dim : (held ?? dim);
      else if (typeof dim === 'number' && dim !== held) {
        throw ctx.error(`cannot join ${shapeText(shapes[0])} and ${shapeText(shape)} along axis ${axis}`);
      }
    });
  }
  return out;
}

/** Joins tensors of one type along a non-negative `axis`. */
export function concatenate(ctx: NodeReader, parts: readonly HostTensor[], axis: number): HostTensor {
  const shapes = parts.map((t) => t.dims);
  const dims = concatShape(ctx, shapes, axis) as number[];
  const taken = joining(shapes, axis);
  const outer = sizeBetween(dims, 0, axis);
  const stride = sizeBetween(dims, axis, dims.length);
  const out = new Assembly(parts[0].dtype, dims);
  let at = 0;
  for (const [k, part] of parts.entries()) {
    if (!taken[k]) continue;
    if (part.dtype !== parts[0].dtype) throw ctx.error(`cannot join ${parts[0].dtype} and ${part.dtype}`);
    const from = unpacked(part);
    const run = sizeBetween(part.dims, axis, dims.length);
    for (let i = 0; i < outer && run > 0; i++) out.copy(from, i * run, at + i * stride, run);
    at += run;
  }
  return out.tensor();
}

function concatAxis(ctx: NodeReader, rank: number): number {
  return normalizeAxis(ctx, ctx.version < 4 ? ctx.int('axis', 1) : ctx.int('axis'), rank);
}

function inferConcat(ctx: InferContext): Shape | undefined {
  const shapes = Array.from({ length: ctx.inputCount }, (_, i) => ctx.shape(i));
  const known = shapes.find((shape) => shape !== undefined);
  if (!known) return undefined;
  const axis = concatAxis(ctx, known.length);
  if (shapes.every((shape) => shape !== undefined)) return concatShape(ctx, shapes as Shape[], axis);
  return known.map((dim, i) => (i === axis ? null : dim));
}

/** Repeats of each axis; version 1 repeats a single axis. */
function tileRepeats(
  ctx: NodeReader,
  rank: number,
  first: readonly number[],
  second: readonly number[],
): readonly number[] {
  if (ctx.version < 6) {
    const axis = normalizeAxis(ctx, second[0], rank);
    return Array.from({ length: rank }, (_, i) => (i === axis ? first[0] : 1));
  }
  if (first.length !== rank || first.some((n) => n < 0)) {
    throw ctx.error(`repeats [${first.join(',')}] do not fit a tensor of rank ${rank}`);
  }
  return first;
}

function inferTile(ctx: InferContext): Shape | undefined {
  const shape = ctx.shape(0);
  if (!shape) return undefined;
  const [first, second] = [ctx.integers(1), ctx.version < 6 ? ctx.integers(2) : []];
  if (!first || !second) return shape.map(() => null);
  const repeats = tileRepeats(ctx, shape.length, first, second);
  return shape.map((dim, i) => (typeof dim === 'number' ? dim * repeats[i] : repeats[i] === 1 ? dim : null));
}

function tile(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const repeats = tileRepeats(ctx, x.dims.length, ctx.integers(1), ctx.version < 6 ? ctx.integers(2) : []);
  const strides = stridesOf(x.dims);
  const tiled = strided(
    x,
    x.dims.flatMap((dim, i) => [repeats[i], dim]),
    strides.flatMap((stride) => [0, stride]),
  );
  return reshaped(
    tiled,
    x.dims.map((dim, i) => dim * repeats[i]),
  );
}

/** The segment layout that most channels of a concatenation of channels lie in; undefined where most lie in none. */
function joinedLayout(ctx: LowerContext): SegmentLayout | undefined {
  const total = ctx.outputDims(0)[1];
  const held: { readonly layout: SegmentLayout; channels: number }[] = [];
  let end = 0;
  for (let i = 0; i < ctx.inputCount; i++) {
    const dims = ctx.dims(i);
    end += dims[1];
    if (sizeOf(dims) === 0 || (end < total && !segmentChannels(ctx.dtype(0), end))) return undefined;
    const layout = ctx.segmentsOf(i);
    if (layout?.axis !== 'planes') continue;
    const alike = held.find((each) => each.layout.samePositions(layout));
    if (alike) alike.channels += dims[1];
    else held.push({ layout, channels: dims[1] });
  }
  const inSegments = held.reduce((sum, { channels }) => sum + channels, 0);
  if (2 * inSegments < total) return undefined;
  return held.sort((a, b) => b.channels - a.channels)[0].layout.withChannels(total);
}

function lowerConcat(ctx: LowerContext): string | undefined {
  const reason = immovable(ctx);
  if (reason) return reason;
  const dims = ctx.outputDims(0);
  const axis = concatAxis(ctx, dims.length);
  const layout = axis === 1 ? joinedLayout(ctx) : undefined;
  if (layout) {
    ctx.joinSegments(layout);
    return undefined;
  }
  const strides = stridesOf(dims);
  let at = 0;
  const parts = Array.from({ length: ctx.inputCount }, (_, i) => ctx.dims(i));
  const taken = joining(parts, axis);
  const moves = parts.map((part, i): StridedMove => {
    if (!taken[i]) return { dims: part, x: stridesOf(part), y: strides, yOffset: 0 };
    at += part[axis];
    return { dims: part, x: stridesOf(part), y: strides, yOffset: (at - part[axis]) * strides[axis] };
  });
  const many = tooManyAxes(moves);
  if (many) return many;
  const y = ctx.output(0);
  moves.forEach((move, i) => {
    moveStep(ctx, ctx.input(i), y, move);
  });
  return undefined;
}

function lowerTile(ctx: LowerContext): string | undefined {
  const [first, second] = [ctx.integers(1), ctx.version < 6 ? ctx.integers(2) : []];
  if (!first || !second) return 'repeats that are not known';
  const dims = ctx.dims(0);
  const repeats = tileRepeats(ctx, dims.length, first, second);
  const strides = stridesOf(dims);
  return lowerMove(
    ctx,
    dims.flatMap((dim, i) => [repeats[i], dim]),
    strides.flatMap((stride) => [0, stride]),
  );
}

export const concatOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Concat',
    since: [1, 4, 11, 13],
    inputs: [1, Number.POSITIVE_INFINITY],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(expectSame(ctx, ctx.inputCount), inferConcat(ctx))],
    channels: (node, rank) => (concatAxis(node, rank) === 1 ? 'join' : undefined),
    keepsRows: (node, { ranks, shared }) => sparesRows(node.int('axis', 1), ranks[0]) && !shared.includes(true),
    affine: () => true,
    reference: (ctx) => {
      const parts = Array.from({ length: ctx.inputCount }, (_, i) => ctx.tensor(i));
      return [concatenate(ctx, parts, concatAxis(ctx, parts[0].dims.length))];
    },
    lower: lowerConcat,
  }),
  defineOp({
    name: 'Tile',
    since: [1, 6, 13],
    inputs: [2, 3],
    outputs: [1, 1],
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), inferTile(ctx))],
    sizeInputs: [1],
    keepsRows: (node, { shared, numbers }) => node.inputCount === 2 && (shared[0] || numbers(1)?.[0] === 1),
    reference: (ctx) => [tile(ctx)],
    lower: lowerTile,
  }),
];

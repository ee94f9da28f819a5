/** Pad and CenterCropPad. */

import { tensorType } from '../ir/graph.ts';
import type { Dim, Shape } from '../ir/shape.ts';
import { sizeOf } from '../ir/shape.ts';
import { allocate, checkAllocatable, fromNumbers, type HostTensor } from '../ir/tensor.ts';
import { normalizeAxes } from './axes.ts';
import { axesOf, firstAlone } from './keeps-rows.ts';
import type { LowerContext } from './lower.ts';
import { lowerAxisMaps } from './lower-movement.ts';
import { mapAxes } from './movement.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const modes = ['constant', 'reflect', 'edge', 'wrap'] as const;
type Mode = (typeof modes)[number];

function padMode(ctx: NodeReader): Mode {
  const mode = ctx.string('mode', 'constant') as Mode;
  if (!modes.includes(mode)) throw ctx.error(`mode is "${mode}", expected one of ${modes.join(', ')}`);
  return mode;
}

/** Elements added before and after an axis; negative ones are taken away. */
type Amount = readonly [before: number, after: number];

/** The amounts of every axis of a tensor of rank `rank`. */
function padAmounts(
  ctx: NodeReader,
  rank: number,
  pads: readonly number[],
  axes: readonly number[] | undefined,
): Amount[] {
  const on = axes ? normalizeAxes(ctx, axes, rank) : Array.from({ length: rank }, (_, i) => i);
  if (pads.length !== 2 * on.length) {
    throw ctx.error(`pads has ${pads.length} entries, expected two for each of ${on.length} axes`);
  }
  const amounts: Amount[] = Array.from({ length: rank }, () => [0, 0]);
  on.forEach((axis, i) => {
    amounts[axis] = [pads[i], pads[i + on.length]];
  });
  return amounts;
}

function paddedDim(ctx: NodeReader, dim: Dim, [before, after]: Amount): Dim {
  if (typeof dim !== 'number') return before === 0 && after === 0 ? dim : null;
  const size = dim + before + after;
  if (size < 0) throw ctx.error(`pads ${before} and ${after} leave less than nothing of a size of ${dim}`);
  return size;
}

/** Source index of each output index of an axis, -1 for the constant. Removal comes before addition. */
function padMap(ctx: NodeReader, mode: Mode, dim: number, amount: Amount): Float64Array {
  const [before, after] = amount;
  const low = Math.max(-before, 0);
  const n = dim - low - Math.max(-after, 0);
  const size = paddedDim(ctx, dim, amount) as number;
  if (mode !== 'constant' && n <= 0 && size > 0) {
    throw ctx.error(`mode "${mode}" cannot pad an axis that has no elements`);
  }
  const map = allocate('float64', size) as Float64Array;
  for (let i = 0; i < size; i++) {
    const at = i - Math.max(before, 0);
    map[i] = at >= 0 && at < n ? at + low : outside(mode, at, n, low);
  }
  return map;
}

function outside(mode: Mode, at: number, n: number, low: number): number {
  if (mode === 'constant') return -1;
  if (mode === 'edge') return low + (at < 0 ? 0 : n - 1);
  if (mode === 'wrap') return low + (((at % n) + n) % n);
  if (n === 1) return low;
  const period = 2 * (n - 1);
  const phase = ((at % period) + period) % period;
  return low + (phase < n ? phase : period - phase);
}

/** Name of the attribute before version 11. */
const padsAttribute = (ctx: NodeReader): string => (ctx.version < 2 ? 'paddings' : 'pads');

function inferPad(ctx: InferContext): Shape | undefined {
  padMode(ctx);
  const shape = ctx.shape(0);
  if (!shape) return undefined;
  if (ctx.version < 11) {
    const amounts = padAmounts(ctx, shape.length, ctx.ints(padsAttribute(ctx)), undefined);
    return shape.map((dim, i) => paddedDim(ctx, dim, amounts[i]));
  }
  const [pads, axes] = [ctx.integers(1), ctx.has(3) ? ctx.integers(3) : undefined];
  if (!pads || (ctx.has(3) && !axes)) return shape.map(() => null);
  const amounts = padAmounts(ctx, shape.length, pads, axes);
  return shape.map((dim, i) => paddedDim(ctx, dim, amounts[i]));
}

function pad(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const mode = padMode(ctx);
  const old = ctx.version < 11;
  const pads = old ? ctx.ints(padsAttribute(ctx)) : ctx.integers(1);
  const amounts = padAmounts(ctx, x.dims.length, pads, !old && ctx.has(3) ? ctx.integers(3) : undefined);
  const fill = old ? fromNumbers(x.dtype, [1], [ctx.float('value', 0)]) : ctx.optional(2);
  if (fill && (sizeOf(fill.dims) !== 1 || fill.dtype !== x.dtype)) {
    throw ctx.error(`constant_value must be one ${x.dtype}, it is ${fill.dtype} [${fill.dims.join(',')}]`);
  }
  const dims = x.dims.map((dim, i) => paddedDim(ctx, dim, amounts[i]) as number);
  checkAllocatable(x.dtype, sizeOf(dims));
  const maps = amounts.map((amount, i) => padMap(ctx, mode, x.dims[i], amount));
  return mapAxes(x, maps, fill);
}

function lowerPad(ctx: LowerContext): string | undefined {
  const dims = ctx.dims(0);
  const mode = padMode(ctx);
  const old = ctx.version < 11;
  const pads = old ? ctx.ints(padsAttribute(ctx)) : ctx.integers(1);
  const axes = !old && ctx.has(3) ? ctx.integers(3) : [];
  if (!pads || !axes) return 'pads that are not known';
  const amounts = padAmounts(ctx, dims.length, pads, !old && ctx.has(3) ? axes : undefined);
  const given = !old && ctx.has(2) && mode === 'constant';
  const fill = old ? fromNumbers(ctx.dtype(0), [1], [ctx.float('value', 0)]) : given ? ctx.constant(2) : undefined;
  if (given && !fill) return 'a value that is not known';
  if (fill && (sizeOf(fill.dims) !== 1 || fill.dtype !== ctx.dtype(0))) return 'a value of another type';
  const maps = amounts.map((amount, i) => padMap(ctx, mode, dims[i], amount));
  return lowerAxisMaps(ctx, maps, fill);
}

/** The sizes that CenterCropPad aims at, axis by axis. */
function centeredDims<T extends Dim>(ctx: NodeReader, shape: readonly T[], target: readonly number[]): (T | number)[] {
  const axes = ctx.hasAttribute('axes') ? normalizeAxes(ctx, ctx.ints('axes'), shape.length) : shape.map((_, i) => i);
  if (target.length !== axes.length || target.some((size) => size < 0)) {
    throw ctx.error(`the shape [${target.join(',')}] does not fit ${axes.length} axes`);
  }
  const dims: (T | number)[] = [...shape];
  axes.forEach((axis, i) => {
    dims[axis] = target[i];
  });
  return dims;
}

function inferCenterCropPad(ctx: InferContext): Shape | undefined {
  const [shape, target] = [ctx.shape(0), ctx.integers(1)];
  if (!shape) return undefined;
  return target ? centeredDims(ctx, shape, target) : shape.map(() => null);
}

function centerCropPad(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const dims = centeredDims(ctx, x.dims, ctx.integers(1));
  checkAllocatable(x.dtype, sizeOf(dims));
  return mapAxes(x, cropMaps(x.dims, dims));
}

/** Source index of each output index of every axis, -1 for zero. */
function cropMaps(from: readonly number[], to: readonly number[]): Float64Array[] {
  return to.map((size, i) => {
    const dim = from[i];
    const shift = size < dim ? Math.floor((dim - size) / 2) : -Math.floor((size - dim) / 2);
    const map = allocate('float64', size) as Float64Array;
    return map.map((_, k) => (k + shift >= 0 && k + shift < dim ? k + shift : -1));
  });
}

export const padOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Pad',
    since: [1, 2, 11, 13, 18, 19, 21, 23, 24, 25],
    inputs: [1, 4],
    outputs: [1, 1],
    attributes: { mode: 'string', paddings: 'ints', pads: 'ints', value: 'float' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), inferPad(ctx))],
    keepsRows: (node, inputs) => {
      const rank = inputs.ranks[0];
      const pads = axesOf(node, inputs, [padsAttribute(node), 1, 11]);
      const axes = node.version >= 11 ? inputs.numbers(3) : undefined;
      if (!firstAlone(inputs) || !pads || (node.has(3) && !axes)) return false;
      return padAmounts(node, rank, pads, axes)[0].every((amount) => amount === 0);
    },
    reference: (ctx) => [pad(ctx)],
    lower: lowerPad,
  }),
  defineOp({
    name: 'CenterCropPad',
    since: [18],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { axes: 'ints' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), inferCenterCropPad(ctx))],
    reference: (ctx) => [centerCropPad(ctx)],
    lower: (ctx) => lowerAxisMaps(ctx, cropMaps(ctx.dims(0), ctx.outputDims(0)), undefined),
  }),
];

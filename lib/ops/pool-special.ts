/** Pools that are not a regular window: MaxUnpool scatters a pool's maxima back, MaxRoiPool pools regions. */

import { tensorType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf, stridesOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { doubles, expectKind, expectKinds, expectSame, floatKinds, integerKinds } from './elements.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { perAxis } from './window.ts';

/** The grid that the indices speak of: what the pool with these attributes saw. */
function unpooledShape(ctx: NodeReader, x: Shape): Dim[] {
  const rank = x.length - 2;
  if (rank < 1) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
  const kernel = perAxis(ctx, 'kernel_shape', rank, 1, 1);
  const strides = perAxis(ctx, 'strides', rank, 1, 1);
  const pads = perAxis(ctx, 'pads', 2 * rank, 0, 0);
  const spatial = x.slice(2).map((dim, i) => {
    if (typeof dim !== 'number') return null;
    const size = (dim - 1) * strides[i] - pads[i] - pads[rank + i] + kernel[i];
    if (size < 0) throw ctx.error(`spatial axis ${i} of the output would have size ${size}`);
    return size;
  });
  return [x[0], x[1], ...spatial];
}

function askedShape(ctx: NodeReader, asked: readonly number[], rank: number): readonly number[] {
  if (asked.length === rank && asked.every((n) => n >= 0)) return asked;
  throw ctx.error(`output_shape is [${asked.join(',')}], expected ${rank} sizes`);
}

function maxUnpool(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const grid = unpooledShape(ctx, x.dims) as number[];
  const dims = ctx.has(2) ? askedShape(ctx, ctx.integers(2), x.dims.length) : grid;
  if (shapeText(ctx.tensor(1).dims) !== shapeText(x.dims)) {
    throw ctx.error(`the indices are ${shapeText(ctx.tensor(1).dims)}, expected ${shapeText(x.dims)}`);
  }
  const indices = ctx.integers(1);
  const values = toNumbers(x);
  const y = doubles(sizeOf(dims));
  const size = sizeOf(grid);
  const from = stridesOf(grid);
  const to = stridesOf(dims);
  for (let i = 0; i < values.length; i++) {
    let rest = indices[i];
    if (rest < 0 || rest >= size)
      throw ctx.error(`index ${rest} is outside the ${size} elements of ${shapeText(grid)}`);
    let at = 0;
    let inside = true;
    for (let axis = 0; axis < grid.length; axis++) {
      const position = Math.floor(rest / from[axis]);
      rest -= position * from[axis];
      inside &&= position < dims[axis];
      at += position * to[axis];
    }
    if (inside) y[at] = values[i];
  }
  return [fromNumbers(x.dtype, dims, y)];
}

function pooledShape(ctx: NodeReader): readonly [number, number] {
  const [height, width, ...rest] = ctx.ints('pooled_shape');
  if (!(height > 0 && width > 0) || rest.length) throw ctx.error('"pooled_shape" has to be two positive sizes');
  return [height, width];
}

function roiShape(ctx: NodeReader, x: Shape | undefined, rois: Shape | undefined): Dim[] | undefined {
  if (x && x.length !== 4) throw ctx.error(`input 0 is ${shapeText(x)}, expected [batch, channels, height, width]`);
  if (rois && (rois.length !== 2 || (typeof rois[1] === 'number' && rois[1] !== 5))) {
    throw ctx.error(`the regions are ${shapeText(rois)}, expected [regions, 5]`);
  }
  return [rois ? rois[0] : null, x ? x[1] : null, ...pooledShape(ctx)];
}

/** C's rounding: halves away from zero. */
const roundAway = (v: number): number => Math.sign(v) * Math.floor(Math.abs(v) + 0.5);

/** Beginnings and ends of `count` bins over [low, high] (inclusive), clipped to [0, size). */
function bins(low: number, high: number, count: number, size: number): [number, number][] {
  const step = Math.max(high - low + 1, 1) / count;
  const clip = (v: number): number => Math.min(Math.max(v + low, 0), size);
  return Array.from({ length: count }, (_, i) => [clip(Math.floor(i * step)), clip(Math.ceil((i + 1) * step))]);
}

function maxRoiPool(ctx: ReferenceContext): HostTensor[] {
  const [xt, rt] = [ctx.tensor(0), ctx.tensor(1)];
  const dims = roiShape(ctx, xt.dims, rt.dims) as number[];
  const [batch, channels, height, width] = xt.dims;
  const [rows, columns] = pooledShape(ctx);
  const scale = ctx.float('spatial_scale', 1);
  const [x, rois] = [toNumbers(xt), toNumbers(rt)];
  const y = doubles(sizeOf(dims));
  let out = 0;
  for (let r = 0; r < dims[0]; r++) {
    const n = rois[5 * r];
    if (!(n >= 0 && n < batch)) throw ctx.error(`region ${r} is of image ${n}, but the batch has ${batch}`);
    const [x1, y1, x2, y2] = [1, 2, 3, 4].map((i) => roundAway(rois[5 * r + i] * scale));
    const vertical = bins(y1, y2, rows, height);
    const horizontal = bins(x1, x2, columns, width);
    for (let c = 0; c < channels; c++) {
      const plane = (Math.trunc(n) * channels + c) * height * width;
      for (const [top, bottom] of vertical) {
        for (const [left, right] of horizontal) {
          let best = bottom <= top || right <= left ? 0 : Number.NEGATIVE_INFINITY;
          for (let h = top; h < bottom; h++) {
            for (let w = left; w < right; w++) best = Math.max(best, x[plane + h * width + w]);
          }
          y[out++] = best;
        }
      }
    }
  }
  return [fromNumbers(xt.dtype, dims, y)];
}

export const poolSpecialOps: readonly OpDefinition[] = [
  defineOp({
    name: 'MaxUnpool',
    since: [9, 11, 22],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes: { kernel_shape: 'ints', pads: 'ints', strides: 'ints' },
    infer: (ctx) => {
      const dtype = expectKind(ctx, 0, floatKinds);
      expectKinds(ctx, [1, 2], integerKinds);
      const x = ctx.shape(0);
      const asked = ctx.integers(2);
      if (!x) return [tensorType(dtype, asked)];
      if (asked) return [tensorType(dtype, askedShape(ctx, asked, x.length))];
      return [tensorType(dtype, ctx.has(2) ? x.map(() => null) : unpooledShape(ctx, x))];
    },
    reference: maxUnpool,
  }),
  defineOp({
    name: 'MaxRoiPool',
    since: [1, 22],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { pooled_shape: 'ints', spatial_scale: 'float' },
    infer: (ctx) => [tensorType(expectSame(ctx, 2, floatKinds), roiShape(ctx, ctx.shape(0), ctx.shape(1)))],
    reference: maxRoiPool,
  }),
];

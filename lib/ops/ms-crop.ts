/** com.microsoft CropAndResize: boxes of images, brought to one size. */

import { tensorType } from '../ir/graph.ts';
import { shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostValue, toNumbers } from '../ir/tensor.ts';
import { dimAt } from './dims.ts';
import { defineOp, type ReferenceContext } from './op.ts';

/** Position in the image of output `i` of `count` between the normalised edges `from` and `to`. */
function position(i: number, count: number, from: number, to: number, size: number): number {
  if (count > 1) return from * (size - 1) + (i * (to - from) * (size - 1)) / (count - 1);
  return 0.5 * (from + to) * (size - 1);
}

/** One value of a plane at a real position inside of it. */
function sample(plane: Float64Array, width: number, y: number, x: number, nearest: boolean): number {
  if (nearest) return plane[Math.round(y) * width + Math.round(x)];
  const [top, left] = [Math.floor(y), Math.floor(x)];
  const [bottom, right] = [Math.ceil(y), Math.ceil(x)];
  const [dy, dx] = [y - top, x - left];
  const upper = plane[top * width + left] * (1 - dx) + plane[top * width + right] * dx;
  const lower = plane[bottom * width + left] * (1 - dx) + plane[bottom * width + right] * dx;
  return upper * (1 - dy) + lower * dy;
}

function reference(ctx: ReferenceContext): HostValue[] {
  const [x, rois] = [ctx.tensor(0), toNumbers(ctx.tensor(1))];
  const images = ctx.integers(2);
  const [rows, columns] = ctx.integers(3);
  const mode = ctx.string('mode', 'bilinear');
  if (mode !== 'bilinear' && mode !== 'nearest') throw ctx.error(`mode is "${mode}", expected bilinear or nearest`);
  const [batch, channels, height, width] = x.dims;
  const fits = x.dims.length === 4 && rois.length === images.length * 4 && rows > 0 && columns > 0;
  if (!fits) throw ctx.error(`input ${shapeText(x.dims)}, ${images.length} images, crops of ${rows} x ${columns}`);
  const outside = ctx.float('extrapolation_value', 0);
  const values = toNumbers(x);
  const out = new Float64Array(images.length * channels * rows * columns).fill(outside);
  images.forEach((image, r) => {
    if (!(image >= 0 && image < batch)) throw ctx.error(`image ${image} of ${batch}`);
    const [y1, x1, y2, x2] = rois.slice(r * 4, r * 4 + 4);
    for (let c = 0; c < channels; c++) {
      const from = (image * channels + c) * height * width;
      const plane = values.subarray(from, from + height * width);
      for (let i = 0; i < rows * columns; i++) {
        const py = position(Math.floor(i / columns), rows, y1, y2, height);
        const px = position(i % columns, columns, x1, x2, width);
        if (!(py >= 0 && py <= height - 1 && px >= 0 && px <= width - 1)) continue;
        out[(r * channels + c) * rows * columns + i] = sample(plane, width, py, px, mode === 'nearest');
      }
    }
  });
  return [fromNumbers(x.dtype, [images.length, channels, rows, columns], out)];
}

export const cropAndResize = defineOp({
  name: 'CropAndResize',
  domain: 'com.microsoft',
  since: [1],
  inputs: [4, 4],
  outputs: [1, 1],
  attributes: { extrapolation_value: 'float', mode: 'string' },
  infer: (ctx) => {
    const [rows, columns] = ctx.integers(3) ?? [];
    const count = dimAt(ctx.shape(1), 0);
    return [tensorType(ctx.dtype(0), [count, dimAt(ctx.shape(0), 1), rows ?? null, columns ?? null])];
  },
  reference,
});

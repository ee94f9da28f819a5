/** Col2Im: sums the columns of overlapping blocks back into an image. */

import { dtypeInfo, isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { allocate, fromNumbers, type HostTensor, tensor, toParts } from '../ir/tensor.ts';
import { doubles, expectKinds, integerKinds } from './elements.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { forEachTap, makeWindow, perAxis, type SpatialWindow, type WindowAttributes } from './window.ts';

/** The window that would make the columns from the image. */
function blockWindow(ctx: NodeReader, image: readonly number[], block: readonly number[]): SpatialWindow {
  const rank = image.length;
  if (block.length !== rank) throw ctx.error(`image_shape has ${rank} entries, block_shape has ${block.length}`);
  if (image.some((n) => n < 0) || block.some((n) => n < 1)) {
    throw ctx.error(`image_shape [${image.join(',')}] and block_shape [${block.join(',')}] have to be sizes`);
  }
  const attributes: WindowAttributes = {
    kernel: block,
    strides: perAxis(ctx, 'strides', rank, 1, 1),
    dilations: perAxis(ctx, 'dilations', rank, 1, 1),
    autoPad: 'NOTSET',
    pads: perAxis(ctx, 'pads', 2 * rank, 0, 0),
    ceil: false,
  };
  return makeWindow(ctx, attributes, image);
}

function imageShape(
  ctx: NodeReader,
  x: Shape | undefined,
  image: readonly number[] | undefined,
  block: readonly number[] | undefined,
): Shape | undefined {
  if (x && x.length !== 3) throw ctx.error(`input 0 is ${shapeText(x)}, expected [batch, channels * block, blocks]`);
  if (!x || !image) return undefined;
  if (!block) return [x[0], null, ...image];
  const window = blockWindow(ctx, image, block);
  const area = sizeOf(block);
  const blocks = sizeOf(window.output);
  if (typeof x[1] === 'number' && x[1] % area !== 0) {
    throw ctx.error(`${x[1]} rows of columns are not a multiple of the block's ${area} elements`);
  }
  if (typeof x[2] === 'number' && x[2] !== blocks) {
    throw ctx.error(`there are ${x[2]} columns, expected ${blocks} for image [${image.join(',')}]`);
  }
  return [x[0], typeof x[1] === 'number' ? x[1] / area : null, ...image];
}

/** Both arrays hold doubles, or both bigints. */
function addColumns(
  window: SpatialWindow,
  planes: number,
  x: Float64Array,
  y: Float64Array,
  part: number,
  parts: number,
): void {
  const taps = sizeOf(window.kernel);
  const blocks = sizeOf(window.output);
  const area = sizeOf(window.input);
  if (y.length === 0) return;
  forEachTap(window, (tap, { count, source, target, length, step }) => {
    for (let plane = 0; plane < planes; plane++) {
      const from = (plane * taps + tap) * blocks;
      for (let r = 0; r < count; r++) {
        for (let j = 0; j < length[r]; j++) {
          y[(plane * area + source[r] + j * step) * parts + part] += x[(from + target[r] + j) * parts + part];
        }
      }
    }
  });
}

function col2imReference(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const image = ctx.integers(1);
  const block = ctx.integers(2);
  if (x.dtype === 'string') throw ctx.error('strings cannot be summed');
  const dims = imageShape(ctx, x.dims, image, block) as number[];
  const window = blockWindow(ctx, image, block);
  const planes = dims[0] * dims[1];
  const parts = dtypeInfo(x.dtype).kind === 'complex' ? 2 : 1;
  const count = sizeOf(dims) * parts;
  if (isBig(x.dtype)) {
    const y = allocate(x.dtype, count);
    addColumns(window, planes, x.data as unknown as Float64Array, y as unknown as Float64Array, 0, 1);
    return [tensor(x.dtype, dims, y)];
  }
  const y = doubles(count);
  for (let part = 0; part < parts; part++) addColumns(window, planes, toParts(x), y, part, parts);
  if (x.dtype === 'bool')
    y.forEach((v, i) => {
      y[i] = v ? 1 : 0;
    });
  return [fromNumbers(x.dtype, dims, y)];
}

export const col2imOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Col2Im',
    since: [18],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: { strides: 'ints', dilations: 'ints', pads: 'ints' },
    infer: (ctx) => {
      expectKinds(ctx, [1, 2], integerKinds);
      return [tensorType(ctx.dtype(0), imageShape(ctx, ctx.shape(0), ctx.integers(1), ctx.integers(2)))];
    },
    reference: col2imReference,
  }),
];

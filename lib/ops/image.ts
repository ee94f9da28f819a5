/** ImageDecoder. */

import { tensorType } from '../ir/graph.ts';
import { shapeText } from '../ir/shape.ts';
import { type HostValue, tensor } from '../ir/tensor.ts';
import { decodeImage } from './image-codecs.ts';
import type { Pixels } from './image-plain.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

type PixelFormat = 'RGB' | 'BGR' | 'Grayscale';

function pixelFormat(ctx: NodeReader): PixelFormat {
  const format = ctx.string('pixel_format', 'RGB');
  if (format === 'RGB' || format === 'BGR' || format === 'Grayscale') return format;
  throw ctx.error(`pixel_format is "${format}", expected RGB, BGR or Grayscale`);
}

/** The pixels in the order of a format; gray is the luma of ITU-R 601 in 16-bit fixed point. */
function arranged({ rgb }: Pixels, format: PixelFormat): Uint8Array {
  if (format === 'RGB') return rgb;
  if (format === 'BGR') return rgb.map((_, i) => rgb[i - (i % 3) + 2 - (i % 3)]);
  const gray = new Uint8Array(rgb.length / 3);
  for (let i = 0; i < gray.length; i++) {
    gray[i] = (rgb[3 * i] * 19595 + rgb[3 * i + 1] * 38470 + rgb[3 * i + 2] * 7471 + 0x8000) >> 16;
  }
  return gray;
}

function decode(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  if (x.dtype !== 'uint8' || x.dims.length !== 1) {
    throw ctx.error(`the input is ${x.dtype} ${shapeText(x.dims)}, expected a vector of uint8`);
  }
  const format = pixelFormat(ctx);
  const channels = format === 'Grayscale' ? 1 : 3;
  const pixels = decodeImage(x.data as Uint8Array);
  // What cannot be decoded is an empty image, as the operator says.
  if (!pixels) return [tensor('uint8', [0, 0, channels], new Uint8Array(0))];
  return [tensor('uint8', [pixels.height, pixels.width, channels], arranged(pixels, format))];
}

export const imageOps: readonly OpDefinition[] = [
  defineOp({
    name: 'ImageDecoder',
    since: [20],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { pixel_format: 'string' },
    infer: (ctx) => [tensorType('uint8', [null, null, pixelFormat(ctx) === 'Grayscale' ? 1 : 3])],
    reference: decode,
  }),
];

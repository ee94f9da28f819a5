/** Tensors from images and back, as onnxruntime-common documents them: with a canvas, and on Node, which has none. */

import { afterEach, beforeEach, describe, vi } from 'vitest';
import { FakeCanvas, FakeImageBitmap, FakeImageData } from './canvas.ts';
import { type Case, forEachImplementation, type Ort, testCases } from './implementations.ts';

// Two pixels: red 10 green 20 blue 30, and 40 50 60.
const pixels = () => Uint8ClampedArray.of(10, 20, 30, 255, 40, 50, 60, 128);
const image = () => new FakeImageData(pixels(), 2, 1) as never;
const bitmap = () => new FakeImageBitmap(pixels(), 2, 1) as never;
const unit = { mean: 1, bias: 0 };

const read = async (tensor: Promise<Ort['Tensor']['prototype']>) => {
  const { type, dims, data } = await tensor;
  // Bytes over 255 and back, in float32.
  return { type, dims, data: Array.from(data as Float32Array, (value) => Math.round(value * 1e4) / 1e4) };
};
const map = (channels: number, data: readonly number[]) => ({ type: 'float32', dims: [1, channels, 1, 2], data });

const fromImages: Case[] = [
  [
    'ImageData: RGB planes over 255',
    ({ Tensor }) => read(Tensor.fromImage(image())),
    map(3, [0.0392, 0.1569, 0.0784, 0.1961, 0.1176, 0.2353]),
  ],
  [
    'one mean and bias',
    ({ Tensor }) => read(Tensor.fromImage(image(), { norm: { mean: 10, bias: 10 } })),
    map(3, [2, 5, 3, 6, 4, 7]),
  ],
  [
    'mean and bias of each channel',
    ({ Tensor }) => read(Tensor.fromImage(image(), { norm: { mean: [1, 10, 2], bias: [0, 0, 10] } })),
    map(3, [10, 40, 2, 5, 20, 35]),
  ],
  [
    'RGBA',
    ({ Tensor }) => read(Tensor.fromImage(image(), { norm: unit, tensorFormat: 'RGBA' })),
    map(4, [10, 40, 20, 50, 30, 60, 255, 128]),
  ],
  [
    'BGR',
    ({ Tensor }) => read(Tensor.fromImage(image(), { norm: unit, tensorFormat: 'BGR' })),
    map(3, [30, 60, 20, 50, 10, 40]),
  ],
  [
    'RBG',
    ({ Tensor }) => read(Tensor.fromImage(image(), { norm: unit, tensorFormat: 'RBG' })),
    map(3, [10, 40, 30, 60, 20, 50]),
  ],
  ['NHWC is refused', ({ Tensor }) => Tensor.fromImage(image(), { tensorLayout: 'NHWC' }), Error],
  [
    'an ImageBitmap',
    ({ Tensor }) => read(Tensor.fromImage(bitmap(), { norm: unit })),
    map(3, [10, 40, 20, 50, 30, 60]),
  ],
  ['an ImageBitmap without options', ({ Tensor }) => Tensor.fromImage(bitmap(), undefined as never), Error],
  ['what is no image', ({ Tensor }) => Tensor.fromImage({} as never), Error],
];

const planes = (Tensor: Ort['Tensor'], data: readonly number[], channels = 3) =>
  new Tensor('float32', data, [1, channels, 1, 2]);

const toImages: Case[] = [
  [
    'toImageData: RGB times 255, opaque',
    ({ Tensor }) => [...planes(Tensor, [0, 1, 0.2, 0.4, 1, 0]).toImageData().data],
    [0, 51, 255, 255, 255, 102, 0, 255],
  ],
  [
    'toImageData of four channels',
    ({ Tensor }) => [
      ...planes(Tensor, [1, 2, 3, 4, 5, 6, 7, 8], 4).toImageData({ format: 'RGBA', norm: { mean: 1, bias: 0 } }).data,
    ],
    [1, 3, 5, 7, 2, 4, 6, 8],
  ],
  [
    'toImageData with mean and bias',
    ({ Tensor }) => [
      ...planes(Tensor, [1, 2, 1, 2, 1, 2]).toImageData({
        format: 'RGB',
        norm: { mean: [10, 20, 30], bias: [0, 1, 0] },
      }).data,
    ],
    [10, 0, 30, 255, 20, 20, 60, 255],
  ],
  [
    'toImageData of another number of channels',
    ({ Tensor }) => planes(Tensor, [1, 2, 3, 4, 5, 6]).toImageData({ format: 'RGBA' }),
    Error,
  ],
  [
    'toDataURL',
    ({ Tensor }) => planes(Tensor, [0, 1, 0.2, 0.4, 1, 0]).toDataURL(),
    'data:pixels,2x1,0,51,255,255,255,102,0,255',
  ],
  [
    'toDataURL with mean and format',
    ({ Tensor }) => planes(Tensor, [1, 2, 3, 4, 5, 6]).toDataURL({ format: 'RBG', norm: { mean: 10 } }),
    'data:pixels,2x1,10,50,30,255,20,60,40,255',
  ],
  [
    'there and back',
    async ({ Tensor }) =>
      [...(await Tensor.fromImage(image())).toImageData().data].map((byte, i) => byte - pixels()[i]),
    [0, 0, 0, 0, 0, 0, 0, 127],
  ],
];

const withoutCanvas: Case[] = [
  ['fromImage of pixels', ({ Tensor }) => Tensor.fromImage(image()), Error],
  ['fromImage of an address', ({ Tensor }) => Tensor.fromImage('data:image/png;base64,AAAA'), Error],
  ['toDataURL', ({ Tensor }) => planes(Tensor, [1, 2, 3, 4, 5, 6]).toDataURL(), Error],
  ['toImageData', ({ Tensor }) => planes(Tensor, [1, 2, 3, 4, 5, 6]).toImageData(), Error],
];

forEachImplementation((ort) => {
  describe('with a canvas', () => {
    beforeEach(() => {
      vi.stubGlobal('OffscreenCanvas', FakeCanvas);
      vi.stubGlobal('ImageData', FakeImageData);
      vi.stubGlobal('ImageBitmap', FakeImageBitmap);
    });
    afterEach(() => vi.unstubAllGlobals());
    describe('from images', () => testCases(ort, fromImages));
    describe('to images', () => testCases(ort, toImages));
  });
  describe('without one, images are refused', () => testCases(ort, withoutCanvas));
});

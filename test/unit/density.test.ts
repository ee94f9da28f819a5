import { expect, test } from 'vitest';
import { fromNumbers, tensor } from '../../lib/ir/tensor.ts';
import { tensorOfBytes } from '../../lib/onnx/tensor-proto.ts';
import { blockDensityOf, densityOf } from '../../lib/sparse/density.ts';
import { sparsityOf } from '../../lib/sparse/patterns.ts';

test('small tensors are counted', () => {
  expect(densityOf(tensor('float32', [4], Float32Array.of(0, 1, 0, -2)))).toBe(0.5);
  expect(densityOf(tensor('float32', [0], new Float32Array(0)))).toBe(1);
  expect(densityOf(fromNumbers('float16', [5], [0, 0, 0, 0, 3]))).toBeCloseTo(0.2);
});

test('large tensors are sampled all over', () => {
  const size = 1 << 20;
  const every = (n: number) => Float32Array.from({ length: size }, (_, i) => (i % n === 0 ? 1 : 0));
  expect(densityOf(tensor('float32', [size], every(10)))).toBeCloseTo(0.1, 2);
  const half = new Float32Array(size).fill(1, size / 2);
  expect(densityOf(tensor('float32', [size], half))).toBeCloseTo(0.5, 1);
  expect(densityOf(tensor('float32', [size], new Float32Array(size)))).toBe(0);
});

test('patterns of zeros', () => {
  const weight = (f: (m: number, c: number) => number) =>
    tensor(
      'float32',
      [8, 16],
      Float32Array.from({ length: 128 }, (_, i) => f(Math.floor(i / 16), i % 16)),
    );
  expect(
    sparsityOf(
      weight(() => 1),
      1,
    ).pattern,
  ).toBe('dense');
  expect(
    sparsityOf(
      weight((_, c) => (c % 4 < 2 ? 1 : 0)),
      1,
    ),
  ).toMatchObject({ pattern: '2:4', zeros: 0.5 });
  const blocks = sparsityOf(
    weight((m, c) => ((m + Math.floor(c / 4)) % 4 === 0 ? 1 : 0)),
    1,
  );
  expect(blocks).toMatchObject({ pattern: '4-block', zeros: 0.75, zeroBlocks: 0.75 });
  expect(
    sparsityOf(
      weight((m, c) => ((m * 7 + c * 3) % 5 === 0 ? 1 : 0)),
      1,
    ).pattern,
  ).toBe('unstructured');
});

test('tensors that are not aligned are sampled where they lie', () => {
  const size = 1 << 20;
  const floats = Float32Array.from({ length: size }, (_, i) => (i % 4 === 0 ? 1 : 0));
  const bytes = new Uint8Array(4 * size + 1).subarray(1);
  bytes.set(new Uint8Array(floats.buffer));
  const unaligned = tensorOfBytes('float32', [size], bytes);
  expect(densityOf(unaligned)).toBe(0.25);
  expect(densityOf(tensorOfBytes('float32', [8], bytes.subarray(0, 32)))).toBe(0.25);
  expect((unaligned.data as Float32Array).subarray(0, 5)).toEqual(floats.subarray(0, 5));
});

test('blocks of four along an axis', () => {
  // Two rows of five channels: blocks of four and of one.
  const rows = tensor('int8', [2, 5], Int8Array.of(0, 0, 7, 0, 0, 0, 0, 0, 0, 1));
  expect(blockDensityOf(rows, 1)).toBe(0.5);
  expect(blockDensityOf(rows, 0)).toBe(0.4);
  // [K, N]: blocks of four rows of each column.
  const columns = tensor('uint8', [4, 3], Uint8Array.of(0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0));
  expect(blockDensityOf(columns, 0)).toBeCloseTo(1 / 3);
  // Taps lie within channels.
  const taps = tensor('int8', [1, 4, 2], Int8Array.of(0, 5, 0, 0, 0, 0, 0, 0));
  expect(blockDensityOf(taps, 1)).toBe(0.5);
  expect(blockDensityOf(tensor('int8', [0, 4], new Int8Array(0)), 1)).toBe(1);
  const large = Int8Array.from({ length: 512 * 1024 }, (_, i) => (Math.floor(i / 4) % 5 === 0 && i % 4 === 2 ? 1 : 0));
  expect(blockDensityOf(tensor('int8', [512, 1024], large), 1)).toBeCloseTo(0.2, 2);
});

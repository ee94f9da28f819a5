import { expect, test } from 'vitest';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { inferNode } from './infer.ts';
import { evaluate, first, t } from './node.ts';

const f = (values: number[], dims?: number[]) => t('float32', values, dims);
const numbers = (...args: Parameters<typeof first>) => Array.from(toNumbers(first(...args)));

test('QuantizeLinear rounds halves to even and saturates', () => {
  const x = f([-300, -1, 1, 3, 5, 1000]);
  expect(numbers('QuantizeLinear', 10, [x, f([2], []), t('uint8', [128], [])])).toEqual([0, 128, 128, 130, 130, 255]);
  expect(numbers('QuantizeLinear', 13, [x, f([2], []), t('int8', [1], [])])).toEqual([-128, 1, 1, 3, 3, 127]);
  expect(first('QuantizeLinear', 10, [x, f([2], [])]).dtype).toBe('uint8');
  expect(numbers('QuantizeLinear', 10, [t('int32', [7, -7]), f([2], []), t('int8', [0], [])])).toEqual([4, -4]);
});

test('scales of an axis and of blocks', () => {
  const x = f([2, 4, 6, 8, 10, 12], [2, 3]);
  const axis = numbers('QuantizeLinear', 13, [x, f([1, 2]), t('uint8', [0, 1])], { axis: 0 });
  expect(axis).toEqual([2, 4, 6, 5, 6, 7]);
  const block = numbers('QuantizeLinear', 21, [x, f([1, 2, 2, 4], [2, 2])], { axis: -1, block_size: 2 });
  expect(block).toEqual([2, 4, 3, 4, 5, 3]);
  expect(
    numbers('DequantizeLinear', 21, [t('int8', block, [2, 3]), f([1, 2, 2, 4], [2, 2])], { block_size: 2 }),
  ).toEqual([2, 4, 6, 8, 10, 12]);
  expect(() => first('QuantizeLinear', 13, [x, f([1, 2, 3, 4])])).toThrow(/expected one number or \[3\]/);
  expect(() => first('QuantizeLinear', 21, [x, f([1, 2], [2, 1])], { block_size: 2 })).toThrow(/blocks of 2/);
  expect(() => first('DequantizeLinear', 13, [t('int8', [1]), f([1], []), t('uint8', [1], [])])).toThrow(
    /expected int8/,
  );
});

test('small types', () => {
  const x = f([-9, -2.5, 0.5, 1.5, 7.5, 20]);
  const to = (dtype: Parameters<typeof t>[0], extra: Record<string, number> = {}) =>
    numbers('QuantizeLinear', 25, [x, f([1], []), t(dtype, [0], [])], extra);
  expect(to('int4')).toEqual([-8, -2, 0, 2, 7, 7]);
  expect(to('uint4')).toEqual([0, 0, 0, 2, 8, 15]);
  expect(to('int2')).toEqual([-2, -2, 0, 1, 1, 1]);
  expect(to('uint2')).toEqual([0, 0, 0, 2, 3, 3]);
  expect(to('float4e2m1')).toEqual([-6, -2, 0.5, 1.5, 6, 6]);
  expect(to('float8e4m3fn')).toEqual([-9, -2.5, 0.5, 1.5, 7.5, 20]);
  const large = (saturate: number) =>
    numbers('QuantizeLinear', 19, [f([1e6]), f([1], []), t('float8e4m3fn', [0], [])], { saturate });
  expect(large(1)).toEqual([448]);
  expect(large(0)).toEqual([Number.NaN]);
  expect(first('QuantizeLinear', 21, [x, f([1], [])], { output_dtype: 22 }).dtype).toBe('int4');
  expect(() => first('QuantizeLinear', 21, [x, f([1], []), t('int8', [0], [])], { output_dtype: 22 })).toThrow(/int4/);
});

test('the precision of the division', () => {
  const x = t('float16', [1000], []);
  const scale = t('float16', [3], []);
  const zero = t('uint16', [0], []);
  expect(numbers('QuantizeLinear', 21, [x, scale, zero])).toEqual([333]);
  // 4095 is 4096 in half precision.
  expect(numbers('QuantizeLinear', 23, [f([4095], []), t('float16', [2], []), zero])).toEqual([2048]);
  expect(numbers('QuantizeLinear', 23, [f([4093], []), t('float16', [2], []), zero], { precision: 1 })).toEqual([2046]);
});

test('DequantizeLinear in the type of the scale', () => {
  expect(numbers('DequantizeLinear', 10, [t('uint8', [0, 128, 255]), f([0.5], []), t('uint8', [128], [])])).toEqual([
    -64, 0, 63.5,
  ]);
  expect(numbers('DequantizeLinear', 10, [t('int32', [7]), f([2], [])])).toEqual([14]);
  const half = first('DequantizeLinear', 19, [t('int8', [3]), t('float16', [0.1], [])]);
  expect([half.dtype, toNumbers(half)[0]]).toEqual(['float16', 0.2998046875]);
  const powers = [t('float4e2m1', [1.5, -6]), t('float8e8m0', [4], [])];
  expect(numbers('DequantizeLinear', 24, powers, { output_dtype: 1 })).toEqual([6, -24]);
  expect(
    inferNode(
      'DequantizeLinear',
      23,
      [
        ['int4', ['n', 2]],
        ['float32', []],
      ],
      { output_dtype: 16 },
    ),
  ).toMatchObject([{ dtype: 'bfloat16', shape: ['n', 2] }]);
});

test('DynamicQuantizeLinear', () => {
  const run = (values: number[]) =>
    (evaluate('DynamicQuantizeLinear', 11, [f(values)], {}, 3) as HostTensor[]).map((y) => Array.from(toNumbers(y)));
  expect(run([0, 2, -3, -2.5, 1.34, 0.5])).toEqual([[153, 255, 0, 26, 221, 179], [Math.fround(5 / 255)], [153]]);
  expect(run([0, 0])).toEqual([[0, 0], [1], [0]]);
});

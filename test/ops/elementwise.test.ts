import { expect, test } from 'vitest';
import { toNumbers } from '../../lib/ir/tensor.ts';
import { entries, evaluate, first, t } from './node.ts';

const numbers = (...args: Parameters<typeof first>) => Array.from(toNumbers(first(...args)));

test('broadcasting walks every combination of repeated axes', () => {
  const a = t('float32', [1, 2, 3, 4, 5, 6], [2, 1, 3]);
  const b = t('float32', [10, 20], [2, 1]);
  const sum = first('Add', 14, [a, b]);
  expect(sum.dims).toEqual([2, 2, 3]);
  expect(entries(sum)).toEqual([11, 12, 13, 21, 22, 23, 14, 15, 16, 24, 25, 26]);
  expect(() => first('Add', 14, [t('float32', [1, 2]), t('float32', [1, 2, 3])])).toThrow(/cannot be broadcast/);
});

test('broadcasting before version 7 aligns the second input at an axis', () => {
  const a = t('float32', [1, 2, 3, 4, 5, 6], [2, 3, 1]);
  const b = t('float32', [10, 20]);
  expect(numbers('Add', 6, [a, b], { broadcast: 1, axis: 0 })).toEqual([11, 12, 13, 24, 25, 26]);
  expect(() => first('Add', 6, [a, b])).toThrow(/broadcast/);
});

test('integers wrap and divide like C', () => {
  expect(numbers('Mul', 14, [t('int32', [2 ** 30, -7]), t('int32', [6, 3])])).toEqual([-(2 ** 31), -21]);
  expect(numbers('Add', 14, [t('uint8', [250]), t('uint8', [10])])).toEqual([4]);
  expect(numbers('Div', 14, [t('int32', [-7, 7, -(2 ** 31)]), t('int32', [2, -2, -1])])).toEqual([-3, -3, -(2 ** 31)]);
  const big = first('Mul', 14, [t('int64', [3037000500n, 2n ** 62n]), t('int64', [3037000500n, 3n])]);
  expect(entries(big)).toEqual([-9223372036709301616n, -(2n ** 62n)]);
  expect(() => first('Div', 14, [t('int32', [1]), t('int32', [0])])).toThrow(/division by zero/);
  expect(() => first('Mod', 13, [t('int64', [1]), t('int64', [0])])).toThrow(/division by zero/);
});

test('Mod takes the sign of the divisor, or of the dividend with fmod', () => {
  const [a, b] = [t('int32', [-4, 7, 5, 4, -7, 8]), t('int32', [2, -3, 8, -2, 3, 5])];
  expect(numbers('Mod', 13, [a, b])).toEqual([0, -2, 5, -0, 2, 3].map((x) => x + 0));
  expect(numbers('Mod', 13, [a, b], { fmod: 1 })).toEqual([0, 1, 5, 0, -1, 3]);
  const special = numbers('Mod', 28, [t('float32', [1, -1, Infinity, 5.3]), t('float32', [-Infinity, Infinity, 1, 0])]);
  expect(special).toEqual([-Infinity, Infinity, NaN, NaN]);
});

test('Pow keeps the type of the base and follows C on its corners', () => {
  expect(numbers('Pow', 15, [t('float32', [2, 1, -1]), t('int64', [3n, 5n, 2n])])).toEqual([8, 1, 1]);
  expect(numbers('Pow', 15, [t('float32', [1, -1]), t('float32', [NaN, Infinity])])).toEqual([1, 1]);
  expect(entries(first('Pow', 15, [t('int64', [3n, -2n]), t('int32', [39, 63])]))).toEqual([
    4052555153018976267n,
    -(2n ** 63n),
  ]);
  expect(numbers('Pow', 15, [t('int32', [2, 9]), t('float32', [0.5, 0.5])])).toEqual([1, 3]);
});

test('shifts', () => {
  const x = t('int8', [-128, 64, 3, -1, 5]);
  expect(numbers('BitShift', 28, [x, t('int8', [1, 1, 7, 8, -1])], { direction: 'RIGHT' })).toEqual([
    -64, 32, 0, -1, 0,
  ]);
  expect(numbers('BitShift', 28, [x, t('int8', [1, 1, 7, 1, 9])], { direction: 'LEFT' })).toEqual([
    0, -128, -128, -2, 0,
  ]);
  expect(numbers('BitShift', 11, [t('uint32', [2 ** 31, 3]), t('uint32', [31, 31])], { direction: 'LEFT' })).toEqual([
    0,
    2 ** 31,
  ]);
});

test('comparisons of strings, NaN and 64-bit integers', () => {
  expect(numbers('Equal', 19, [t('string', ['a', 'b']), t('string', ['a', 'c'])])).toEqual([1, 0]);
  expect(numbers('LessOrEqual', 16, [t('float16', [NaN, 1]), t('float16', [NaN, 1])])).toEqual([0, 1]);
  expect(numbers('Less', 13, [t('int64', [2n ** 53n]), t('int64', [2n ** 53n + 1n])])).toEqual([1]);
});

test('Max and Min carry NaN and broadcast; Mean divides once', () => {
  expect(numbers('Max', 13, [t('float32', [1, NaN]), t('float32', [2])])).toEqual([2, NaN]);
  expect(entries(first('Min', 13, [t('int64', [2n ** 60n, 5n]), t('int64', [7n])]))).toEqual([7n, 5n]);
  expect(numbers('Mean', 13, [t('float32', [1]), t('float32', [2]), t('float32', [6])])).toEqual([3]);
});

test('unary functions on corners', () => {
  expect(numbers('Round', 22, [t('float32', [0.5, 1.5, -2.5, -0.4])])).toEqual([0, 2, -2, -0]);
  expect(numbers('IsInf', 20, [t('float16', [-Infinity, Infinity, 1])], { detect_negative: 0 })).toEqual([0, 1, 0]);
  expect(numbers('Abs', 13, [t('int8', [-128, -3])])).toEqual([-128, 3]);
  expect(numbers('Neg', 13, [t('int2', [-2, 1, 0])])).toEqual([-2, -1, -0].map((x) => x + 0));
  expect(numbers('BitwiseNot', 18, [t('uint16', [1])])).toEqual([65534]);
  const erf = numbers('Erf', 13, [t('float64', [0.5, 1, 2.5, -3])]);
  [0.5204998778130465, 0.8427007929497149, 0.999593047982555, -0.9999779095030014].forEach((want, i) => {
    expect(erf[i]).toBeCloseTo(want, 14);
  });
});

test('Clip by inputs or attributes, Where on any type', () => {
  expect(numbers('Clip', 13, [t('float32', [-2, NaN, 9]), null, t('float32', [3], [])])).toEqual([-2, NaN, 3]);
  const bounds = { min: { type: 'float', value: 0 }, max: { type: 'float', value: 1 } } as const;
  expect(numbers('Clip', 6, [t('float32', [-2, 0.5, 9])], bounds)).toEqual([0, 0.5, 1]);
  expect(numbers('Clip', 13, [t('uint64', [1n, 9n]), t('uint64', [3n], []), null])).toEqual([3, 9]);
  const condition = t('bool', [1, 0], [2, 1]);
  expect(first('Where', 16, [condition, t('string', ['a', 'b']), t('string', ['z'])]).data).toEqual([
    'a',
    'b',
    'z',
    'z',
  ]);
  const complex = first('Where', 16, [t('bool', [0, 1]), t('complex64', [1, 2], [1]), t('complex64', [3, 4], [1])]);
  expect(entries(complex)).toEqual([3, 4, 1, 2]);
});

test('PRelu aligns the slope with the channels before version 7', () => {
  const x = t('float32', [-1, -2, -3, -4], [1, 2, 2]);
  expect(numbers('PRelu', 6, [x, t('float32', [2, 3])])).toEqual([-2, -4, -9, -12]);
  expect(numbers('PRelu', 16, [x, t('float32', [2, 3])])).toEqual([-2, -6, -6, -12]);
  expect(() => evaluate('PRelu', 16, [t('float32', [1]), t('float32', [2, 3])])).toThrow(/slope/);
});

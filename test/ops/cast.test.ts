import { expect, test } from 'vitest';
import { type DType, dtypeInfo } from '../../lib/ir/dtype.ts';
import { toNumbers } from '../../lib/ir/tensor.ts';
import { entries, first, t } from './node.ts';

const to = (dtype: DType): { to: number } => ({ to: dtypeInfo(dtype).onnx });
const cast = (dtype: DType, x: ReturnType<typeof t>, extra = {}) => first('Cast', 25, [x], { ...to(dtype), ...extra });

test('floats become integers like on x86: truncated, wrapped, least value where out of range', () => {
  const x = t('float32', [-1.5, 300.7, 3e9, NaN]);
  expect(entries(cast('int32', x))).toEqual([-1, 300, -(2 ** 31), -(2 ** 31)]);
  expect(entries(cast('uint8', x))).toEqual([255, 44, 0, 0]);
  expect(entries(cast('int64', t('float64', [-1.9, 1e19, NaN])))).toEqual([-1n, -(2n ** 63n), -(2n ** 63n)]);
  expect(entries(cast('uint32', t('float32', [3e9, -1])))).toEqual([3e9, 2 ** 32 - 1]);
  expect(Array.from(toNumbers(cast('int4', t('float32', [-9, 7.9, 8, 15]))))).toEqual([7, 7, -8, -1]);
  expect(entries(cast('bool', t('float32', [0, -0, NaN, 0.1])))).toEqual([0, 0, 1, 1]);
});

test('64-bit integers are rounded once to float32 and wrapped to narrower integers', () => {
  // Halfway between two float32 plus one: through double it would tie and round down.
  const halfway = 2n ** 60n + 2n ** 36n + 1n;
  expect(entries(cast('float32', t('int64', [halfway, -halfway])))).toEqual([2 ** 60 + 2 ** 37, -(2 ** 60 + 2 ** 37)]);
  expect(entries(cast('int8', t('int64', [200n, -129n])))).toEqual([-56, 127]);
  expect(entries(cast('uint64', t('int64', [-1n])))).toEqual([2n ** 64n - 1n]);
});

test('small floats saturate or not', () => {
  const x = t('float32', [1e6, -Infinity, NaN]);
  expect(Array.from(toNumbers(cast('float8e4m3fn', x)))).toEqual([448, -448, NaN]);
  expect(Array.from(toNumbers(cast('float8e4m3fn', x, { saturate: 0 })))).toEqual([NaN, NaN, NaN]);
  expect(Array.from(toNumbers(cast('float8e5m2', x, { saturate: 0 })))).toEqual([Infinity, -Infinity, NaN]);
  const scales = t('float32', [1.1, 1.5, 3.5]);
  const e8m0 = (mode: string) => Array.from(toNumbers(cast('float8e8m0', scales, { round_mode: mode })));
  expect(e8m0('up')).toEqual([2, 2, 4]);
  expect(e8m0('down')).toEqual([1, 1, 2]);
  expect(e8m0('nearest')).toEqual([1, 2, 4]);
  expect(() => e8m0('sideways')).toThrow(/round_mode/);
  expect(Array.from(toNumbers(cast('float4e2m1', t('float32', [2.5, -9, NaN]))))).toEqual([2, -6, -0]);
});

test('numbers to text and back', () => {
  expect(cast('string', t('float32', [0.1, 1, 1e-5, 3e20, NaN, -Infinity, -0])).data).toEqual([
    '0.1',
    '1',
    '1e-05',
    '3e+20',
    'NaN',
    '-INF',
    '-0',
  ]);
  expect(cast('string', t('float16', [0.1])).data).toEqual(['0.1']);
  expect(cast('string', t('float64', [1 / 3])).data).toEqual(['0.3333333333333333']);
  expect(cast('string', t('int64', [2n ** 62n])).data).toEqual(['4611686018427387904']);
  expect(entries(cast('float32', t('string', ['3.5', '-1E3', ' 7 ', '+INF', '-inf', 'NaN'])))).toEqual([
    3.5,
    -1000,
    7,
    Infinity,
    -Infinity,
    NaN,
  ]);
  expect(entries(cast('int64', t('string', ['9007199254740993', '100.5'])))).toEqual([9007199254740993n, 100n]);
  expect(() => cast('float32', t('string', ['Hello']))).toThrow(/"Hello" is no number/);
  expect(() => cast('int32', t('string', ['inf']))).toThrow(/no number/);
});

test('version 1 names the type, CastLike takes it from an input, complex numbers are refused', () => {
  expect(first('Cast', 1, [t('float32', [2.5])], { to: 'INT32' }).dtype).toBe('int32');
  expect(() => first('Cast', 1, [t('float32', [2.5])], { to: 'quaternion' })).toThrow(/no element type/);
  expect(first('CastLike', 25, [t('float32', [2.5]), t('bfloat16', [])]).dtype).toBe('bfloat16');
  expect(() => cast('float32', t('complex64', [1, 2], [1]))).toThrow(/cannot cast/);
  expect(() => first('Cast', 25, [t('float32', [1])], { to: 99 })).toThrow(/no element type/);
});

test('BitCast keeps the bits and refuses another width', () => {
  expect(entries(first('BitCast', 26, [t('float32', [1, -0])], to('uint32')))).toEqual([0x3f800000, 0x80000000]);
  expect(entries(first('BitCast', 26, [t('complex64', [0, 1], [1])], to('float64')))).toEqual([0.0078125]);
  expect(Array.from(toNumbers(first('BitCast', 26, [t('uint4', [15, 1])], to('int4'))))).toEqual([-1, 1]);
  expect(() => first('BitCast', 26, [t('float32', [1])], to('int8'))).toThrow(/cannot take the bits/);
});

test('Constant in every form', () => {
  const constant = (attributes: Parameters<typeof first>[3]) => first('Constant', 25, [], attributes);
  expect(constant({ value_int: 2 ** 63 }).data).toEqual(BigInt64Array.of(2n ** 63n - 1n));
  expect(constant({ value_ints: [1, 2] }).dims).toEqual([2]);
  expect(constant({ value_string: 'a' })).toMatchObject({ dims: [], data: ['a'] });
  expect(constant({ value_strings: ['a', 'b'] }).data).toEqual(['a', 'b']);
  expect(entries(constant({ value_floats: { type: 'floats', value: [0.5] } }))).toEqual([0.5]);
  expect(constant({ value: { type: 'tensor', value: t('int4', [1, 2]) } }).dtype).toBe('int4');
  expect(() => constant({})).toThrow(/0 attributes/);
  expect(() => constant({ value_int: 1, value_string: 'a' })).toThrow(/2 attributes/);
});

test('ConstantOfShape, EyeLike, Range', () => {
  const filled = first('ConstantOfShape', 25, [t('int64', [2, 2])], {
    value: { type: 'tensor', value: t('int4', [-3]) },
  });
  expect(Array.from(toNumbers(filled))).toEqual([-3, -3, -3, -3]);
  expect(entries(first('ConstantOfShape', 9, [t('int64', [])]))).toEqual([0]);
  expect(() => first('ConstantOfShape', 9, [t('int64', [-1])])).toThrow(/negative/);
  expect(entries(first('EyeLike', 22, [t('float32', [0, 0, 0, 0, 0, 0], [2, 3])], { k: 1, dtype: 3 }))).toEqual([
    0, 1, 0, 0, 0, 1,
  ]);
  const scalars = (dtype: DType, ...values: number[]) => values.map((v) => t(dtype, [v], []));
  expect(entries(first('Range', 27, scalars('int64', 10, 4, -2)))).toEqual([10n, 8n, 6n]);
  expect(entries(first('Range', 11, scalars('float32', 1, 2, 0.25)))).toEqual([1, 1.25, 1.5, 1.75]);
  expect(first('Range', 11, scalars('int32', 3, 1, 1)).dims).toEqual([0]);
  expect(() => first('Range', 11, scalars('int64', 0, 1, 0))).toThrow(/no end/);
  expect(() => first('Range', 11, scalars('float32', 0, Infinity, 1))).toThrow(/no end/);
});

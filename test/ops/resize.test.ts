import { expect, test } from 'vitest';
import { toNumbers } from '../../lib/ir/tensor.ts';
import { inferShapes } from './infer.ts';
import { entries, first, t } from './node.ts';

const line = t('float32', [10, 20, 30, 40], [1, 1, 4]);
const f = (...values: number[]) => t('float32', values);
const i64 = (...values: number[]) => t('int64', values);

/** The line resized to `size` elements. */
function to(size: number, attributes: Record<string, string | number | number[]>, version = 19): number[] {
  return Array.from(toNumbers(first('Resize', version, [line, null, null, i64(1, 1, size)], attributes)));
}

/** The line resized by `scale`. */
function by(scale: number, attributes: Record<string, string | number | number[]>, version = 19): number[] {
  return Array.from(toNumbers(first('Resize', version, [line, null, f(1, 1, scale)], attributes)));
}

test('coordinate transforms', () => {
  const linear = { mode: 'linear' };
  expect(to(2, linear)).toEqual([15, 35]);
  expect(to(2, { ...linear, coordinate_transformation_mode: 'asymmetric' })).toEqual([10, 30]);
  expect(to(3, { ...linear, coordinate_transformation_mode: 'align_corners' })).toEqual([10, 25, 40]);
  expect(to(1, { ...linear, coordinate_transformation_mode: 'pytorch_half_pixel' })).toEqual([10]);
  expect(to(1, linear)).toEqual([25]);
  expect(by(2, { ...linear, coordinate_transformation_mode: 'tf_half_pixel_for_nn' }, 11)).toEqual([
    12.5, 17.5, 22.5, 27.5, 32.5, 37.5, 40, 40,
  ]);
  // 4 * 0.6 = 2.4 elements become 2, centred over the input.
  const centred = by(0.6, { ...linear, coordinate_transformation_mode: 'half_pixel_symmetric' });
  expect(centred.map((v) => v.toFixed(3))).toEqual(['16.667', '33.333']);
});

test('nearest modes at halves', () => {
  const nearest = (nearest_mode: string) =>
    to(8, { mode: 'nearest', nearest_mode, coordinate_transformation_mode: 'asymmetric' });
  expect(nearest('round_prefer_floor')).toEqual([10, 10, 20, 20, 30, 30, 40, 40]);
  expect(nearest('round_prefer_ceil')).toEqual([10, 20, 20, 30, 30, 40, 40, 40]);
  expect(nearest('floor')).toEqual([10, 10, 20, 20, 30, 30, 40, 40]);
  expect(nearest('ceil')).toEqual([10, 20, 20, 30, 30, 40, 40, 40]);
});

test('a scale of a third leads back to whole positions', () => {
  const x = t('float32', [0, 1, 2, 3, 4, 5, 6, 7, 8], [9]);
  const attributes = { nearest_mode: 'floor', coordinate_transformation_mode: 'asymmetric' };
  expect(entries(first('Resize', 13, [x, null, f(1 / 3)], attributes))).toEqual([0, 3, 6]);
});

test('cubic, its border rule and antialiasing', () => {
  const cubic = by(2, { mode: 'cubic' });
  // Weights of a quarter step with a = -0.75; the border is repeated.
  const [a, b, c, d] = [-0.03515625, 0.26171875, 0.87890625, -0.10546875];
  expect(cubic[2]).toBeCloseTo(a * 10 + b * 10 + c * 20 + d * 30, 5);
  const excluded = by(2, { mode: 'cubic', exclude_outside: 1 });
  expect(excluded[2]).toBeCloseTo((b * 10 + c * 20 + d * 30) / (b + c + d), 5);
  // Half size: the tent of width four around each centre, (1 3 3 1) / 8.
  expect(by(0.5, { mode: 'linear', antialias: 1 })).toEqual([(10 + 30 + 60 + 30) / 8, (20 + 90 + 120 + 40) / 8]);
});

test('regions, with the extrapolation value outside', () => {
  const crop = { mode: 'linear', coordinate_transformation_mode: 'tf_crop_and_resize' };
  const roi = f(0, 0, 0.25, 1, 1, 1.25);
  const run = (mode: string) =>
    Array.from(
      toNumbers(
        first('Resize', 19, [line, roi, null, i64(1, 1, 4)], {
          ...crop,
          mode,
          extrapolation_value: { type: 'float', value: -1 },
        }),
      ),
    );
  expect(run('linear')).toEqual([17.5, 27.5, 37.5, -1]);
  expect(run('nearest')).toEqual([20, 30, 40, -1]);
});

test('axes, aspect ratio, other types', () => {
  const square = t('uint8', [0, 255, 255, 0], [1, 2, 2, 1]);
  const resized = (policy: string) =>
    first('Resize', 18, [square, null, null, i64(6, 4)], { axes: [2, 1], keep_aspect_ratio_policy: policy }).dims;
  expect(resized('stretch')).toEqual([1, 4, 6, 1]);
  expect(resized('not_larger')).toEqual([1, 4, 4, 1]);
  expect(resized('not_smaller')).toEqual([1, 6, 6, 1]);
  expect(entries(first('Resize', 18, [square, null, f(0.5, 0.5)], { axes: [1, 2], mode: 'linear' }))).toEqual([128]);
  expect(entries(first('Resize', 13, [t('string', ['a', 'b']), null, f(2)]))).toEqual(['a', 'a', 'b', 'b']);
  expect(() => first('Resize', 13, [t('string', ['a', 'b']), null, f(2)], { mode: 'linear' })).toThrow(/strings/);
});

test('old versions', () => {
  expect(entries(first('Resize', 10, [f(1, 2, 3, 4), f(0.75)]))).toEqual([1, 3, 4]);
  expect(entries(first('Upsample', 9, [f(1, 2), f(2)]))).toEqual([1, 1, 2, 2]);
  expect(entries(first('Upsample', 7, [f(1, 2)], { scales: { type: 'floats', value: [1.5] } }))).toEqual([1, 1, 2]);
  const factor = (value: number) => ({ type: 'float', value }) as const;
  const image = t('float32', [1, 2], [1, 1, 1, 2]);
  const up = first('Upsample', 1, [image], { mode: 'bilinear', height_scale: factor(1), width_scale: factor(2) });
  expect(entries(up)).toEqual([1, 1.5, 2, 2]);
});

test('errors and inference', () => {
  expect(() => first('Resize', 19, [line])).toThrow(/neither scales nor sizes/);
  expect(() => by(0, {})).toThrow(/a scale is 0/);
  expect(() => first('Resize', 19, [line, null, f(1, 2)])).toThrow(/2 entries, expected 3/);
  const x = ['float32', ['n', 3, 8, 'w']] as const;
  expect(inferShapes('Resize', 19, [x, null, f(1, 1, 2, 2)])).toEqual([['n', 3, 16, null]]);
  expect(inferShapes('Resize', 19, [x, null, null, i64(1, 3, 5, 6)])).toEqual([[1, 3, 5, 6]]);
  expect(inferShapes('Resize', 19, [x, null, null, i64(5)], { axes: [-1] })).toEqual([['n', 3, 8, 5]]);
  expect(inferShapes('Resize', 19, [x, null, ['float32', [4]]])).toEqual([[null, null, null, null]]);
});

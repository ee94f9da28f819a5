import { expect, test } from 'vitest';
import { toIntegers, toNumbers } from '../../lib/ir/tensor.ts';
import { inferShapes } from './infer.ts';
import { first, t } from './node.ts';

const f = (values: number[], dims?: number[]) => t('float32', values, dims);
const numbers = (...args: Parameters<typeof first>) =>
  Array.from(toNumbers(first(...args)), (v) => Math.round(v * 1e4) / 1e4);

/** Samples the line 10, 20, 30, 40 at positions in elements. */
function sample(positions: number[], attributes: Record<string, string | number>, version = 20): number[] {
  const align = attributes.align_corners === 1;
  const grid = positions.flatMap((p) => [align ? (2 * p) / 3 - 1 : (2 * p + 1) / 4 - 1, 0]);
  const x = f([10, 20, 30, 40], [1, 1, 1, 4]);
  return numbers('GridSample', version, [x, f(grid, [1, 1, positions.length, 2])], attributes);
}

test('GridSample: modes and what lies outside', () => {
  const positions = [-2, -0.75, 0, 1.25, 3.5];
  expect(sample(positions, {})).toEqual([0, 2.5, 10, 22.5, 20]);
  expect(sample(positions, { mode: 'bilinear' }, 16)).toEqual([0, 2.5, 10, 22.5, 20]);
  expect(sample(positions, { padding_mode: 'border' })).toEqual([10, 10, 10, 22.5, 40]);
  expect(sample(positions, { padding_mode: 'reflection' })).toEqual([20, 10, 10, 22.5, 40]);
  expect(sample(positions, { padding_mode: 'reflection', align_corners: 1 })).toEqual([30, 17.5, 10, 22.5, 35]);
  expect(sample([-0.75, 0.25, 1.75, 3.75], { mode: 'nearest' })).toEqual([0, 10, 30, 0]);
  const [a, b, c, d] = [-0.10546875, 0.87890625, 0.26171875, -0.03515625];
  const cubic = a * 10 + b * 20 + c * 30 + d * 40;
  expect(sample([1.25], { mode: 'cubic', align_corners: 1 })).toEqual([Math.round(cubic * 1e4) / 1e4]);
  expect(sample([Number.NaN], {})).toEqual([0]);
});

test('GridSample of volumes and of other types', () => {
  const cube = f([1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 2, 2]);
  const grid = f([0, 0, 0, 1, -1, 1], [1, 1, 1, 2, 3]);
  expect(numbers('GridSample', 20, [cube, grid], { align_corners: 1 })).toEqual([4.5, 6]);
  const words = t('string', ['a', 'b'], [1, 1, 1, 2]);
  const picked = first('GridSample', 16, [words, f([0.5, 0, 3, 0], [1, 1, 2, 2])], { mode: 'nearest' });
  expect(picked.data).toEqual(['b', '']);
  expect(
    inferShapes('GridSample', 20, [
      ['float32', ['n', 'c', 4, 4]],
      ['float32', ['n', 'h', 7, 2]],
    ]),
  ).toEqual([['n', 'c', 'h', 7]]);
  expect(() => first('GridSample', 20, [cube, f([0, 0], [1, 1, 1, 2])])).toThrow(/does not fit/);
});

test('AffineGrid', () => {
  const theta = f([1, 0, 0.5, 0, 2, 0], [1, 2, 3]);
  const size = t('int64', [1, 1, 2, 2]);
  expect(numbers('AffineGrid', 20, [theta, size], { align_corners: 1 })).toEqual([-0.5, -2, 1.5, -2, -0.5, 2, 1.5, 2]);
  expect(numbers('AffineGrid', 20, [theta, size])).toEqual([0, -1, 1, -1, 0, 1, 1, 1]);
  const volume = f([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], [1, 3, 4]);
  const grid = first('AffineGrid', 20, [volume, t('int64', [1, 1, 1, 1, 2])], { align_corners: 1 });
  expect([grid.dims, Array.from(toNumbers(grid))]).toEqual([
    [1, 1, 1, 2, 3],
    [-1, 0, 0, 1, 0, 0],
  ]);
  expect(() => first('AffineGrid', 20, [theta, t('int64', [1, 1, 1, 1, 2])])).toThrow(/theta is/);
});

test('RoiAlign: samples, shifts, modes', () => {
  const x = f(
    Array.from({ length: 16 }, (_, i) => i),
    [1, 1, 4, 4],
  );
  const roi = f([1, 1, 3, 3], [1, 4]);
  const batch = t('int64', [0]);
  const align = (attributes: Record<string, string | number>, version = 16) =>
    numbers('RoiAlign', version, [x, roi, batch], attributes);
  // Two samples each way, at 1 and 2 with the shift of half an element, at 1.5 and 2.5 without.
  expect(align({})).toEqual([7.5]);
  expect(align({}, 10)).toEqual([10]);
  expect(align({ coordinate_transformation_mode: 'output_half_pixel', sampling_ratio: 1 })).toEqual([10]);
  expect(align({ mode: 'max' })).toEqual([10]);
  expect(align({ output_height: 2, output_width: 2 })).toEqual([5, 6, 9, 10]);
  expect(() => numbers('RoiAlign', 16, [x, roi, t('int64', [1])])).toThrow(/image 1/);
});

test('NonMaxSuppression', () => {
  const boxes = f([0, 0, 1, 1, 0, 0.1, 1, 1.1, 1, 1.1, 0, 0.1, 0, 10, 1, 11], [1, 4, 4]);
  const scores = f([0.9, 0.75, 0.75, 0.6, 0.1, 0.2, 0.95, 0.3], [1, 2, 4]);
  const run = (most: number, threshold: number[], extra: number[] = []) =>
    toIntegers(
      first('NonMaxSuppression', 11, [
        boxes,
        scores,
        t('int64', [most]),
        f(threshold),
        ...(extra.length ? [f(extra)] : []),
      ]),
    );
  expect(run(3, [0.5])).toEqual([0, 0, 0, 0, 0, 3, 0, 1, 2, 0, 1, 3]);
  expect(run(1, [0.5])).toEqual([0, 0, 0, 0, 1, 2]);
  expect(run(9, [0.5], [0.7])).toEqual([0, 0, 0, 0, 1, 2]);
  // Boxes with equal corners overlap by 1, which is not more than 1.
  expect(run(9, [1], [0.7])).toEqual([0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 1, 2]);
  expect(first('NonMaxSuppression', 11, [boxes, scores]).dims).toEqual([0, 3]);
  const centred = f([0.5, 0.5, 1, 1, 0.5, 0.6, 1, 1], [1, 2, 4]);
  const two = first('NonMaxSuppression', 10, [centred, f([1, 2], [1, 1, 2]), t('int64', [5]), f([0.5])], {
    center_point_box: 1,
  });
  expect(toIntegers(two)).toEqual([0, 0, 1]);
  expect(
    inferShapes('NonMaxSuppression', 11, [
      ['float32', [1, 4, 4]],
      ['float32', [1, 2, 4]],
    ]),
  ).toEqual([[null, 3]]);
});

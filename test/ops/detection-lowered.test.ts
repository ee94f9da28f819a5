import { expect, test } from 'vitest';
import { fromNumbers } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, runLowered } from './lowered.ts';
import { t } from './node.ts';

const noise = (dims: number[], seed: number) =>
  fromNumbers(
    'float32',
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  );

/** Regions inside, across the border, outside, of no size and turned round. */
const regions = [
  [0, 0, 8, 6],
  [2.3, 1.1, 5.7, 9.4],
  [-4, -4, 3, 3],
  [30, 30, 40, 40],
  [5, 5, 5, 5],
  [7, 6, 2, 1],
  [0, 0, 100, 3],
];

test.each(['avg', 'max'])('RoiAlign, %s', (mode) => {
  const rois = t('float32', regions.flat(), [regions.length, 4]);
  const images = t('int64', [0, 1, 0, 1, 1, 0, 1]);
  for (const [channels, height, width] of [
    [3, 10, 12],
    [1, 1, 1],
    [17, 5, 33],
  ]) {
    for (const ratio of [0, 1, 2, 20]) {
      for (const how of ['half_pixel', 'output_half_pixel']) {
        checkLowered({
          op: 'RoiAlign',
          version: 16,
          inputs: [noise([2, channels, height, width], 3), rois, images],
          attributes: {
            ...{
              mode,
              output_height: 3,
              output_width: 4,
              sampling_ratio: ratio,
              spatial_scale: { type: 'float', value: 0.5 },
            },
            coordinate_transformation_mode: how,
          },
        });
      }
    }
  }
});

test('RoiAlign: images that do not exist, and no regions', () => {
  const x = noise([1, 2, 4, 4], 1);
  const one = { op: 'RoiAlign', version: 16, attributes: { output_height: 2, output_width: 2 } };
  const rois = t('float32', [0, 0, 2, 2], [1, 4]);
  expect(() => runLowered({ ...one, inputs: [x, rois, t('int64', [1])] })).toThrow(/out of range/);
  checkLowered({ ...one, inputs: [x, t('float32', [], [0, 4]), t('int64', [])] });
});

import { describe, test } from 'vitest';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { checkLowered } from './lowered.ts';
import { t } from './node.ts';

function noise(
  dims: readonly number[],
  seed: number,
  scale: number,
  dtype: HostTensor['dtype'] = 'float32',
): HostTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  return t(
    dtype,
    Array.from({ length: count }, (_, i) => scale * Math.sin((i + 1) * 12.9898 * seed)),
    dims,
  );
}

describe.each(['nearest', 'linear', 'cubic'])('samples, %s', (mode) => {
  test.each(['zeros', 'border', 'reflection'])('%s outside', (padding_mode) => {
    for (const align_corners of [0, 1]) {
      const attributes = { mode, padding_mode, align_corners };
      for (const [x, grid] of [
        [
          [2, 3, 5, 7],
          [2, 9, 8, 2],
        ],
        [
          [1, 2, 1, 1],
          [1, 3, 2, 2],
        ],
        [
          [1, 2, 3, 4, 5],
          [1, 2, 3, 4, 3],
        ],
        [
          [2, 1, 6],
          [2, 65, 1],
        ],
      ] as const) {
        const inputs = [noise(x, 1, 1), noise(grid, 3, 2.3)];
        checkLowered({ op: 'GridSample', version: 20, inputs, attributes, bound: 1e-5 });
      }
      const corners = t(
        'float32',
        [-1, -1, 1, 1, 0, 0, Number.NaN, 0, Number.POSITIVE_INFINITY, 0, 1e30, -1e30],
        [1, 3, 2, 2],
      );
      const inputs = [noise([1, 2, 4, 4], 2, 1), corners];
      checkLowered({ op: 'GridSample', version: 20, inputs, attributes, bound: 1e-5 });
    }
  });

  test('halves', () => {
    const inputs = [noise([1, 3, 4, 5], 1, 1, 'float16'), noise([1, 3, 3, 2], 3, 1)];
    checkLowered({ op: 'GridSample', version: 20, inputs, attributes: { mode }, bound: 3e-3 });
  });
});

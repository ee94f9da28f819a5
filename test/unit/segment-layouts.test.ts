/** Which layouts maps get: lanes that kernels work on in vain, and tiles that later strides divide. */

import { expect, test } from 'vitest';
import { bestLayout, laneBlockRows, layoutEfficiency, type MapSize, SegmentLayout } from '../../lib/ir/segments.ts';

const map = (h: number, w = h, n = 1): MapSize => ({ n, c: 64, d: 1, h, w });
const dealt = (size: MapSize, multiple: number, block: number) => {
  const { lanes, tileRows, tileColumns } = bestLayout(size, multiple, multiple, block);
  return [lanes.images, lanes.y, lanes.x, tileRows, tileColumns];
};

test('lanes as vectors: the fewest idle ones', () => {
  expect(dealt(map(56), 1, 0)).toEqual([1, 4, 4, 14, 14]);
  expect(dealt(map(14), 1, 0)).toEqual([1, 2, 7, 7, 2]);
});

test.each([8, 16])('lanes as rows fill the registers of vectors of %i', (vectorLanes) => {
  expect(dealt(map(14), 2, laneBlockRows(vectorLanes))).toEqual([1, 2, 7, 8, 2]);
  expect(dealt(map(7), 1, laneBlockRows(vectorLanes))).toEqual([1, 2, 7, 4, 1]);
});

test('short blocks of rows wait for their sums', () => {
  const seven = new SegmentLayout('planes', map(14), { images: 1, y: 1, x: 7 }, 14, 2);
  expect(layoutEfficiency(seven, laneBlockRows(8))).toBeLessThan(0.85 * layoutEfficiency(seven, laneBlockRows(16)));
});

test('rows of lanes past the edge are no work', () => {
  const whole = bestLayout(map(14), 1, 14);
  const layout = bestLayout(map(14), 2, 14);
  expect(layout.tileRows * layout.lanes.y).toBeGreaterThanOrEqual(whole.tileRows * whole.lanes.y);
  expect(layoutEfficiency(layout, 14)).toBeGreaterThan(0.85);
});

test('every layout holds its map, in tiles that the strides divide', () => {
  for (const block of [0, 6, 14]) {
    for (const size of [1, 2, 3, 7, 13, 14, 15, 17, 28, 33]) {
      for (const images of [1, 3]) {
        for (const multiple of [1, 2, 4]) {
          const { lanes, tileRows, tileColumns } = bestLayout(map(size, size + 1, images), multiple, multiple, block);
          expect(lanes.y * tileRows).toBeGreaterThanOrEqual(size);
          expect(lanes.x * tileColumns).toBeGreaterThanOrEqual(size + 1);
          expect([tileRows % multiple, tileColumns % multiple]).toEqual([0, 0]);
          expect(lanes.images * lanes.y * lanes.x).toBeLessThanOrEqual(16);
        }
      }
    }
  }
});

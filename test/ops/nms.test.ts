import { expect, test } from 'vitest';
import { toIntegers } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { first, t } from './node.ts';

/** What the standard says, box by box. */
function plain(boxes: number[][], scores: number[], limit: number, most: number): number[] {
  const overlap = (a: number[], b: number[]): number => {
    const height = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
    const width = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
    const area = (x: number[]): number => (x[2] - x[0]) * (x[3] - x[1]);
    if (height <= 0 || width <= 0) return 0;
    return (height * width) / (area(a) + area(b) - height * width);
  };
  const kept: number[] = [];
  const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
  for (const i of order) {
    if (kept.length < most && kept.every((k) => overlap(boxes[i], boxes[k]) <= limit)) kept.push(i);
  }
  return kept;
}

test.each([
  ['small', 300, 0.05],
  ['large', 200, 1],
  ['of all sizes, far apart', 400, 0],
])('NonMaxSuppression of boxes %s', (_, count, size) => {
  const noise = random(5 * count, count).map(Math.fround);
  const boxes = Array.from({ length: count }, (_, i) => {
    const [x, y] = [noise[i] * 10 + (size ? 0 : (i % 7) * 100), noise[count + i]];
    const extent = size || 10 ** (noise[4 * count + i] * 3);
    return [y, x, y + Math.abs(noise[2 * count + i]) * extent, x + Math.abs(noise[3 * count + i]) * extent].map(
      Math.fround,
    );
  });
  const scores = boxes.map((_, i) => Math.fround(Math.sin(i * 12.9898)));
  for (const [limit, most] of [
    [0.3, 1000],
    [0.7, 20],
    [0, 1000],
  ]) {
    const selected = first('NonMaxSuppression', 11, [
      t('float32', boxes.flat(), [1, count, 4]),
      t('float32', scores, [1, 1, count]),
      ...[t('int64', [most]), t('float32', [limit])],
    ]);
    const want = plain(boxes, scores, Math.fround(limit), most);
    expect(toIntegers(selected).filter((_, i) => i % 3 === 2)).toEqual(want);
  }
});

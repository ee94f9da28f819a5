/** Sample maps for tests of kernels in the segment layout, and comparison of their results. */

import type { Lanes } from '../../lib/ir/segments.ts';

/** Images, depth, height, width. */
export type Size = readonly [n: number, d: number, h: number, w: number];

/**
 * Where two arrays differ by more than `tolerance` of the larger magnitude (at least 1), as text; undefined where they
 * agree. Much faster than comparing element by element with `expect`.
 */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 0): string | undefined {
  if (actual.length !== expected.length) return `${actual.length} elements, not ${expected.length}`;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [actual[i]!, expected[i]!];
    if (Object.is(a, b) || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b))) continue;
    return `element ${i} of ${expected.length} is ${a}, not ${b}`;
  }
  return undefined;
}

/** Maps that exercise every way of dealing lanes, with odd sizes. */
export const sampleMaps: readonly { readonly size: Size; readonly lanes: Lanes }[] = [
  { size: [1, 1, 16, 16], lanes: { images: 1, y: 4, x: 4 } },
  { size: [3, 1, 13, 30], lanes: { images: 1, y: 4, x: 4 } },
  { size: [5, 1, 14, 14], lanes: { images: 4, y: 2, x: 2 } },
  { size: [1, 1, 14, 14], lanes: { images: 1, y: 2, x: 7 } },
  { size: [2, 1, 7, 7], lanes: { images: 1, y: 7, x: 2 } },
  { size: [17, 1, 3, 5], lanes: { images: 16, y: 1, x: 1 } },
  { size: [17, 1, 1, 1], lanes: { images: 16, y: 1, x: 1 } },
  { size: [1, 1, 1, 37], lanes: { images: 1, y: 1, x: 16 } },
  { size: [2, 3, 5, 6], lanes: { images: 2, y: 2, x: 3 } },
];

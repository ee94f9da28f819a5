/** The segment layout in plain loops: what tests compare kernels with. */

import { type Borders, type Lanes, type MapSize, SEGMENT_LANES, SegmentLayout } from '../../lib/ir/segments.ts';

/** A layout with the fewest tiles for the lanes; tiles are multiples of `multiple`. */
export function layoutOf(size: MapSize, lanes: Lanes, borders: Partial<Borders> = {}, multiple = 1): SegmentLayout {
  const round = (n: number) => Math.ceil(n / multiple) * multiple;
  const rows = round(Math.ceil(size.h / lanes.y));
  return new SegmentLayout('planes', size, lanes, rows, round(Math.ceil(size.w / lanes.x))).withBorders(borders);
}

/** A place of the layout: line number of channel 0's tile, lane, and the position it holds. */
export interface Place {
  readonly tile: number;
  readonly lane: number;
  readonly interior: boolean;
  /** Number of the position among the tensor's, [N, D, H, W], or -1 outside the image. */
  readonly n: number;
  readonly position: number;
}

/** Every lane of every tile, borders included. */
export function* places(layout: SegmentLayout): Generator<Place> {
  const { size, lanes, borders: b, tileRows, tileColumns } = layout;
  const groups = Math.ceil(size.n / lanes.images);
  let tile = 0;
  for (let group = 0; group < groups; group++) {
    for (let z = -b.front; z < size.d + b.back; z++) {
      for (let ty = -b.top; ty < tileRows + b.bottom; ty++) {
        for (let tx = -b.left; tx < tileColumns + b.right; tx++, tile++) {
          const interior = z >= 0 && z < size.d && ty >= 0 && ty < tileRows && tx >= 0 && tx < tileColumns;
          for (let lane = 0; lane < SEGMENT_LANES; lane++) {
            const n = group * lanes.images + Math.floor(lane / (lanes.y * lanes.x));
            const y = (Math.floor(lane / lanes.x) % lanes.y) * tileRows + ty;
            const x = (lane % lanes.x) * tileColumns + tx;
            const used = lane < lanes.images * lanes.y * lanes.x && n < size.n;
            const inside = used && z >= 0 && z < size.d && y >= 0 && y < size.h && x >= 0 && x < size.w;
            yield { tile, lane, interior, n, position: inside ? (z * size.h + y) * size.w + x : -1 };
          }
        }
      }
    }
  }
}

/** Floats of a layout's buffer. */
export const floatsOf = (layout: SegmentLayout): number => layout.tiles * layout.size.c * SEGMENT_LANES;

/**
 * [N, C, D, H, W] in the layout. Borders and lanes outside the image hold `fill`; without borders (`borders` false)
 * border tiles hold 777.
 */
export function toSegments(planes: Float32Array, layout: SegmentLayout, fill = 0, borders = true): Float32Array {
  const { c: channels, d, h, w } = layout.size;
  const lines = new Float32Array(floatsOf(layout)).fill(fill);
  for (const place of places(layout)) {
    for (let c = 0; c < channels; c++) {
      const at = (place.tile * channels + c) * SEGMENT_LANES + place.lane;
      if (!place.interior && !borders) lines[at] = 777;
      else if (place.position >= 0) lines[at] = planes[(place.n * channels + c) * d * h * w + place.position]!;
    }
  }
  return lines;
}

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

/** Back to [N, C, D, H, W]. */
export function toPlanes(lines: Float32Array, layout: SegmentLayout): Float32Array {
  const { n, c: channels, d, h, w } = layout.size;
  const planes = new Float32Array(n * channels * d * h * w).fill(Number.NaN);
  for (const place of places(layout)) {
    if (!place.interior || place.position < 0) continue;
    for (let c = 0; c < channels; c++) {
      planes[(place.n * channels + c) * d * h * w + place.position] =
        lines[(place.tile * channels + c) * SEGMENT_LANES + place.lane]!;
    }
  }
  return planes;
}

/** Maps that exercise every way of dealing lanes, with odd sizes. */
export const sampleMaps: readonly { readonly size: Omit<MapSize, 'c'>; readonly lanes: Lanes }[] = [
  { size: { n: 1, d: 1, h: 16, w: 16 }, lanes: { images: 1, y: 4, x: 4 } },
  { size: { n: 3, d: 1, h: 13, w: 30 }, lanes: { images: 1, y: 4, x: 4 } },
  { size: { n: 5, d: 1, h: 14, w: 14 }, lanes: { images: 4, y: 2, x: 2 } },
  { size: { n: 1, d: 1, h: 14, w: 14 }, lanes: { images: 1, y: 2, x: 7 } },
  { size: { n: 2, d: 1, h: 7, w: 7 }, lanes: { images: 1, y: 7, x: 2 } },
  { size: { n: 17, d: 1, h: 3, w: 5 }, lanes: { images: 16, y: 1, x: 1 } },
  { size: { n: 17, d: 1, h: 1, w: 1 }, lanes: { images: 16, y: 1, x: 1 } },
  { size: { n: 1, d: 1, h: 1, w: 37 }, lanes: { images: 1, y: 1, x: 16 } },
  { size: { n: 2, d: 3, h: 5, w: 6 }, lanes: { images: 2, y: 2, x: 3 } },
];

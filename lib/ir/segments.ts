/**
 * The segment layout: positions of a feature map in the 16 lanes of a cache line, features as lines.
 *
 * native/kernels/segments.h has the formula.
 */

import { byteLength, type DType } from './dtype.ts';

/** Lanes of a line. */
export const SEGMENT_LANES = 16;

/** True where a value may begin with channel `channel` of a map: channels of bytes lie in fours. */
export function segmentChannels(dtype: DType, channel: number): boolean {
  return byteLength(dtype, 1) !== 1 || channel % 4 === 0;
}

/** Which axis of the tensor holds the features: `planes` is [N, C, ...spatial], `rows` is [..., C]. */
export type FeatureAxis = 'planes' | 'rows';

/** Border tiles on each side. */
export interface Borders {
  readonly front: number;
  readonly back: number;
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** A map without borders. */
export const noBorders: Borders = { front: 0, back: 0, top: 0, bottom: 0, left: 0, right: 0 };

/** The wider of two borders on each side. */
export function widestBorders(a: Borders, b: Borders): Borders {
  return {
    front: Math.max(a.front, b.front),
    back: Math.max(a.back, b.back),
    top: Math.max(a.top, b.top),
    bottom: Math.max(a.bottom, b.bottom),
    left: Math.max(a.left, b.left),
    right: Math.max(a.right, b.right),
  };
}

/** True where `a` is at least as wide as `b` on every side. */
export function coversBorders(a: Borders, b: Borders): boolean {
  const widest = widestBorders(a, b);
  return (Object.keys(widest) as (keyof Borders)[]).every((side) => widest[side] === a[side]);
}

/** A sliding window over up to three spatial axes: depth, height, width. */
export interface Window {
  readonly kernel: readonly [number, number, number];
  readonly strides: readonly [number, number, number];
  readonly dilations: readonly [number, number, number];
  /** Padding before the first position. */
  readonly pads: readonly [number, number, number];
  /** Positions past the last slice that the window reads: depth is not cut into segments. */
  readonly depthAfter: number;
}

/** The borders a window reads, where the tiles of its input are `strides` times those of its output. */
export function windowBorders({ kernel, strides, dilations, pads, depthAfter }: Window): Borders {
  const after = (i: 1 | 2): number => Math.max(0, (kernel[i] - 1) * dilations[i] - pads[i] - (strides[i] - 1));
  return { front: pads[0], back: depthAfter, top: pads[1], bottom: after(1), left: pads[2], right: after(2) };
}

/** How the lanes are dealt: `images` x `y` x `x` segments, at most 16. */
export interface Lanes {
  readonly images: number;
  readonly y: number;
  readonly x: number;
}

/** Sizes of a feature map: images, channels, depth, height, width. */
export interface MapSize {
  readonly n: number;
  readonly c: number;
  readonly d: number;
  readonly h: number;
  readonly w: number;
}

/** One map in the segment layout. */
export class SegmentLayout {
  readonly axis: FeatureAxis;
  readonly size: MapSize;
  readonly lanes: Lanes;
  /** Positions of a segment: rows and columns of tiles. */
  readonly tileRows: number;
  readonly tileColumns: number;
  readonly borders: Borders;

  constructor(
    axis: FeatureAxis,
    size: MapSize,
    lanes: Lanes,
    tileRows: number,
    tileColumns: number,
    borders: Borders = noBorders,
  ) {
    this.axis = axis;
    this.size = size;
    this.lanes = lanes;
    this.tileRows = tileRows;
    this.tileColumns = tileColumns;
    this.borders = borders;
  }

  /** The same map without borders. */
  withoutBorders(): SegmentLayout {
    return new SegmentLayout(this.axis, this.size, this.lanes, this.tileRows, this.tileColumns);
  }

  /** The same map with borders at least as wide as asked. */
  withBorders(wanted: Partial<Borders>): SegmentLayout {
    const borders = widestBorders(this.borders, { ...noBorders, ...wanted });
    if (coversBorders(this.borders, borders)) return this;
    return new SegmentLayout(this.axis, this.size, this.lanes, this.tileRows, this.tileColumns, borders);
  }

  /** Tiles, borders included. */
  get tiles(): number {
    const b = this.borders;
    const groups = Math.ceil(this.size.n / this.lanes.images);
    const depth = b.front + this.size.d + b.back;
    return groups * depth * (b.top + this.tileRows + b.bottom) * (b.left + this.tileColumns + b.right);
  }

  /** The 16 integers of native/kernels/segments.h. */
  encode(): number[] {
    const { n, c, d, h, w } = this.size;
    const b = this.borders;
    return [
      n,
      this.lanes.images,
      this.lanes.y,
      this.lanes.x,
      d,
      h,
      w,
      this.tileRows,
      this.tileColumns,
      b.front,
      b.back,
      b.top,
      b.bottom,
      b.left,
      b.right,
      c,
    ];
  }

  /** The layout of a map with the same lanes and tiles, other channels; borders start at none. */
  withChannels(c: number): SegmentLayout {
    return new SegmentLayout(this.axis, { ...this.size, c }, this.lanes, this.tileRows, this.tileColumns);
  }

  /** True where a flat pass over both meets the same element everywhere. */
  sameGeometry(other: SegmentLayout): boolean {
    const a = this.encode();
    const b = other.encode();
    return this.axis === other.axis && a.every((x, i) => x === b[i]);
  }

  /** True where both deal positions alike, whatever their channels and borders. */
  samePositions(other: SegmentLayout): boolean {
    return (
      this.axis === other.axis &&
      this.size.n === other.size.n &&
      this.size.d === other.size.d &&
      this.size.h === other.size.h &&
      this.size.w === other.size.w &&
      this.lanes.images === other.lanes.images &&
      this.lanes.y === other.lanes.y &&
      this.lanes.x === other.lanes.x &&
      this.tileRows === other.tileRows &&
      this.tileColumns === other.tileColumns
    );
  }
}

/** The layout of a matrix of `rows` positions and `features` columns: 16 equal runs of rows. */
export function rowsLayout(rows: number, features: number): SegmentLayout {
  const size = { n: 1, c: features, d: 1, h: 1, w: rows };
  return new SegmentLayout('rows', size, { images: 1, y: 1, x: SEGMENT_LANES }, 1, Math.ceil(rows / SEGMENT_LANES));
}

const laneChoices: readonly Lanes[] = (() => {
  const all: Lanes[] = [];
  for (let images = 1; images <= 16; images++) {
    for (let y = 1; images * y <= 16; y++) {
      for (let x = 1; images * y * x <= 16; x++) {
        if (images * y * x >= 7) all.push({ images, y, x });
      }
    }
  }
  return all;
})();

/** More lanes than this are left to kernels with lanes as vectors. */
export const LANE_ROWS = 14;

/** Rows that a kernel with lanes as rows keeps in registers (native/kernels/conv_segments_lanes.cc). */
export const laneBlockRows = (vectorLanes: number): number => (vectorLanes === 16 ? 14 : 6);

/** Fewer rows wait for their sums, of which each has two: a sum takes four steps, and two are begun in one. */
const LEAST_ROWS = 5;

/** What a block of rows costs besides, in rows: it loads the weights and turns its sums. */
const BLOCK_ROWS = 0.5;

/** Work of so many lanes where they are rows, `block` at a time. */
function rowsWork(lanes: number, block: number): number {
  const blocks = Math.ceil(lanes / block);
  let work = 0;
  for (let i = 0; i < blocks; i++) {
    const rows = Math.floor((lanes * (i + 1)) / blocks) - Math.floor((lanes * i) / blocks);
    work += Math.max(LEAST_ROWS, rows) + BLOCK_ROWS;
  }
  return work;
}

/**
 * Lanes that kernels work on for all interior tiles of an image's depth: those with lanes as vectors compute all 16,
 * those with lanes as rows, `block` at a time, the ones in use, less those past the edge that lie evenly.
 */
function layoutWork({ size, lanes, tileRows, tileColumns }: SegmentLayout, block: number): number {
  const groups = Math.ceil(size.n / lanes.images);
  const used = lanes.images * lanes.y * lanes.x;
  if (block === 0 || used > LANE_ROWS) return groups * tileRows * tileColumns * SEGMENT_LANES;
  const past = (tiles: number, count: number, extent: number) => Math.min(tiles, Math.max(0, tiles * count - extent));
  const thin = lanes.x === 2 ? past(tileColumns, 2, size.w) : 0;
  const low = lanes.images === 1 ? past(tileRows, lanes.y, size.h) : 0;
  const rest = tileColumns - thin;
  const perGroup =
    tileRows * thin * rowsWork(used / 2, block) +
    rest * (low * rowsWork(used - lanes.x, block) + (tileRows - low) * rowsWork(used, block));
  return groups * perGroup;
}

/** Share of a kernel's work on interior tiles that is done on positions; `block` as for `bestLayout`. */
export function layoutEfficiency(layout: SegmentLayout, block: number): number {
  const { n, h, w } = layout.size;
  return (n * h * w) / layoutWork(layout, block);
}

/**
 * The layout with the least work for a map whose tiles must divide by `multipleY` and `multipleX` (the strides that
 * follow); `block` is how many rows a kernel with lanes as rows takes at a time, 0 where another will run. Among equals
 * the one with the fewest images a group: its maps are smallest.
 */
export function bestLayout(size: MapSize, multipleY: number, multipleX: number, block = 0): SegmentLayout {
  let best: SegmentLayout | undefined;
  let bestScore = 0;
  for (const lanes of laneChoices) {
    if (lanes.images > size.n || (lanes.y > 1 && size.h === 1) || (lanes.x > 1 && size.w === 1)) continue;
    const rows = Math.ceil(size.h / (lanes.y * multipleY)) * multipleY;
    const columns = Math.ceil(size.w / (lanes.x * multipleX)) * multipleX;
    const layout = new SegmentLayout('planes', size, lanes, rows, columns);
    // A long seam costs border work: square segments are better at equal waste, fewer images keep maps in cache, and
    // fewer lanes let kernels with lanes as rows do less.
    const seam = (lanes.y + lanes.x) / 1000 + (lanes.images - 1) / 500 + (lanes.images * lanes.y * lanes.x) / 500;
    const score = layoutEfficiency(layout, block) - seam;
    if (!best || score > bestScore) {
      best = layout;
      bestScore = score;
    }
  }
  return best ?? new SegmentLayout('planes', size, { images: 1, y: 1, x: 1 }, size.h, size.w);
}

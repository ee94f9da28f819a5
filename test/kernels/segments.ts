/** Feature maps in the segment layout for kernel tests: native/kernels/segments.h has the formula. */

import { type Borders, type Lanes, SEGMENT_LANES, SegmentLayout } from '../../lib/ir/segments.ts';

/** A tensor [n, c, d, h, w] in row-major order, as plain numbers. */
export interface Planes {
  readonly dims: readonly [number, number, number, number, number];
  readonly data: Float64Array | Float32Array | Int32Array | Uint8Array | Int8Array;
}

/** A layout for a map of those dims; tiles are the least that cover it, rounded up to the given multiples. */
export function layoutOf(
  dims: readonly [number, number, number, number, number],
  lanes: Lanes,
  borders: Partial<Borders> = {},
  multipleY = 1,
  multipleX = 1,
): SegmentLayout {
  const [n, c, d, h, w] = dims;
  const rows = Math.ceil(h / (lanes.y * multipleY)) * multipleY;
  const columns = Math.ceil(w / (lanes.x * multipleX)) * multipleX;
  return new SegmentLayout('planes', { n, c, d, h, w }, lanes, rows, columns).withBorders(borders);
}

/**
 * Calls `visit` for every lane of every tile, borders included: the index of the lane within a line, the tile's number
 * and the position it holds, or null where it is outside the image or batch. `interior` is false for border tiles.
 */
export function eachLane(
  layout: SegmentLayout,
  visit: (
    tile: number,
    lane: number,
    position: [n: number, z: number, y: number, x: number] | null,
    interior: boolean,
  ) => void,
): void {
  const { n, d, h, w } = layout.size;
  const { lanes, tileRows, tileColumns, borders: b } = layout;
  let tile = 0;
  for (let group = 0; group * lanes.images < n; group++) {
    for (let z = -b.front; z < d + b.back; z++) {
      for (let ty = -b.top; ty < tileRows + b.bottom; ty++) {
        for (let tx = -b.left; tx < tileColumns + b.right; tx++, tile++) {
          const interior = z >= 0 && z < d && ty >= 0 && ty < tileRows && tx >= 0 && tx < tileColumns;
          for (let lane = 0; lane < SEGMENT_LANES; lane++) {
            const image = Math.floor(lane / (lanes.y * lanes.x));
            const y = (Math.floor(lane / lanes.x) % lanes.y) * tileRows + ty;
            const x = (lane % lanes.x) * tileColumns + tx;
            const item = group * lanes.images + image;
            const inside = image < lanes.images && item < n && z >= 0 && z < d && y >= 0 && y < h && x >= 0 && x < w;
            visit(tile, lane, inside ? [item, z, y, x] : null, interior);
          }
        }
      }
    }
  }
}

/**
 * Fills a float32 map: positions from the tensor, everything else (borders outside the image, idle lanes) `fill`.
 * The layout's channels are the buffer's; the tensor's go to `channel` and following.
 */
export function toSegments(
  planes: Planes,
  layout: SegmentLayout,
  fill = 0,
  channel = 0,
  into?: Float32Array,
): Float32Array {
  const [, c, d, h, w] = planes.dims;
  const total = layout.size.c;
  const out = into ?? new Float32Array(layout.tiles * total * SEGMENT_LANES).fill(Number.NaN);
  eachLane(layout, (tile, lane, position) => {
    for (let k = 0; k < c; k++) {
      let value = fill;
      if (position) {
        const [n, z, y, x] = position;
        value = planes.data[(((n * c + k) * d + z) * h + y) * w + x] as number;
      }
      out[(tile * total + channel + k) * SEGMENT_LANES + lane] = value;
    }
  });
  return out;
}

/** Reads `c` channels from `channel` on of a float32 map: row-major [n, c, d, h, w]. */
export function fromSegments(map: Float32Array, layout: SegmentLayout, c = layout.size.c, channel = 0): Float32Array {
  const { n, d, h, w } = layout.size;
  const out = new Float32Array(n * c * d * h * w);
  eachLane(layout, (tile, lane, position, interior) => {
    if (!position || !interior) return;
    const [item, z, y, x] = position;
    for (let k = 0; k < c; k++) {
      out[(((item * c + k) * d + z) * h + y) * w + x] = map[
        (tile * layout.size.c + channel + k) * SEGMENT_LANES + lane
      ] as number;
    }
  });
  return out;
}

/** As {@link toSegments} for 8-bit maps: lines of channel quads, [tile][ceil(C / 4)][16][4]. */
export function toByteSegments(
  planes: Planes,
  layout: SegmentLayout,
  fill = 0,
  channel = 0,
  into?: Uint8Array,
): Uint8Array {
  const [, c, d, h, w] = planes.dims;
  const quads = Math.ceil(layout.size.c / 4);
  const out = into ?? new Uint8Array(layout.tiles * quads * SEGMENT_LANES * 4).fill(0xa5);
  eachLane(layout, (tile, lane, position) => {
    for (let k = 0; k < c; k++) {
      let value = fill;
      if (position) {
        const [n, z, y, x] = position;
        value = planes.data[(((n * c + k) * d + z) * h + y) * w + x] as number;
      }
      const at = channel + k;
      out[((tile * quads + (at >> 2)) * SEGMENT_LANES + lane) * 4 + (at & 3)] = value;
    }
  });
  return out;
}

/** Reads `c` channels from `channel` on of an 8-bit map as unsigned bytes, row-major. */
export function fromByteSegments(map: Uint8Array, layout: SegmentLayout, c = layout.size.c, channel = 0): Uint8Array {
  const { n, d, h, w } = layout.size;
  const quads = Math.ceil(layout.size.c / 4);
  const out = new Uint8Array(n * c * d * h * w);
  eachLane(layout, (tile, lane, position, interior) => {
    if (!position || !interior) return;
    const [item, z, y, x] = position;
    for (let k = 0; k < c; k++) {
      const at = channel + k;
      out[(((item * c + k) * d + z) * h + y) * w + x] = map[
        ((tile * quads + (at >> 2)) * SEGMENT_LANES + lane) * 4 + (at & 3)
      ] as number;
    }
  });
  return out;
}

/** Shape of a convolution: sizes along depth, height, width. `pad` is what precedes the first position. */
export interface ConvShape {
  readonly groups: number;
  readonly kernel: readonly [number, number, number];
  readonly stride: readonly [number, number, number];
  readonly dilation: readonly [number, number, number];
  readonly pad: readonly [number, number, number];
}

/**
 * Convolution in double precision: x [n, c, d, h, w], weights [m, c / groups, kd, kh, kw], output of the given spatial
 * size. Positions outside x count as `outside`.
 */
export function convolve(
  x: Planes,
  weights: ArrayLike<number>,
  bias: ArrayLike<number> | null,
  m: number,
  spatial: readonly [number, number, number],
  shape: ConvShape,
  outside = 0,
): Float64Array {
  const [n, c, d, h, w] = x.dims;
  const [kd, kh, kw] = shape.kernel;
  const [sd, sh, sw] = shape.stride;
  const [dd, dh, dw] = shape.dilation;
  const [pd, ph, pw] = shape.pad;
  const [od, oh, ow] = spatial;
  const perGroup = c / shape.groups;
  const out = new Float64Array(n * m * od * oh * ow);
  let at = 0;
  const sample = (item: number, channel: number, z: number, y: number, xx: number) =>
    z < 0 || z >= d || y < 0 || y >= h || xx < 0 || xx >= w
      ? outside
      : (x.data[(((item * c + channel) * d + z) * h + y) * w + xx] as number);
  const dot = (item: number, row: number, z: number, y: number, xx: number) => {
    const first = Math.floor(row / (m / shape.groups)) * perGroup;
    let sum = bias ? (bias[row] as number) : 0;
    let k = row * perGroup * kd * kh * kw;
    for (let ci = 0; ci < perGroup; ci++) {
      for (let a = 0; a < kd; a++) {
        for (let b = 0; b < kh; b++) {
          for (let e = 0; e < kw; e++, k++) {
            const value = weights[k] as number;
            if (value !== 0) {
              sum +=
                value * sample(item, first + ci, z * sd + a * dd - pd, y * sh + b * dh - ph, xx * sw + e * dw - pw);
            }
          }
        }
      }
    }
    return sum;
  };
  for (let item = 0; item < n; item++) {
    for (let row = 0; row < m; row++) {
      for (let z = 0; z < od; z++) {
        for (let y = 0; y < oh; y++) {
          for (let xx = 0; xx < ow; xx++) out[at++] = dot(item, row, z, y, xx);
        }
      }
    }
  }
  return out;
}

/** Layouts of the maps before and after a window operator, and cases that convolutions and pools are tested with. */

import { type Lanes, SegmentLayout } from '../../lib/ir/segments.ts';

/** Sizes along depth, height, width. */
export type Triple = readonly [number, number, number];

/** A window that slides over a map; `pad` is what precedes the first position and follows the last. */
export interface Window {
  readonly kernel: Triple;
  readonly stride: Triple;
  readonly dilation: Triple;
  readonly pad: Triple;
}

export interface WindowCase extends Window {
  readonly n: number;
  readonly size: Triple;
  readonly lanes: Lanes;
}

const one: Triple = [1, 1, 1];
const axes = [0, 1, 2] as const;

function windowCase(n: number, size: Triple, lanes: Lanes, window: Partial<Window> = {}): WindowCase {
  return { n, size, lanes, kernel: one, stride: one, dilation: one, pad: [0, 0, 0], ...window };
}

const same3 = { kernel: [1, 3, 3], pad: [0, 1, 1] } as const;

/** Every way of dealing lanes, odd sizes, all window parameters, one to three dimensions. */
export const windowCases: readonly WindowCase[] = [
  windowCase(17, [1, 1, 1], { images: 16, y: 1, x: 1 }),
  windowCase(1, [1, 1, 37], { images: 1, y: 1, x: 16 }),
  windowCase(2, [1, 13, 30], { images: 1, y: 4, x: 4 }, same3),
  windowCase(1, [1, 29, 29], { images: 1, y: 4, x: 4 }, { kernel: [1, 7, 7], stride: [1, 2, 2], pad: [0, 3, 3] }),
  windowCase(5, [1, 14, 14], { images: 4, y: 2, x: 2 }, { ...same3, stride: [1, 2, 2] }),
  windowCase(1, [1, 14, 14], { images: 1, y: 2, x: 7 }, same3),
  windowCase(1, [1, 7, 7], { images: 1, y: 7, x: 2 }, same3),
  windowCase(17, [1, 3, 5], { images: 16, y: 1, x: 1 }, { ...same3, stride: [1, 2, 1] }),
  windowCase(1, [1, 9, 10], { images: 1, y: 4, x: 4 }, { kernel: [1, 2, 5], dilation: [1, 2, 2], pad: [0, 1, 3] }),
  windowCase(3, [4, 5, 6], { images: 1, y: 2, x: 3 }, { kernel: [3, 2, 3], stride: [2, 1, 1], pad: [1, 0, 1] }),
  windowCase(1, [1, 1, 50], { images: 1, y: 1, x: 16 }, { kernel: [1, 1, 5], stride: [1, 1, 2], pad: [0, 0, 2] }),
];

export function describeCase(k: WindowCase): string {
  const lanes = `${k.lanes.images}x${k.lanes.y}x${k.lanes.x}`;
  return `${k.n} of ${k.size.join('x')} in ${lanes}, window ${k.kernel.join('x')} stride ${k.stride.join('x')}`;
}

/** Output sizes along depth, height, width. */
export function outputSize(size: Triple, w: Window): Triple {
  const along = (i: 0 | 1 | 2) =>
    Math.floor((size[i] + 2 * w.pad[i] - (w.kernel[i] - 1) * w.dilation[i] - 1) / w.stride[i]) + 1;
  return [along(0), along(1), along(2)];
}

/** Layouts of input and output with the borders the window needs; the output has borders too, which nobody may touch. */
export function windowLayouts(k: WindowCase, channelsIn: number, channelsOut: number): [SegmentLayout, SegmentLayout] {
  const out = outputSize(k.size, k);
  const segments: Triple = [1, k.lanes.y, k.lanes.x];
  const [depth, rows, columns] = axes.map((i) => {
    const needed = Math.ceil(out[i] / segments[i]);
    return Math.max(needed, Math.ceil(k.size[i] / (segments[i] * k.stride[i])));
  }) as unknown as Triple;
  const [d, h, w] = k.size;
  const input = new SegmentLayout(
    'planes',
    { n: k.n, c: channelsIn, d, h, w },
    k.lanes,
    rows * k.stride[1],
    columns * k.stride[2],
  );
  const after = axes.map((i) => {
    const tiles = i === 0 ? Math.min(depth, out[0]) : i === 1 ? rows : columns;
    const size = i === 0 ? d : i === 1 ? input.tileRows : input.tileColumns;
    return Math.max(0, (tiles - 1) * k.stride[i] + (k.kernel[i] - 1) * k.dilation[i] - k.pad[i] - size + 1);
  }) as unknown as Triple;
  const [front, top, left] = k.pad;
  const borders = { front, top, left, back: after[0], bottom: after[1], right: after[2] };
  const [od, oh, ow] = out;
  const output = new SegmentLayout('planes', { n: k.n, c: channelsOut, d: od, h: oh, w: ow }, k.lanes, rows, columns);
  return [input.withBorders(borders), output.withBorders({ top: 1, right: 1 })];
}

/** The window's parameters as kernels name them. */
export function windowParams(w: Window) {
  return {
    kernel_d: w.kernel[0],
    kernel_h: w.kernel[1],
    kernel_w: w.kernel[2],
    stride_d: w.stride[0],
    stride_h: w.stride[1],
    stride_w: w.stride[2],
    dilation_d: w.dilation[0],
    dilation_h: w.dilation[1],
    dilation_w: w.dilation[2],
    pad_front: w.pad[0],
    pad_top: w.pad[1],
    pad_left: w.pad[2],
  };
}

const known = new Map<string, unknown>();

/** What `make` gives for `key`, made once: every instruction set is compared with the same plain loops. */
export function once<T>(key: readonly unknown[], make: () => T): T {
  const text = JSON.stringify(key);
  if (!known.has(text)) known.set(text, make());
  return known.get(text) as T;
}

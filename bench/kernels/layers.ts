/** The layers of ResNet-50 and BERT-base that kernels are measured on. */

import { type Lanes, rowsLayout, type SegmentLayout } from '../../lib/ir/segments.ts';
import { type Triple, type Window, windowLayouts } from '../../test/kernels/windows.ts';

export interface Layer {
  readonly name: string;
  readonly c: number;
  readonly m: number;
  readonly input: SegmentLayout;
  readonly output: SegmentLayout;
  readonly window: Window;
  readonly residual: boolean;
}

/** Height and width of the input, of the window, and its stride. */
type Size = readonly [size: number, kernel: number, stride: number];

const convolutions: readonly (readonly [string, number, number, Size])[] = [
  ['conv1', 3, 64, [224, 7, 2]],
  ['1a', 256, 64, [56, 1, 1]],
  ['1b', 64, 64, [56, 3, 1]],
  ['1c', 64, 256, [56, 1, 1]],
  ['2b entry', 128, 128, [56, 3, 2]],
  ['2 shortcut', 256, 512, [56, 1, 2]],
  ['2a', 512, 128, [28, 1, 1]],
  ['2b', 128, 128, [28, 3, 1]],
  ['2c', 128, 512, [28, 1, 1]],
  ['3a', 1024, 256, [14, 1, 1]],
  ['3b', 256, 256, [14, 3, 1]],
  ['3c', 256, 1024, [14, 1, 1]],
  ['4a', 2048, 512, [7, 1, 1]],
  ['4b', 512, 512, [7, 3, 1]],
  ['4c', 512, 2048, [7, 1, 1]],
];

const linears: readonly (readonly [string, number, number, boolean])[] = [
  ['qkv', 768, 2304, false],
  ['out', 768, 768, true],
  ['f1', 768, 3072, false],
  ['f2', 3072, 768, true],
];

const triple = (v: number): Triple => [1, v, v];

/** A square window with padding that keeps the size. */
export function squareWindow(kernel: number, stride: number): Window {
  const pad = [0, kernel >> 1, kernel >> 1] as const;
  return { kernel: triple(kernel), stride: triple(stride), dilation: triple(1), pad };
}

/** How the lanes of a line are dealt for maps of this height and width. */
function lanesFor(size: number, batch: number): Lanes {
  if (size >= 28) return { images: 1, y: 4, x: 4 };
  if (size >= 14) return batch >= 4 ? { images: 4, y: 2, x: 2 } : { images: 1, y: 2, x: 7 };
  return batch >= 16 ? { images: 16, y: 1, x: 1 } : { images: 1, y: 7, x: 2 };
}

/** As many images as share lines in a batch of 1 or 16. */
function resnetLayer([name, c, m, [size, kernel, stride]]: (typeof convolutions)[number], batch: number): Layer {
  const window = squareWindow(kernel, stride);
  const lanes = lanesFor(size / stride, batch);
  const [input, output] = windowLayouts({ n: lanes.images, size: triple(size), lanes, ...window }, c, m);
  const bare = output.withChannels(m);
  return { name: `resnet ${name}, batch ${batch}`, c, m, input, output: bare, window, residual: name.endsWith('c') };
}

/** Layers of a batch of 1 or 16. Large maps lie alike in both: they are in batch 1 alone. */
export function layersOf(batch: 1 | 16): Layer[] {
  const small = convolutions.filter(([, , , [size, , stride]]) => batch === 1 || size / stride < 28);
  const rows = linears.map(([name, c, m, residual]): Layer => {
    const [input, output] = [rowsLayout(128, c), rowsLayout(128, m)];
    return { name: `bert ${name}, 128 rows`, c, m, input, output, window: squareWindow(1, 1), residual };
  });
  return [...small.map((each) => resnetLayer(each, batch)), ...(batch === 1 ? rows : [])];
}

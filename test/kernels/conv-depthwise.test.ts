import { describe, expect, it } from 'vitest';
import { checkConv, convOptions } from './conv-check.ts';
import { isas } from './harness.ts';
import { describeCase, type WindowCase, windowCases } from './windows.ts';

const kernel = 'conv.segments.depthwise.f32';

/** Input channels and output channels. */
const channelCases = [
  [1, 1],
  [19, 19],
  [5, 15],
] as const;

const wide = { n: 1, size: [1, 9, 60], lanes: { images: 1, y: 2, x: 4 }, dilation: [1, 1, 1] } as const;
const cases: readonly WindowCase[] = [
  ...windowCases,
  { ...wide, kernel: [1, 3, 3], stride: [1, 1, 2], pad: [0, 1, 1] },
  { ...wide, kernel: [1, 5, 5], stride: [1, 1, 1], pad: [0, 2, 2] },
  { ...wide, kernel: [1, 5, 5], stride: [1, 2, 2], pad: [0, 2, 2] },
  { ...wide, n: 3, kernel: [1, 3, 3], stride: [1, 2, 2], pad: [0, 1, 1] },
  { ...wide, size: [3, 4, 9], kernel: [1, 3, 3], stride: [2, 1, 1], pad: [0, 1, 1] },
  { ...wide, size: [1, 7, 7], lanes: { images: 1, y: 7, x: 2 }, kernel: [1, 5, 5], stride: [1, 1, 1], pad: [0, 2, 2] },
  {
    ...wide,
    size: [1, 1, 90],
    lanes: { images: 1, y: 1, x: 16 },
    kernel: [1, 1, 3],
    stride: [1, 1, 1],
    pad: [0, 0, 1],
  },
  { ...wide, kernel: [1, 7, 7], stride: [1, 1, 1], pad: [0, 3, 3] },
];

describe.each(isas)('depthwise convolution on %s', (isa) => {
  for (const k of cases) {
    it(describeCase(k), () => {
      for (const [c, m] of channelCases) {
        for (const options of convOptions) {
          for (const borders of [0, 1] as const) {
            if (borders === 1 && k.kernel[0] > 1) continue;
            const o = { ...options, borders };
            expect(checkConv(isa, kernel, k, [c, c, m], o), `${c} to ${m}, ${JSON.stringify(o)}`).toBeUndefined();
          }
        }
      }
    });
  }
});

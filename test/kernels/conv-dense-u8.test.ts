import { describe, expect, it } from 'vitest';
import { byteOptions, checkBytes } from './byte-check.ts';
import { isas, pack } from './harness.ts';
import { describeCase, windowCases } from './windows.ts';

const kernel = 'conv.segments.dense.u8';

/** Groups, channels in, channels out. */
const channelCases = [
  [1, 1, 1],
  [1, 7, 29],
  [1, 33, 12],
  [3, 18, 24],
] as const;

describe.each(isas)('dense 8-bit convolution on %s', (isa) => {
  for (const k of windowCases) {
    it(describeCase(k), () => {
      for (const channels of channelCases) {
        for (const o of byteOptions) {
          expect(checkBytes(isa, kernel, k, channels, o), `channels ${channels}, ${JSON.stringify(o)}`).toBeUndefined();
        }
      }
    });
  }

  it('refuses weights that do not fit a signed byte', () => {
    const sizes = { groups: 1, channels_in: 2, channels_out: 1, taps: 1, transposed: 0 };
    const types = { weights_unsigned: 1, input_signed: 0, input_zero_point: 0 };
    const sources = [Uint8Array.of(3, 128), null, null, Float32Array.of(1)];
    expect(() => pack(isa, `pack.${kernel}`, sources, { ...sizes, ...types })).toThrow(/signed byte/);
  });
});

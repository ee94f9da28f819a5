import { describe, expect, it } from 'vitest';
import { byteOptions, checkBytes } from './byte-check.ts';
import { isas } from './harness.ts';
import { describeCase, windowCases } from './windows.ts';

describe.each(isas)('depthwise 8-bit convolution on %s', (isa) => {
  for (const k of windowCases) {
    it(describeCase(k), () => {
      for (const c of [1, 19, 24]) {
        for (const o of byteOptions) {
          const wrong = checkBytes(isa, 'conv.segments.depthwise.u8', k, [c, c, c], o);
          expect(wrong, `channels ${c}, ${JSON.stringify(o)}`).toBeUndefined();
        }
      }
    });
  }
});

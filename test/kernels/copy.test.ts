import { describe, expect, test } from 'vitest';
import { isas, run } from './harness.ts';

const sizes = [0, 1, 15, 63, 64, 65, 65535, 65536, 65537, 200_001];

describe.each(isas)('%s', (isa) => {
  test.each(sizes)('copy.bytes of %i bytes', (bytes) => {
    const x = Uint8Array.from({ length: bytes + 1 }, (_, i) => (i * 7 + 3) & 255);
    for (const parts of [1, 3]) {
      const y = new Uint8Array(bytes + 1).fill(1);
      run(isa, 'copy.bytes', [x, y], { bytes }, parts);
      expect(Buffer.compare(y.subarray(0, bytes), x.subarray(0, bytes))).toBe(0);
      expect(y[bytes]).toBe(1);
    }
  });

  test.each(sizes)('fill.bytes of %i bytes', (bytes) => {
    for (const pattern of [[9], [1, 2], [1, 2, 3, 4, 5, 6, 7, 8]]) {
      const y = new Uint8Array(bytes + 1).fill(255);
      run(isa, 'fill.bytes', [y], { bytes, pattern }, 2);
      const expected = Uint8Array.from({ length: bytes }, (_, i) => pattern[i % pattern.length] as number);
      expect(Buffer.compare(y.subarray(0, bytes), expected)).toBe(0);
      expect(y[bytes]).toBe(255);
    }
  });

  test('sizes are checked', () => {
    expect(() => run(isa, 'copy.bytes', [new Uint8Array(4), new Uint8Array(3)], { bytes: 4 })).toThrow(/y holds fewer/);
    expect(() => run(isa, 'copy.bytes', [new Uint8Array(4), new Uint8Array(3)], { bytes: -1 })).toThrow(/x holds/);
    expect(() => run(isa, 'fill.bytes', [new Uint8Array(4)], { bytes: 4, pattern: [1, 2, 3] })).toThrow(/pattern/);
  });
});

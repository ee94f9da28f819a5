import { describe, expect, it } from 'vitest';
import { roundEven } from './byte-check.ts';
import { isas, random, run } from './harness.ts';
import { difference, sampleMaps } from './segment-maps.ts';
import { fromByteSegments, fromSegments, layoutOf, toByteSegments, toSegments } from './segments.ts';

describe.each(isas)('quantized segments on %s', (isa) => {
  for (const { size, lanes } of sampleMaps) {
    const [n, d, h, w] = size;
    it(`${n} of ${d}x${h}x${w} in ${lanes.images}x${lanes.y}x${lanes.x}`, () => {
      for (const [c, signed, zero_point] of [
        [5, 0, 128],
        [8, 1, -3],
      ] as const) {
        const floats = layoutOf([n, c + 1, d, h, w], lanes, { top: 1 });
        const bytes = layoutOf([n, c + 4, d, h, w], lanes, { left: 1 });
        const scale = Math.fround(0.013);
        const dims = [n, c, d, h, w] as const;
        // Halves, values beyond the range, infinities.
        const data = random(n * c * d * h * w, 3).map((v, i) => (i % 3 === 0 ? Math.round(v * 50) * 0.0065 : v * 3));
        data[1] = Number.POSITIVE_INFINITY;
        data[data.length - 1] = Number.NEGATIVE_INFINITY;
        const [low, high] = signed ? [-128, 127] : [0, 255];
        const quantized = Array.from(data, (v) =>
          Math.min(Math.max(roundEven(Math.fround(v / scale)) + zero_point, low), high),
        );
        const params = { channels: c, signed, zero_point, scale };
        const y = new Uint8Array(bytes.tiles * Math.ceil((c + 4) / 4) * 64).fill(77);
        const lines = toSegments({ dims, data }, floats, 0, 1);
        const there = { ...params, x_channel: 1, y_channel: 4, x_map: floats, y_map: bytes };
        run(isa, 'segments.quantize.u8', [lines, y], there, 3);
        expect(
          difference(
            fromByteSegments(y, bytes, c, 4),
            Uint8Array.from(quantized, (v) => v & 255),
          ),
        ).toBeUndefined();
        expect(fromByteSegments(y, bytes, 4, 0).every((v) => v === 77)).toBe(true);

        const back = new Float32Array(floats.tiles * (c + 1) * 16).fill(777);
        const source = toByteSegments({ dims, data: Int32Array.from(quantized) }, bytes, 0, 4);
        const home = { ...params, x_channel: 4, y_channel: 0, x_map: bytes, y_map: floats };
        run(isa, 'segments.dequantize.u8', [source, back], home, 3);
        const wanted = quantized.map((v) => Math.fround((v - zero_point) * scale));
        expect(difference(fromSegments(back, floats, c, 0), wanted)).toBeUndefined();
        expect(fromSegments(back, floats, 1, c).every((v) => v === 777)).toBe(true);
      }
    });
  }
});

import { describe, expect, it } from 'vitest';
import { isas, random, run } from './harness.ts';
import { difference, sampleMaps } from './segment-maps.ts';
import { fromByteSegments, fromSegments, layoutOf, type Planes, toByteSegments, toSegments } from './segments.ts';
import { describeCase, outputSize, type WindowCase, windowCases, windowLayouts, windowParams } from './windows.ts';

/** What a window sees: the values inside the image, and the taps before `end` along each axis. */
function pooled(x: Planes, k: WindowCase, ends: readonly number[], reduce: (values: number[], taps: number) => number) {
  const [n, c, ...size] = x.dims;
  const [od, oh, ow] = outputSize(k.size, k);
  const out: number[] = [];
  for (let plane = 0; plane < n * c; plane++) {
    for (let at = 0; at < od * oh * ow; at++) {
      const start = [Math.floor(at / (oh * ow)), Math.floor(at / ow) % oh, at % ow].map(
        (v, i) => v * k.stride[i]! - k.pad[i]!,
      );
      const values: number[] = [];
      let taps = 0;
      for (let tap = 0; tap < k.kernel[0] * k.kernel[1] * k.kernel[2]; tap++) {
        const offsets = [
          Math.floor(tap / (k.kernel[1] * k.kernel[2])),
          Math.floor(tap / k.kernel[2]) % k.kernel[1],
          tap % k.kernel[2],
        ];
        const [z, y, w] = start.map((s, i) => s + offsets[i]! * k.dilation[i]!) as [number, number, number];
        if (z < ends[0]! && y < ends[1]! && w < ends[2]!) taps++;
        if (z < 0 || y < 0 || w < 0 || z >= size[0]! || y >= size[1]! || w >= size[2]!) continue;
        values.push(x.data[((plane * size[0]! + z) * size[1]! + y) * size[2]! + w] as number);
      }
      out.push(reduce(values, taps));
    }
  }
  return out;
}

const c = 21;

/** Parameters of a pool of channels 1.. to channels 2.. of wider maps. */
function poolParams(k: WindowCase, split: number, activation: number) {
  const [input, output] = windowLayouts(k, c + 1, c + 2);
  const channels = { groups: c, channels_in: c, channels_out: c, in_channel: 1, out_channel: 2, res_channel: 0 };
  const rest = { activation, alpha: 0.1, beta: 0, split, tile_block: 0 };
  return { ...channels, ...windowParams(k), ...rest, in: input, out: output, res: [] };
}

describe.each(isas)('pools over segments on %s', (isa) => {
  for (const k of windowCases) {
    const dims = [k.n, c, ...k.size] as const;
    const x = {
      dims,
      data: random(
        dims.reduce((a, b) => a * b),
        11,
      ),
    };
    const runPool = (kernel: string, fill: number, extra: Record<string, number>, split: number, activation = 0) => {
      const params = poolParams(k, split, activation);
      const lines = new Float32Array(params.in.tiles * (c + 1) * 16).fill(Number.NaN);
      toSegments(x, params.in, fill, 1, lines);
      const y = new Float32Array(params.out.tiles * (c + 2) * 16).fill(777);
      run(isa, kernel, [lines, y], { ...params, ...extra }, 1 + split * 2);
      expect(fromSegments(y, params.out, 2, 0).every((v) => v === 777)).toBe(true);
      return fromSegments(y, params.out, c, 2);
    };

    it(`maximum, ${describeCase(k)}`, () => {
      const wanted = pooled(x, k, k.size, (values) => Math.max(...values));
      for (const split of [0, 1]) {
        expect(difference(runPool('pool.segments.max.f32', -Infinity, {}, split), wanted)).toBeUndefined();
      }
      const leaky = wanted.map((v) => (v < 0 ? v * Math.fround(0.1) : v));
      expect(difference(runPool('pool.segments.max.f32', -Infinity, {}, 0, 3), leaky, 1e-6)).toBeUndefined();
    });

    it(`maximum of bytes, ${describeCase(k)}`, () => {
      const wanted = pooled(x, k, k.size, (values) => Math.floor(Math.max(...values) * 100));
      const data = Int32Array.from(x.data, (v) => Math.floor(v * 100));
      for (const signed of [0, 1]) {
        const offset = signed ? 0 : 100;
        const params = poolParams(k, signed, 0);
        const channels = {
          in_channel: 4,
          out_channel: 4,
          in: params.in.withChannels(c + 4).withBorders(params.in.borders),
        };
        const out = params.out.withChannels(c + 4);
        const source = { dims, data: data.map((v) => v + offset) };
        const lines = toByteSegments(source, channels.in, signed ? -128 : 0, 4);
        const y = new Uint8Array(out.tiles * Math.ceil((c + 4) / 4) * 64).fill(77);
        run(isa, 'pool.segments.max.u8', [lines, y], { ...params, ...channels, out, signed }, 3);
        const bytes = Uint8Array.from(wanted, (v) => (v + offset) & 255);
        expect(difference(fromByteSegments(y, out, c, 4), bytes)).toBeUndefined();
        expect(fromByteSegments(y, out, 4, 0).every((v) => v === 77)).toBe(true);
      }
    });

    it(`average, ${describeCase(k)}`, () => {
      for (const include of [0, 1]) {
        // Padding that is cut short, as where the output size was rounded up.
        const after = k.pad.map((p) => Math.max(0, p - 1));
        const ends = k.size.map((s, i) => s + include * after[i]!);
        const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
        const wanted = pooled(x, k, ends, (values, taps) => sum(values) / (include ? taps : values.length));
        const extra = { count_include_pad: include, pad_back: after[0]!, pad_bottom: after[1]!, pad_right: after[2]! };
        for (const split of [0, 1]) {
          const got = runPool('pool.segments.average.f32', 0, extra, split);
          expect(difference(got, wanted, 1e-6)).toBeUndefined();
        }
      }
    });
  }

  it('pools whole images', () => {
    for (const { size, lanes } of sampleMaps) {
      const [n, d, h, w] = size;
      const map = layoutOf([n, c + 2, d, h, w], lanes, { top: 1, right: 1 });
      const x = { dims: [n, c + 2, d, h, w], data: random(n * (c + 2) * d * h * w, 5) } as const;
      const lines = toSegments(x, map, Number.NaN);
      const positions = d * h * w;
      const kinds = [
        (values: Float32Array) => values.reduce((a, b) => a + b, 0) / positions,
        (values: Float32Array) => Math.max(...values),
        (values: Float32Array) => values.reduce((a, b) => a + b, 0),
      ];
      kinds.forEach((reduce, kind) => {
        const y = new Float32Array(n * c);
        run(isa, 'pool.segments.global.f32', [lines, y], { channel: 1, channels: c, kind, map }, 3);
        const wanted = y.map((_, i) => {
          const plane = Math.floor(i / c) * (c + 2) + 1 + (i % c);
          return reduce(x.data.subarray(plane * positions, (plane + 1) * positions));
        });
        expect(difference(y, wanted, 1e-5)).toBeUndefined();
      });
    }
  });
});

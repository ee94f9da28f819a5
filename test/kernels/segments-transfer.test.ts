import { describe, expect, it } from 'vitest';
import { SegmentLayout } from '../../lib/ir/segments.ts';
import { isas, random, run } from './harness.ts';
import { difference, floatsOf, layoutOf, sampleMaps, toPlanes, toSegments } from './segment-maps.ts';

const border = { front: 1, back: 1, top: 2, bottom: 1, left: 1, right: 3 };

/** [N, C, P] to [N, P, C]. */
function toRows(planes: Float32Array, n: number, c: number): Float32Array {
  const positions = planes.length / (n * c);
  return planes.map((_, i) => {
    const channel = i % c;
    const position = Math.floor(i / c) % positions;
    return planes[(Math.floor(i / (c * positions)) * c + channel) * positions + position]!;
  });
}

/** Channels [from, from + count) of [N, C, P]. */
function slice(planes: Float32Array, n: number, c: number, from: number, count: number): Float32Array {
  const positions = planes.length / (n * c);
  const out = new Float32Array(n * count * positions);
  for (let i = 0; i < n; i++) {
    const at = (i * c + from) * positions;
    out.set(planes.subarray(at, at + count * positions), i * count * positions);
  }
  return out;
}

/** Bytes of quads as the bits of floats, for comparing. */
const bits = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length);

describe.each(isas)('segments on %s', (isa) => {
  for (const { size, lanes } of sampleMaps) {
    const label = `${size.n} of ${size.d}x${size.h}x${size.w} in ${lanes.images}x${lanes.y}x${lanes.x}`;
    it(`transfers ${label}`, () => {
      for (const [c, channel, channels] of [
        [1, 0, 1],
        [40, 3, 33],
      ] as const) {
        const layout = layoutOf({ ...size, c }, lanes, { top: 1, left: 2 });
        const all = random(size.n * c * size.d * size.h * size.w, c);
        const wanted = toSegments(all, layout, 0, false);
        const planes = slice(all, size.n, c, channel, channels);
        const rows = toRows(planes, size.n, channels);
        // Unaligned views: callers' tensors lie anywhere.
        const odd = (x: Float32Array) => {
          const view = new Float32Array(x.length + 1).subarray(1);
          view.set(x);
          return view;
        };
        for (const parts of [1, 3]) {
          for (const [kernel, source] of [
            ['segments.from_planes', planes],
            ['segments.from_rows', rows],
          ] as const) {
            const lines = new Float32Array(floatsOf(layout)).fill(777);
            run(isa, kernel, [odd(source), lines], { channel, channels, map: layout }, parts);
            const untouched = wanted.map((value, i) => {
              const k = Math.floor(i / 16) % c;
              return k >= channel && k < channel + channels ? value : 777;
            });
            expect(difference(lines, untouched)).toBeUndefined();
          }
          for (const [kernel, expected] of [
            ['segments.to_planes', planes],
            ['segments.to_rows', rows],
          ] as const) {
            const out = odd(new Float32Array(expected.length).fill(777));
            run(isa, kernel, [wanted, out], { channel, channels, map: layout }, parts);
            expect(difference(out, expected)).toBeUndefined();
          }
        }
      }
    });

    it(`fills borders of ${label}`, () => {
      for (const c of [1, 6]) {
        const layout = layoutOf({ ...size, c }, lanes, border);
        const planes = random(size.n * c * size.d * size.h * size.w, 7);
        for (const parts of [1, 3]) {
          const lines = toSegments(planes, layout, Number.NaN, false);
          run(isa, 'segments.border', [lines], { channel: 0, channels: c, fill: -0.5, map: layout }, parts);
          expect(difference(lines, toSegments(planes, layout, -0.5))).toBeUndefined();
        }
        const lines = toSegments(planes, layout, Number.NaN, false);
        const before = lines.slice();
        run(isa, 'segments.border', [lines], { channel: c - 1, channels: 1, fill: 2, map: layout });
        const wanted = toSegments(planes, layout, 2);
        wanted.forEach((_, i) => {
          if (Math.floor(i / 16) % c !== c - 1) wanted[i] = before[i]!;
        });
        expect(difference(lines, wanted)).toBeUndefined();
      }
    });

    it(`converts ${label}`, () => {
      const c = 5;
      const from = layoutOf({ ...size, c }, lanes, { top: 1, right: 1 });
      const planes = random(size.n * c * size.d * size.h * size.w, 9);
      const source = toSegments(planes, from, Number.NaN);
      for (const target of [
        lanes,
        { images: 4, y: 2, x: 2 },
        { images: 1, y: 2, x: 7 },
        { images: 1, y: 16, x: 1 },
        { images: 16, y: 1, x: 1 },
        { images: 1, y: 1, x: 1 },
      ]) {
        const to = layoutOf({ ...size, c: 7 }, target, border, 2);
        for (const borders of [0, 1]) {
          const lines = new Float32Array(floatsOf(to)).fill(777);
          const params = { from_channel: 1, to_channel: 3, channels: 4, borders, fill: 3, from, to };
          run(isa, 'segments.convert', [source, lines], params, 1 + borders);
          const moved = new Float32Array((planes.length / 5) * 7);
          const positions = planes.length / 5 / size.n;
          for (let n = 0; n < size.n; n++) {
            moved.set(
              slice(planes, size.n, c, 1, 4)
                .subarray(n * 4 * positions)
                .subarray(0, 4 * positions),
              (n * 7 + 3) * positions,
            );
          }
          const wanted = toSegments(moved, to, 3, borders === 1);
          wanted.forEach((_, i) => {
            if (Math.floor(i / 16) % 7 < 3) wanted[i] = 777;
          });
          expect(difference(lines, wanted)).toBeUndefined();
        }
      }
    });
  }

  it('moves bytes as quads of channels', () => {
    const size = { n: 2, c: 2, d: 1, h: 5, w: 9 };
    const from = layoutOf(size, { images: 1, y: 4, x: 4 }, { top: 1 });
    const quads = from.withChannels(8).withBorders({ top: 1 });
    const source = toSegments(random(size.n * size.c * 45, 3), from, 5, false);
    const fill = 131;
    const word = new Float32Array(new Uint8Array([fill, fill, fill, fill]).buffer)[0]!;
    const border = source.slice();
    run(isa, 'segments.border', [border], { channel: 0, channels: 2, fill: word, map: from });
    const bytes = source.slice();
    run(isa, 'segments.border.u8', [new Uint8Array(bytes.buffer)], { channel: 0, channels: 8, fill, map: quads });
    expect(bits(bytes)).toEqual(bits(border));

    const to = layoutOf(size, { images: 2, y: 2, x: 4 }, { left: 1 });
    const toQuads = layoutOf({ ...size, c: 7 }, { images: 2, y: 2, x: 4 }, { left: 1 });
    const floats = new Float32Array(floatsOf(to));
    const params = { from_channel: 0, to_channel: 0, borders: 1 };
    run(isa, 'segments.convert', [source, floats], { ...params, channels: 2, fill: word, from, to });
    const converted = new Uint8Array(floats.length * 4);
    const wide = quads.withChannels(7).withBorders({ top: 1 });
    const operands = [new Uint8Array(source.buffer), converted];
    run(isa, 'segments.convert.u8', operands, { ...params, channels: 7, fill, from: wide, to: toQuads });
    expect(converted).toEqual(new Uint8Array(floats.buffer));
  });

  it('refuses maps and buffers that do not fit', () => {
    const map = layoutOf({ n: 1, c: 2, d: 1, h: 4, w: 4 }, { images: 1, y: 4, x: 4 });
    const planes = new Float32Array(32);
    const lines = new Float32Array(floatsOf(map));
    const params = { channel: 0, channels: 2, map };
    expect(() => run(isa, 'segments.from_planes', [planes.subarray(1), lines], params)).toThrow(/row-major/);
    expect(() => run(isa, 'segments.from_planes', [planes, lines.subarray(1)], params)).toThrow(/map's buffer/);
    expect(() => run(isa, 'segments.from_planes', [planes, lines], { ...params, channel: 1 })).toThrow(
      /fewer channels/,
    );
    const short = new SegmentLayout('planes', { n: 1, c: 2, d: 1, h: 9, w: 4 }, { images: 1, y: 4, x: 4 }, 2, 1);
    expect(() => run(isa, 'segments.to_rows', [lines, planes], { ...params, map: short })).toThrow(/legal map/);
    expect(toPlanes(toSegments(planes, map), map)).toEqual(planes);
  });
});

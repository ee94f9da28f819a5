import { describe, expect, it } from 'vitest';
import { SegmentLayout } from '../../lib/ir/segments.ts';
import { isas, random, run } from './harness.ts';
import { difference, sampleMaps } from './segment-maps.ts';
import { eachLane, fromByteSegments, fromSegments, layoutOf, toByteSegments, toSegments } from './segments.ts';

const border = { front: 1, back: 1, top: 2, bottom: 1, left: 1, right: 3 };

const floatsOf = (layout: SegmentLayout): number => layout.tiles * layout.size.c * 16;

/** [N, C, D, H, W] in the layout; border tiles hold 777 unless `borders`. */
function place(planes: Float32Array, layout: SegmentLayout, fill: number, borders: boolean): Float32Array {
  const { n, c, d, h, w } = layout.size;
  const lines = toSegments({ dims: [n, c, d, h, w], data: planes }, layout, fill);
  eachLane(layout, (tile, lane, _, interior) => {
    for (let k = 0; k < c && !interior && !borders; k++) lines[(tile * c + k) * 16 + lane] = 777;
  });
  return lines;
}

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
  for (const {
    size: [n, d, h, w],
    lanes,
  } of sampleMaps) {
    const label = `${n} of ${d}x${h}x${w} in ${lanes.images}x${lanes.y}x${lanes.x}`;
    it(`transfers ${label}`, () => {
      for (const [c, channel, channels] of [
        [1, 0, 1],
        [40, 3, 33],
      ] as const) {
        const layout = layoutOf([n, c, d, h, w], lanes, { top: 1, left: 2 });
        const all = random(n * c * d * h * w, c);
        const wanted = place(all, layout, 0, false);
        const planes = slice(all, n, c, channel, channels);
        const rows = toRows(planes, n, channels);
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

    it(`transfers bytes ${label}`, () => {
      for (const [c, channel, channels] of [
        [3, 0, 3],
        [13, 4, 9],
        [72, 4, 68],
      ] as const) {
        const layout = layoutOf([n, c, d, h, w], lanes, { top: 1, left: 2 });
        const quads = Math.ceil(c / 4);
        const dims = [n, channels, d, h, w] as const;
        const planes = random(n * channels * d * h * w, c);
        const bytes = Uint8Array.from(planes, (v) => (v + 1) * 127.5);
        const rows = Uint8Array.from(toRows(Float32Array.from(bytes), n, channels));
        const wanted = toByteSegments(
          { dims, data: bytes },
          layout,
          0,
          channel,
          new Uint8Array(layout.tiles * quads * 64).fill(77),
        );
        for (const [source, name] of [
          [bytes, 'planes'],
          [rows, 'rows'],
        ] as const) {
          const lines = new Uint8Array(layout.tiles * quads * 64).fill(77);
          run(isa, `segments.from_${name}.u8`, [source, lines], { channel, channels, map: layout }, 3);
          eachLane(layout, (tile, lane, position, interior) => {
            const first = (tile * quads * 16 + lane) * 4;
            for (let q = 0; q < quads && !interior; q++) {
              expect(lines.subarray(first + q * 64, first + q * 64 + 4).every((v) => v === 77)).toBe(true);
            }
            if (interior && !position) expect(lines[first + (channel / 4) * 64]).toBe(0);
          });
          expect(difference(fromByteSegments(lines, layout, channels, channel), bytes)).toBeUndefined();
          const out = new Uint8Array(source.length).fill(77);
          run(isa, `segments.to_${name}.u8`, [wanted, out], { channel, channels, map: layout }, 3);
          expect(difference(out, source)).toBeUndefined();
        }
      }
    });

    it(`fills borders of ${label}`, () => {
      for (const c of [1, 6]) {
        const layout = layoutOf([n, c, d, h, w], lanes, border);
        const planes = random(n * c * d * h * w, 7);
        for (const parts of [1, 3]) {
          const lines = place(planes, layout, Number.NaN, false);
          run(isa, 'segments.border', [lines], { channel: 0, channels: c, fill: -0.5, map: layout }, parts);
          expect(difference(lines, place(planes, layout, -0.5, true))).toBeUndefined();
        }
        const lines = place(planes, layout, Number.NaN, false);
        const before = lines.slice();
        run(isa, 'segments.border', [lines], { channel: c - 1, channels: 1, fill: 2, map: layout });
        const wanted = place(planes, layout, 2, true);
        wanted.forEach((_, i) => {
          if (Math.floor(i / 16) % c !== c - 1) wanted[i] = before[i]!;
        });
        expect(difference(lines, wanted)).toBeUndefined();
      }
    });

    it(`converts ${label}`, () => {
      const c = 5;
      const from = layoutOf([n, c, d, h, w], lanes, { top: 1, right: 1 });
      const planes = random(n * c * d * h * w, 9);
      const source = place(planes, from, Number.NaN, true);
      for (const target of [
        lanes,
        { images: 4, y: 2, x: 2 },
        { images: 1, y: 2, x: 7 },
        { images: 1, y: 16, x: 1 },
        { images: 16, y: 1, x: 1 },
        { images: 1, y: 1, x: 1 },
      ]) {
        const to = layoutOf([n, 7, d, h, w], target, border, 2, 2);
        for (const borders of [0, 1]) {
          const lines = new Float32Array(floatsOf(to)).fill(777);
          const whole = { step_y: 1, step_x: 1, borders, fill: 3 };
          const params = { from_channel: 1, to_channel: 3, channels: 4, ...whole, from, to };
          run(isa, 'segments.convert', [source, lines], params, 1 + borders);
          const moved = new Float32Array((planes.length / 5) * 7);
          const positions = planes.length / 5 / n;
          for (let item = 0; item < n; item++) {
            moved.set(
              slice(planes, n, c, 1, 4)
                .subarray(item * 4 * positions)
                .subarray(0, 4 * positions),
              (item * 7 + 3) * positions,
            );
          }
          const wanted = place(moved, to, 3, borders === 1);
          wanted.forEach((_, i) => {
            if (Math.floor(i / 16) % 7 < 3) wanted[i] = 777;
          });
          expect(difference(lines, wanted)).toBeUndefined();
        }
      }
    });
  }

  it.each(sampleMaps)('takes every few positions of $size', ({ size: [n, d, h, w], lanes }) => {
    const c = 3;
    const from = layoutOf([n, c, d, h, w], lanes, { top: 1 });
    const planes = random(n * c * d * h * w, 4);
    const source = place(planes, from, Number.NaN, false);
    for (const [step_y, step_x] of [
      [2, 2],
      [1, 3],
      [3, 1],
    ]) {
      const [rows, columns] = [Math.ceil(h / step_y), Math.ceil(w / step_x)];
      const taken = Float32Array.from({ length: n * c * d * rows * columns }, (_, i) => {
        const [x, y] = [i % columns, Math.floor(i / columns) % rows];
        return planes[(Math.floor(i / columns / rows) * h + y * step_y) * w + x * step_x]!;
      });
      for (const target of [lanes, { images: 2, y: 2, x: 4 }, { images: 1, y: 2, x: 7 }]) {
        const to = layoutOf([n, c, d, rows, columns], target, {});
        const lines = new Float32Array(floatsOf(to)).fill(777);
        const params = { from_channel: 0, to_channel: 0, channels: c, borders: 0, fill: 5, step_y, step_x, from, to };
        run(isa, 'segments.convert', [source, lines], params, 2);
        expect(difference(lines, place(taken, to, 5, false))).toBeUndefined();
      }
    }
  });

  it('moves bytes as quads of channels', () => {
    const from = layoutOf([2, 2, 1, 5, 9], { images: 1, y: 4, x: 4 }, { top: 1 });
    const quads = from.withChannels(8).withBorders({ top: 1 });
    const source = place(random(180, 3), from, 5, false);
    const fill = 131;
    const word = new Float32Array(new Uint8Array([fill, fill, fill, fill]).buffer)[0]!;
    const border = source.slice();
    run(isa, 'segments.border', [border], { channel: 0, channels: 2, fill: word, map: from });
    const bytes = source.slice();
    run(isa, 'segments.border.u8', [new Uint8Array(bytes.buffer)], { channel: 0, channels: 8, fill, map: quads });
    expect(bits(bytes)).toEqual(bits(border));

    const to = layoutOf([2, 2, 1, 5, 9], { images: 2, y: 2, x: 4 }, { left: 1 });
    const toQuads = layoutOf([2, 7, 1, 5, 9], { images: 2, y: 2, x: 4 }, { left: 1 });
    const floats = new Float32Array(floatsOf(to));
    const params = { from_channel: 0, to_channel: 0, borders: 1, step_y: 1, step_x: 1 };
    run(isa, 'segments.convert', [source, floats], { ...params, channels: 2, fill: word, from, to });
    const converted = new Uint8Array(floats.length * 4);
    const wide = quads.withChannels(7).withBorders({ top: 1 });
    const operands = [new Uint8Array(source.buffer), converted];
    run(isa, 'segments.convert.u8', operands, { ...params, channels: 7, fill, from: wide, to: toQuads });
    expect(converted).toEqual(new Uint8Array(floats.buffer));
  });

  it.each(sampleMaps)('copies channels of $size', ({ size: [n, d, h, w], lanes }) => {
    const c = 5;
    const from = layoutOf([n, c + 3, d, h, w], lanes, { top: 1 });
    const to = layoutOf([n, c + 4, d, h, w], lanes, { left: 2 });
    const planes = random(n * (c + 3) * d * h * w, 4);
    const source = place(planes, from, 5, false);
    for (const parts of [1, 3]) {
      const lines = new Float32Array(floatsOf(to)).fill(777);
      const params = { from_channel: 2, to_channel: 3, channels: c, to_step: 1, from, to };
      run(isa, 'segments.copy', [source, lines], params, parts);
      expect(fromSegments(lines, to, c, 3)).toEqual(fromSegments(source, from, c, 2));
      expect(fromSegments(lines, to, 3, 0).every((v) => v === 777)).toBe(true);
      expect(fromSegments(lines, to, 1, c + 3).every((v) => v === 777)).toBe(true);
      const spread = new Float32Array(floatsOf(to)).fill(777);
      run(isa, 'segments.copy', [source, spread], { ...params, to_channel: 1, channels: 3, to_step: 3 }, parts);
      for (let channel = 0; channel < c + 4; channel++) {
        const got = fromSegments(spread, to, 1, channel);
        if (channel % 3 === 1) expect(got).toEqual(fromSegments(source, from, 1, 2 + (channel - 1) / 3));
        else expect(got.every((v) => v === 777)).toBe(true);
      }
    }
    // Floats are quads of bytes: 4 channels for one.
    const quads = (layout: SegmentLayout): SegmentLayout =>
      layout.withChannels(4 * layout.size.c).withBorders(layout.borders);
    const [floats, bytes] = [to, to].map((layout) => new Float32Array(floatsOf(layout)));
    const [inner, whole] = [
      { from, to },
      { from: quads(from), to: quads(to) },
    ];
    run(isa, 'segments.copy', [source, floats], { from_channel: 1, to_channel: 0, channels: c, to_step: 1, ...inner });
    const operands = [new Uint8Array(source.buffer), new Uint8Array(bytes.buffer)];
    run(isa, 'segments.copy.u8', operands, { from_channel: 4, to_channel: 0, channels: 4 * c, to_step: 1, ...whole });
    expect(bits(bytes)).toEqual(bits(floats));
  });

  it('refuses to copy what does not fit', () => {
    const map = layoutOf([1, 8, 1, 4, 4], { images: 1, y: 4, x: 4 });
    const lines = new Float32Array(floatsOf(map));
    const params = { from_channel: 0, to_channel: 0, channels: 8, to_step: 1, from: map, to: map };
    const copy = (other: object, x = lines) => run(isa, 'segments.copy', [x, lines.slice()], { ...params, ...other });
    expect(() => copy({ from_channel: 1 })).toThrow(/fewer channels/);
    expect(() => copy({ to_channel: 1 })).toThrow(/fewer channels/);
    expect(() => copy({ channels: 4, to_step: 3 })).toThrow(/fewer channels/);
    expect(() => copy({ to_step: 0 })).toThrow(/steps/);
    expect(() => copy({}, lines.subarray(1))).toThrow(/too small/);
    expect(() => copy({ to: layoutOf([1, 8, 1, 4, 4], { images: 1, y: 2, x: 4 }) })).toThrow(/different tiles/);
    const bytes = new Uint8Array(lines.buffer);
    const quads = { ...params, from_channel: 2, channels: 4 };
    expect(() => run(isa, 'segments.copy.u8', [bytes, bytes.slice()], quads)).toThrow(/fours/);
  });

  it('refuses maps and buffers that do not fit', () => {
    const map = layoutOf([1, 2, 1, 4, 4], { images: 1, y: 4, x: 4 });
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
    expect(fromSegments(place(planes, map, 0, true), map)).toEqual(planes);
  });
});

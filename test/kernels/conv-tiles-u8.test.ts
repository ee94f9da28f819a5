import { describe, expect, it } from 'vitest';
import { byteOptions, checkBytes } from './byte-check.ts';
import { isas, pack, run } from './harness.ts';
import { describeCase, type WindowCase, windowCases } from './windows.ts';

const kernel = 'conv.segments.tiles.u8';
const isa = isas.includes('amx') ? 'amx' : '';

/** Groups, channels in, channels out: around a quad, a tile, two tiles. */
const channelCases = [
  [1, 1, 1],
  [1, 4, 15],
  [1, 33, 17],
  [1, 64, 16],
  [1, 65, 33],
  [3, 24, 24],
] as const;

describe.runIf(isa)('8-bit convolution on tile registers', () => {
  for (const k of windowCases) {
    it(describeCase(k), () => {
      for (const channels of channelCases) {
        for (const o of byteOptions) {
          const found = checkBytes(isa, kernel, k, channels, { ...o, taps: 'single' });
          expect(found, `channels ${channels}, ${JSON.stringify(o)}`).toBeUndefined();
        }
      }
    });
  }

  it.each(
    windowCases.filter(({ kernel, dilation }) => kernel[2] > 1 && dilation[2] === 1).map((k) => [describeCase(k), k]),
  )('takes taps along x together: %s', (_, k) => {
    for (const channels of [
      [1, 1, 1],
      [1, 3, 16],
      [1, 5, 33],
      [1, 24, 20],
      [1, 65, 8],
    ] as const) {
      for (const o of byteOptions) {
        const found = checkBytes(isa, kernel, k as WindowCase, channels, { ...o, taps: 'rows' });
        expect(found, `channels ${channels}, ${JSON.stringify(o)}`).toBeUndefined();
      }
    }
  });

  /** As many tiles as there are positions in a lane. */
  const ofTiles = (tiles: number): WindowCase => ({
    ...{ n: 1, size: [1, 1, 16 * tiles - 3], lanes: { images: 1, y: 1, x: 16 }, pad: [0, 0, 0] },
    ...{ kernel: [1, 1, 1], stride: [1, 1, 1], dilation: [1, 1, 1] },
  });

  it.each([1, 2, 3, 4, 5, 9])('%i tiles of positions by every number of channels', (tiles) => {
    for (const c of [1, 3, 4, 63, 64, 65, 130]) {
      for (const m of [1, 15, 16, 17, 33, 48]) {
        for (const o of byteOptions.slice(1, 4)) {
          const found = checkBytes(isa, kernel, ofTiles(tiles), [1, c, m], { ...o, taps: 'single' });
          expect(found, `${c} to ${m} channels, ${JSON.stringify(o)}`).toBeUndefined();
        }
      }
    }
  });

  const sizes = { groups: 1, channels_in: 2, channels_out: 1, taps: 1, run_taps: 1, transposed: 0 };
  const types = { weights_unsigned: 1, input_signed: 0, input_zero_point: 0 };

  it('refuses weights that do not fit a signed byte', () => {
    const sources = [Uint8Array.of(3, 128), null, null, Float32Array.of(1)];
    expect(() => pack(isa, `pack.${kernel}`, sources, { ...sizes, ...types })).toThrow(/signed byte/);
  });

  it('refuses groups that begin within a quad', () => {
    const sources = [new Uint8Array(12), null, null, new Float32Array(4)];
    const changed = { ...sizes, groups: 2, channels_in: 6, channels_out: 4 };
    expect(() => pack(isa, `pack.${kernel}`, sources, { ...changed, ...types })).toThrow(/whole quads/);
  });

  it('refuses taps together that do not lie so', () => {
    const k: WindowCase = { ...ofTiles(2), kernel: [1, 1, 3], pad: [0, 0, 1] };
    const wide = { ...byteOptions[0]!, taps: 'rows' } as const;
    expect(checkBytes(isa, kernel, k, [1, 4, 4], wide)).toBeUndefined();
    expect(() => checkBytes(isa, kernel, { ...k, dilation: [1, 1, 2], pad: [0, 0, 2] }, [1, 4, 4], wide)).toThrow(
      /do not lie together/,
    );
  });

  it('is of no lesser instruction set', () => {
    for (const other of isas.filter((name) => name !== isa)) expect(() => run(other, kernel, [])).toThrow(/no kernel/);
  });
});

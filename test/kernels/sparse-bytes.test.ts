import { describe, expect, it } from 'vitest';
import { native } from '../../lib/runtime/native.ts';
import { isas, pack } from './harness.ts';
import { type ByteCase, bytePacker, checkByteCase } from './sparse-bytes.ts';

const lanes44 = { images: 1, y: 4, x: 4 };
const rows16 = { images: 1, y: 1, x: 16 };
const plain = { c: 64, m: 64, size: [1, 8, 8], lanes: lanes44 } as const;
const window = { kernel: [1, 3, 3], pad: [0, 1, 1] } as const;

const cases: Record<string, ByteCase> = {
  '1x1': plain,
  'blocks of four': { ...plain, blocks: true },
  'signed input': { ...plain, inputSigned: true, inputZero: -3 },
  'signed output': { ...plain, output: 2, outputZero: 5 },
  'float output': { ...plain, output: 0 },
  'zero points': { ...plain, inputZero: 131, outputZero: 117 },
  'all signed': { ...plain, ...window, inputSigned: true, inputZero: 12, output: 2, outputZero: -7 },
  'ragged channels': { c: 13, m: 30, size: [1, 7, 9], lanes: lanes44, ...window, inputZero: 100 },
  'one channel': { c: 1, m: 1, size: [1, 4, 4], lanes: lanes44, density: 1 },
  '28 rows': { ...plain, m: 28 },
  '29 rows': { ...plain, m: 29, output: 0 },
  '57 rows': { ...plain, m: 57, split: 1, parts: 3 },
  '3x3 stride 2': { c: 20, m: 32, size: [1, 16, 15], lanes: lanes44, ...window, stride: [1, 2, 2], inputZero: 9 },
  '3-d': { c: 5, m: 6, size: [3, 6, 5], lanes: { images: 4, y: 2, x: 2 }, n: 3, kernel: [3, 3, 3], pad: [1, 1, 1] },
  dilated: { c: 6, m: 5, size: [1, 12, 12], lanes: lanes44, kernel: [1, 3, 3], dilation: [1, 2, 2], pad: [0, 2, 2] },
  'two groups': { c: 12, m: 20, size: [1, 8, 8], lanes: lanes44, ...window, groups: 2, density: 0.6 },
  'groups within quads': {
    c: 18,
    m: 12,
    size: [1, 8, 8],
    lanes: lanes44,
    ...window,
    groups: 3,
    density: 0.6,
    inputZero: 7,
  },
  depthwise: { c: 37, m: 37, size: [1, 8, 8], lanes: lanes44, ...window, groups: 37, density: 1 },
  linear: { c: 96, m: 70, size: [1, 1, 45], lanes: rows16 },
  'transposed weights': { c: 96, m: 70, size: [1, 1, 45], lanes: rows16, transposed: true, weightZero: 'rows' },
  'long columns': { c: 2500, m: 9, size: [1, 1, 33], lanes: rows16, density: 0.1, inputZero: 3 },
  'unsigned weights': { ...plain, weightsUnsigned: true },
  'one weight zero point': { ...plain, weightsUnsigned: true, weightZero: 'one', inputZero: 5 },
  'weight zero points': { ...plain, weightZero: 'rows', inputZero: 5, ...window },
  'residual apart': { ...plain, residual: 'apart', activation: 1, outputZero: 10, residualZero: 20 },
  'residual in place': { ...plain, m: 62, residual: 'in place', activation: 1 },
  'signed residual': { ...plain, residual: 'in place', residualSigned: true, residualZero: -9, output: 2 },
  middle: { ...plain, m: 30, middle: [1, 0.9], residual: 'apart', activation: 1 },
  'middle, fused sums': { ...plain, m: 30, middle: [2, 0.91], residual: 'apart', residualZero: 0 },
  'middle, fused sums, signed': {
    ...plain,
    m: 30,
    middle: [3, 0.91],
    residual: 'in place',
    residualSigned: true,
    output: 2,
  },
  'middle, no residual': { ...plain, m: 28, middle: [1, 1], outputScale: 0.5 },
  'middle, float output': { ...plain, middle: [1, 1.25], output: 0, residual: 'apart' },
  'float residual': { ...plain, residual: 'in place', output: 0, activation: 1 },
  'float residual, gelu': { ...plain, m: 37, residual: 'apart', output: 0, activation: 7 },
  'output scale': { ...plain, outputScale: 3.7, outputZero: 100 },
  'slices of wider buffers': { ...plain, m: 33, offsets: [8, 12, 4], residual: 'apart', ...window },
  'no bias': { ...plain, bias: false },
  'output prefetch': { ...plain, prefetchOutput: 1, residual: 'in place' },
  'all zero': { ...plain, density: 0 },
  dense: { c: 300, m: 40, size: [1, 5, 5], lanes: lanes44, density: 1 },
  'rows shared by 3 threads': { ...plain, m: 200, split: 1, parts: 3 },
  'tiles shared by 5 threads': { ...plain, size: [1, 12, 12], parts: 5 },
};

for (const kernel of ['conv.segments.sparse.u8', 'conv.segments.packed.u8']) {
  for (const isa of isas) {
    const offered = native()
      .kernels(isa)
      .some((k) => k.name === kernel);
    describe.runIf(offered)(`${kernel} on ${isa}`, () => {
      for (const [name, test] of Object.entries(cases)) it(name, () => checkByteCase(isa, kernel, test));

      it('batches of 1 to 17', () => {
        for (let n = 1; n <= 17; n += 2) {
          for (const lanes of [lanes44, { images: 4, y: 2, x: 2 }, { images: 16, y: 1, x: 1 }]) {
            checkByteCase(isa, kernel, { n, c: 5, m: 6, size: [1, 5, 6], lanes, ...window, inputZero: 50, parts: 2 });
          }
        }
      });

      it('every activation', () => {
        for (let activation = 0; activation <= 10; activation++) {
          for (const output of [0, 1, 2] as const) {
            for (const residual of ['none', 'in place'] as const) {
              const [alpha, beta] = activation === 10 ? [0.2, 0.5] : activation === 6 ? [1.702, 0] : [-0.25, 0.75];
              const more = { activation, alpha, beta, output, residual, outputScale: 20, outputZero: 40 };
              checkByteCase(isa, kernel, { ...plain, m: 31, size: [1, 4, 4], ...more });
            }
          }
        }
      });

      it('keeps the largest sums exact', () => {
        const full = { c: 512, m: 4, size: [1, 4, 4], lanes: lanes44, density: 1, output: 0 } as const;
        checkByteCase(isa, kernel, full);
        checkByteCase(isa, kernel, { ...full, inputSigned: true });
        for (const c of [1, 2, 3, 4, 5, 64]) {
          checkByteCase(isa, kernel, { ...full, c, m: 37, extreme: true });
          checkByteCase(isa, kernel, { ...full, c, m: 37, extreme: true, inputSigned: true, density: 0.5 });
        }
      });

      it('refuses weights that do not fit a signed byte', () => {
        const test: ByteCase = { c: 4, m: 1, size: [1, 4, 4], lanes: lanes44, weightsUnsigned: true };
        const attempt = (zero: number) => () =>
          pack(
            isa,
            `pack.${kernel}`,
            [Uint8Array.of(0, 0, 255, 0), Uint8Array.of(zero), null, Float32Array.of(1)],
            bytePacker(test, 1, 1),
          );
        expect(attempt(0)).toThrow('signed byte');
        expect(attempt(129)).toThrow('signed byte');
        attempt(128)();
      });
    });
  }
}

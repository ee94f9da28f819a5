import { describe, expect, it } from 'vitest';
import { native } from '../../lib/runtime/native.ts';
import { isas, pack, run, sparseWeights } from './harness.ts';
import { type ConvCase, checkCase, geometry, packerParameters, parameters } from './sparse-conv.ts';

const lanes44 = { images: 1, y: 4, x: 4 };
const lanes422 = { images: 4, y: 2, x: 2 };
const lanes16 = { images: 16, y: 1, x: 1 };
const rows16 = { images: 1, y: 1, x: 16 };

const cases: Record<string, ConvCase> = {
  '1x1': { c: 64, m: 64, size: [1, 12, 12], lanes: lanes44 },
  'a ragged map': { c: 33, m: 30, size: [1, 13, 11], lanes: lanes44 },
  'one channel to one': { c: 1, m: 1, size: [1, 4, 4], lanes: lanes44, density: 1 },
  '28 outputs': { c: 9, m: 28, size: [1, 4, 4], lanes: lanes44 },
  '29 outputs': { c: 9, m: 29, size: [1, 4, 4], lanes: lanes44 },
  '59 outputs': { c: 9, m: 59, size: [1, 4, 4], lanes: lanes44, parts: 3, split: 1 },
  '3x3': { c: 20, m: 40, size: [1, 10, 9], lanes: lanes44, kernel: [1, 3, 3], pad: [0, 1, 1] },
  '3x3 stride 2': {
    c: 20,
    m: 32,
    size: [1, 16, 15],
    lanes: lanes44,
    kernel: [1, 3, 3],
    pad: [0, 1, 1],
    stride: [1, 2, 2],
  },
  '1x1 stride 2': { c: 20, m: 32, size: [1, 16, 16], lanes: lanes44, stride: [1, 2, 2] },
  'stride 3 by 2': {
    c: 5,
    m: 7,
    size: [1, 13, 9],
    lanes: lanes44,
    kernel: [1, 3, 2],
    stride: [1, 3, 2],
    pad: [0, 1, 0],
  },
  '5x3 dilated': {
    c: 6,
    m: 5,
    size: [1, 14, 14],
    lanes: { images: 1, y: 2, x: 7 },
    kernel: [1, 5, 3],
    dilation: [1, 2, 3],
    pad: [0, 4, 3],
  },
  '7x7 stride 2': {
    c: 3,
    m: 64,
    size: [1, 20, 20],
    lanes: { images: 1, y: 7, x: 2 },
    kernel: [1, 7, 7],
    pad: [0, 3, 3],
    stride: [1, 2, 2],
    density: 1,
    activation: 1,
  },
  'no padding': { c: 4, m: 4, size: [1, 9, 9], lanes: lanes44, kernel: [1, 2, 2] },
  '1-d': { c: 12, m: 31, size: [1, 1, 37], lanes: rows16, kernel: [1, 1, 5], pad: [0, 0, 2] },
  '3-d': { c: 5, m: 6, size: [4, 6, 5], lanes: lanes422, n: 3, kernel: [3, 3, 3], pad: [1, 1, 1] },
  '3-d stride 2': {
    c: 3,
    m: 4,
    size: [5, 6, 6],
    lanes: lanes44,
    n: 2,
    kernel: [3, 3, 3],
    stride: [2, 2, 2],
    pad: [1, 1, 1],
  },
  'two groups': { c: 24, m: 40, size: [1, 8, 8], lanes: lanes44, kernel: [1, 3, 3], pad: [0, 1, 1], groups: 2 },
  depthwise: {
    c: 37,
    m: 37,
    size: [1, 8, 8],
    lanes: lanes44,
    kernel: [1, 3, 3],
    pad: [0, 1, 1],
    groups: 37,
    density: 1,
  },
  linear: { c: 96, m: 70, size: [1, 1, 45], lanes: rows16 },
  'transposed weights': { c: 96, m: 70, size: [1, 1, 45], lanes: rows16, transposed: true },
  'long columns': {
    c: 1500,
    m: 31,
    size: [1, 1, 33],
    lanes: rows16,
    density: 0.1,
    residual: 'in place',
    activation: 1,
  },
  'four column blocks': { c: 40, m: 31, size: [1, 8, 8], lanes: lanes44, columnBlocks: 4, residual: 'in place' },
  'more blocks than columns': { c: 3, m: 8, size: [1, 4, 4], lanes: lanes44, columnBlocks: 9, residual: 'apart' },
  'residual apart': { c: 16, m: 33, size: [1, 8, 8], lanes: lanes44, residual: 'apart', activation: 1 },
  'residual in place': { c: 16, m: 33, size: [1, 8, 8], lanes: lanes44, residual: 'in place', activation: 1 },
  'slices of wider buffers': {
    c: 16,
    m: 33,
    size: [1, 8, 8],
    lanes: lanes44,
    residual: 'apart',
    offsets: [5, 7, 3],
    kernel: [1, 3, 3],
    pad: [0, 1, 1],
  },
  'no bias': { c: 16, m: 33, size: [1, 8, 8], lanes: lanes44, bias: false },
  'output prefetch': { c: 64, m: 64, size: [1, 12, 12], lanes: lanes44, prefetchOutput: 1, tileBlock: 4 },
  'all zero': { c: 16, m: 33, size: [1, 8, 8], lanes: lanes44, density: 0, activation: 1 },
  'all zero, no bias': { c: 16, m: 33, size: [1, 8, 8], lanes: lanes44, density: 0, bias: false },
  dense: { c: 300, m: 40, size: [1, 5, 5], lanes: lanes44, density: 1 },
  'rows shared by 3 threads': { c: 64, m: 200, size: [1, 8, 8], lanes: lanes44, split: 1, parts: 3 },
  'tiles shared by 5 threads': { c: 64, m: 40, size: [1, 12, 12], lanes: lanes44, parts: 5 },
  'more threads than groups': { c: 8, m: 40, size: [1, 8, 8], lanes: lanes44, split: 1, parts: 7, columnBlocks: 2 },
};

const kernels = ['conv.segments.sparse.f32', 'conv.segments.packed.f32'];

for (const kernel of kernels) {
  for (const isa of isas) {
    const offered = native()
      .kernels(isa)
      .some((k) => k.name === kernel);
    describe.runIf(offered)(`${kernel} on ${isa}`, () => {
      for (const [name, test] of Object.entries(cases)) it(name, () => checkCase(isa, kernel, test));

      it('batches of 1 to 17', () => {
        for (let n = 1; n <= 17; n++) {
          for (const lanes of [lanes44, lanes422, lanes16]) {
            checkCase(isa, kernel, {
              n,
              c: 5,
              m: 6,
              size: [1, 5, 6],
              lanes,
              kernel: [1, 3, 3],
              pad: [0, 1, 1],
              parts: 1 + (n % 3),
            });
          }
        }
      });

      it('divisions of the lanes', () => {
        for (const [images, y, x] of [
          [1, 1, 16],
          [1, 16, 1],
          [1, 2, 7],
          [1, 7, 2],
          [1, 3, 5],
          [2, 2, 4],
          [8, 1, 2],
          [1, 1, 1],
        ] as const) {
          checkCase(isa, kernel, {
            n: 3,
            c: 7,
            m: 9,
            size: [1, 17, 18],
            lanes: { images, y, x },
            kernel: [1, 3, 3],
            pad: [0, 1, 1],
          });
        }
      });

      it('every activation', () => {
        for (let activation = 0; activation <= 10; activation++) {
          for (const residual of ['none', 'in place'] as const) {
            const [alpha, beta] = activation === 10 ? [0.2, 0.5] : activation === 6 ? [1.702, 0] : [-0.25, 0.75];
            const common = {
              c: 32,
              m: 31,
              size: [1, 5, 5],
              lanes: lanes44,
              activation,
              alpha,
              beta,
              residual,
            } as const;
            checkCase(isa, kernel, common);
            checkCase(isa, kernel, { ...common, columnBlocks: 3, split: 1, parts: 2 });
          }
        }
      });

      it('clustered, empty and single nonzeros', () => {
        const [m, c] = [61, 70];
        const empty = new Float32Array(m * c);
        const shapes: Record<string, (row: number, column: number) => boolean> = {
          'one nonzero': (row, column) => row === 40 && column === 69,
          'one full row': (row) => row === 30,
          'one full column': (_, column) => column === 17,
          'every other row': (row) => row % 2 === 1,
          'every seventh column': (_, column) => column % 7 === 3,
          'a dense corner': (row, column) => row < 20 && column > 50,
        };
        for (const keep of Object.values(shapes)) {
          const weights = empty.map((_, i) => (keep(Math.floor(i / c), i % c) ? 1 + (i % 5) : 0));
          checkCase(isa, kernel, { c, m, size: [1, 6, 6], lanes: lanes44, weights, parts: 2, split: 1 });
        }
      });

      it('keeps NaN and infinite weights', () => {
        const weights = sparseWeights(6 * 8, 0.3, 5);
        weights[9] = Number.NaN;
        weights[20] = Number.POSITIVE_INFINITY;
        checkCase(isa, kernel, { c: 8, m: 6, size: [1, 4, 4], lanes: lanes44, weights, activation: 1 });
      });

      it('refuses what does not fit', () => {
        const test: ConvCase = { c: 8, m: 6, size: [1, 8, 8], lanes: lanes44, kernel: [1, 3, 3], pad: [0, 1, 1] };
        const { input, output } = geometry(test);
        const weights = sparseWeights(8 * 6 * 9, 0.3, 5);
        const packing = pack(isa, `pack.${kernel}`, [weights, null], packerParameters(test, 9, 4));
        const x = new Float32Array(input.tiles * 8 * 16);
        const y = new Float32Array(output.tiles * 6 * 16);
        const params = { ...parameters(test, input, output, null), density: 0.3 };
        const attempt =
          (changes: object, operands = [x, packing, null, y]) =>
          () =>
            run(isa, kernel, operands, { ...params, ...changes });
        attempt({})();
        expect(attempt({ pad_top: 2 })).toThrow('borders');
        expect(attempt({ kernel_h: 4 })).toThrow('borders');
        expect(attempt({ stride_w: 2 })).toThrow('stride');
        expect(attempt({ channels_in: 9 })).toThrow('channels');
        expect(attempt({ out_channel: 1 })).toThrow('channels');
        expect(attempt({ groups: 3 })).toThrow('groups');
        expect(attempt({ activation: 99 })).toThrow('activation');
        expect(attempt({ in: [1, 2, 3] })).toThrow('malformed');
        // Only generated code contains the activation.
        if (kernel.includes('sparse')) expect(attempt({ activation: 1 })).toThrow('another convolution');
        expect(attempt({ channels_out: 5 })).toThrow('another convolution');
        expect(attempt({}, [x.subarray(16), packing, null, y])).toThrow('x is smaller');
        expect(attempt({}, [x, packing, null, y.subarray(16)])).toThrow('y is smaller');
        expect(attempt({}, [x, new Uint8Array(64), null, y])).toThrow('packing');
        expect(attempt({}, [x, new Uint8Array(4096), null, y])).toThrow('another convolution');
        const short = () => pack(isa, `pack.${kernel}`, [weights.subarray(1), null], packerParameters(test, 9, 4));
        expect(short).toThrow('weights are smaller');
      });
    });
  }
}

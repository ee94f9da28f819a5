import { describe, expect, it } from 'vitest';
import { isas, random, run } from './harness.ts';
import { difference } from './segment-maps.ts';

type Triple = readonly [number, number, number];

interface Case {
  readonly n: number;
  readonly groups: number;
  readonly c: number;
  readonly m: number;
  readonly input: Triple;
  readonly output: Triple;
  readonly kernel: Triple;
  readonly stride: Triple;
  readonly dilation: Triple;
  readonly pad: Triple;
}

const one: Triple = [1, 1, 1];
const base = { n: 1, groups: 1, dilation: one, pad: [0, 0, 0] } as const;

const cases: readonly Case[] = [
  { ...base, c: 1, m: 1, input: one, output: one, kernel: one, stride: one },
  { ...base, n: 2, c: 5, m: 7, input: [1, 7, 7], output: [1, 14, 14], kernel: [1, 2, 2], stride: [1, 2, 2] },
  { ...base, c: 9, m: 3, input: [1, 5, 9], output: [1, 10, 18], kernel: [1, 3, 3], stride: [1, 2, 2], pad: [0, 1, 1] },
  {
    ...base,
    n: 2,
    groups: 3,
    c: 6,
    m: 9,
    input: [1, 6, 70],
    output: [1, 6, 70],
    kernel: [1, 3, 3],
    stride: one,
    pad: [0, 1, 1],
  },
  {
    ...base,
    c: 4,
    m: 2,
    input: [1, 1, 33],
    output: [1, 1, 100],
    kernel: [1, 1, 4],
    stride: [1, 1, 3],
    dilation: [1, 1, 2],
    pad: [0, 0, 2],
  },
  { ...base, c: 3, m: 4, input: [3, 4, 5], output: [7, 8, 6], kernel: [3, 4, 2], stride: [2, 2, 1], pad: [0, 1, 0] },
  // Outputs beyond every tap, and taps beyond the output.
  { ...base, c: 2, m: 2, input: [1, 3, 3], output: [1, 12, 2], kernel: [1, 2, 5], stride: [1, 3, 2] },
  { ...base, c: 0, m: 2, input: [1, 3, 3], output: [1, 3, 3], kernel: one, stride: one },
  { ...base, c: 2, m: 2, input: [1, 0, 3], output: [1, 2, 3], kernel: one, stride: one },
];

function transposed(k: Case, x: Float32Array, w: Float32Array, bias: Float32Array | null): Float64Array {
  const { c, m, groups, input, output, kernel } = k;
  const sizeOf = (t: Triple) => t[0] * t[1] * t[2];
  const at = (i: number, t: Triple) => [Math.floor(i / (t[1] * t[2])), Math.floor(i / t[2]) % t[1], i % t[2]] as const;
  const y = new Float64Array(k.n * m * sizeOf(output)).map((_, i) => bias?.[Math.floor(i / sizeOf(output)) % m] ?? 0);
  for (let n = 0; n < k.n; n++) {
    for (let ci = 0; ci < c; ci++) {
      for (let i = 0; i < sizeOf(input); i++) {
        for (let mi = 0; mi < m / groups; mi++) {
          for (let tap = 0; tap < sizeOf(kernel); tap++) {
            const [p, q] = [at(i, input), at(tap, kernel)];
            const [z, r, s] = p.map((v, axis) => v * k.stride[axis]! + q[axis]! * k.dilation[axis]! - k.pad[axis]!) as [
              number,
              number,
              number,
            ];
            if (z < 0 || r < 0 || s < 0 || z >= output[0] || r >= output[1] || s >= output[2]) continue;
            const channel = Math.floor(ci / (c / groups)) * (m / groups) + mi;
            const product = x[(n * c + ci) * sizeOf(input) + i]! * w[(ci * (m / groups) + mi) * sizeOf(kernel) + tap]!;
            y[(n * m + channel) * sizeOf(output) + (z * output[1] + r) * output[2] + s]! += product;
          }
        }
      }
    }
  }
  return y;
}

describe.each(isas)('transposed convolution on %s', (isa) => {
  for (const k of cases) {
    it(`${k.n}x${k.c}x${k.input.join('x')} to ${k.m}x${k.output.join('x')}, stride ${k.stride.join('x')}`, () => {
      const count = (t: Triple) => t[0] * t[1] * t[2];
      const x = random(k.n * k.c * count(k.input), 3);
      const w = random((k.c * k.m * count(k.kernel)) / k.groups, 4);
      for (const [bias, activation, parts] of [
        [null, 0, 1],
        [random(k.m, 5), 1, 3],
      ] as const) {
        const y = new Float32Array(k.n * k.m * count(k.output)).fill(777);
        const sizes = { images: k.n, groups: k.groups, channels_in: k.c, channels_out: k.m };
        const { input, output, kernel, stride, dilation, pad } = k;
        const params = { ...sizes, activation, alpha: 0, beta: 0, input, output, kernel, stride, dilation, pad };
        run(isa, 'convtranspose.f32', [x, w, bias, y], params, parts);
        const wanted = transposed(k, x, w, bias).map((v) => (activation ? Math.max(v, 0) : v));
        expect(difference(y, wanted, 1e-5)).toBeUndefined();
      }
    });
  }
});

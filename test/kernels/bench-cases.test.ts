/** The cases of `npm run bench:kernels` are calls that kernels take, and their counts are right. */

import { describe, expect, it } from 'vitest';
import { type KernelCall, lineVectors, sharesOf, vectorLanes } from '../../bench/kernels/case.ts';
import { byteCall, convolutionCases, floatCall, linesOf, noTuning } from '../../bench/kernels/convolution.ts';
import { layersOf } from '../../bench/kernels/layers.ts';
import { movingCases } from '../../bench/kernels/moving.ts';
import { rowCases } from '../../bench/kernels/rows.ts';
import { native } from '../../lib/runtime/native.ts';
import type { Peaks } from '../../lib/runtime/peaks.ts';
import { isas, run } from './harness.ts';

const isa = isas[isas.length - 1]!;
const known = new Set(
  native()
    .kernels(isa)
    .map((kernel) => kernel.name),
);

/** The output of a call, which it runs. */
function outputOf({ kernel, operands, params }: KernelCall): Float32Array {
  run(isa, kernel, operands, params, 1);
  const views = operands.filter((operand) => ArrayBuffer.isView(operand));
  return Float32Array.from(views[views.length - 1] as Float32Array);
}

const small = [...layersOf(1), ...layersOf(16)].filter(({ name }) =>
  /3a, batch 1$|2b entry|4b, batch 1$|out/.test(name),
);

describe('convolutions', () => {
  it('have layers to test', () => {
    expect(small).toHaveLength(4);
    expect(convolutionCases(0.1, noTuning)).toHaveLength(181);
  });

  const forms = (['sparse', 'packed'] as const).filter((form) => known.has(`conv.segments.${form}.f32`));
  it.each(small)('give the same in every form: $name', (layer) => {
    const dense = outputOf(floatCall(isa, 'dense', layer, 0.1));
    expect(dense.some((v) => v > 1)).toBe(true);
    for (const form of forms) {
      const sparse = outputOf(floatCall(isa, form, layer, 0.1));
      expect(sparse).toHaveLength(dense.length);
      const gap = dense.reduce((most, v, i) => Math.max(most, Math.abs(v - sparse[i]!)), 0);
      expect(gap).toBeLessThan(1e-3);
    }
  });

  it('of bytes give the same in every form', () => {
    const layer = small.find(({ residual }) => !residual)!;
    const dense = outputOf(byteCall(isa, 'dense', layer, 0.1));
    for (const form of ['sparse', 'packed', 'tiles'] as const) {
      if (known.has(`conv.segments.${form}.u8`)) expect(outputOf(byteCall(isa, form, layer, 0.1))).toEqual(dense);
    }
  });

  it('count nonzeros, and every weight where it is multiplied', () => {
    const layer = small.find(({ name }) => name.includes('3a'))!;
    const all = layer.m * layer.c * layer.output.tiles * 16;
    expect(floatCall(isa, 'dense', layer, 0.1).macs).toBe(all);
    expect(floatCall(isa, 'packed', layer, 0.1).macs / all).toBeCloseTo(0.1, 1);
    expect(byteCall(isa, 'dense', layer, 1).macs).toBe(all);
  });
});

describe('other kernels', () => {
  const cases = [...movingCases(), ...rowCases()].filter((each) => known.has(each.kernel));
  it.each(cases)('$kernel runs $name', ({ make }) => {
    const call = make(isa);
    const output = outputOf(call);
    expect(output.every(Number.isFinite)).toBe(true);
    expect(output.some((v) => v !== 0)).toBe(true);
    expect(call.macs).toBeGreaterThanOrEqual(0);
  });
});

describe('counts', () => {
  it('of lines take a column once for a group of rows', () => {
    // Rows of four columns: two groups of two rows, and one row alone.
    const keep = [1, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 5, 5, 5, 5];
    expect(linesOf(keep, 4, 2)).toBe(2 + 1 + 4);
    expect(linesOf(keep, 4, 29)).toBe(4);
  });

  it('of vectors follow the instruction set', () => {
    expect(['portable', 'avx2', 'avx512', 'avx512bf16', 'amx'].map(vectorLanes)).toEqual([4, 8, 16, 16, 16]);
    expect(lineVectors('avx2')).toBe(2);
  });

  it('become shares of the bounds', () => {
    const x = new Float32Array(1000);
    const call = { kernel: 'k', operands: [x, null, x], params: {}, macs: 800, bytes8: false, loads: 30 };
    const peaks: Peaks = {
      ...{ threads: 1, fma: 8, byteFactor: 4, bf16Factor: 2 },
      reads: [
        { level: 'L1', bytes: 100, rate: 64 },
        { level: 'memory', bytes: Number.POSITIVE_INFINITY, rate: 80 },
      ],
    };
    // 4000 bytes at 80 a nanosecond take 50 ns, 800 multiply-adds at 16 as much, 30 loads at 2 take 15 ns.
    const { bytes, shares, bound } = sharesOf(call, 100, 16, peaks, 'avx2');
    expect(bytes).toBe(4000);
    expect(shares.FMA).toBeCloseTo(0.5);
    expect(shares.loads).toBeCloseTo(0.15);
    expect(shares.bandwidth).toBeCloseTo(0.5);
    expect(sharesOf({ ...call, bytes8: true }, 100, 16, peaks, 'avx2').shares.FMA).toBeCloseTo(0.125);
    expect(bound).toBe('FMA');
  });
});

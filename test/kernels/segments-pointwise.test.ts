import { describe, expect, it } from 'vitest';
import { isas, random, run } from './harness.ts';
import { difference, sampleMaps } from './segment-maps.ts';
import { fromSegments, layoutOf, toSegments } from './segments.ts';

const c = 5;
const relu = (v: number) => Math.max(v, 0);
const silu = (v: number) => v / (1 + Math.exp(-v));

describe.each(isas)('pointwise on segments on %s', (isa) => {
  it('scales, shifts, adds and activates', () => {
    for (const { size, lanes } of sampleMaps) {
      const [n, d, h, w] = size;
      const positions = d * h * w;
      const xMap = layoutOf([n, c + 2, d, h, w], lanes, { top: 1 });
      const yMap = layoutOf([n, c + 1, d, h, w], lanes, { left: 2 });
      const residualMap = layoutOf([n, c, d, h, w], lanes);
      const dims = [n, c, d, h, w] as const;
      const x = { dims, data: random(n * c * positions, 3) };
      const residual = { dims, data: random(n * c * positions, 4) };
      const lines = toSegments(x, xMap, 0, 1);
      for (const [perImage, withScale, withShift, withResidual, activation] of [
        [1, true, false, false, 0],
        [0, true, true, true, 1],
        [1, false, true, true, 6],
      ] as const) {
        const factors = perImage ? n * c : c;
        const [scale, shift] = [random(factors, 5), random(factors, 6)];
        const wanted = x.data.map((v, i) => {
          const at = Math.floor(i / positions) % factors;
          const sum = v * (withScale ? scale[at]! : 1) + (withShift ? shift[at]! : 0);
          return [(u: number) => u, relu, silu][activation === 6 ? 2 : activation]!(
            sum + (withResidual ? residual.data[i]! : 0),
          );
        });
        for (const parts of [1, 3]) {
          const y = new Float32Array(yMap.tiles * (c + 1) * 16).fill(777);
          const add = withResidual ? toSegments(residual, residualMap) : null;
          const channels = { x_channel: 1, y_channel: 0, residual_channel: 0, channels: c };
          const rest = { per_image: perImage, activation, alpha: 1, beta: 0 };
          const maps = { x_map: xMap, y_map: yMap, residual_map: withResidual ? residualMap : [] };
          const operands = [lines, withScale ? scale : null, withShift ? shift : null, add, y];
          run(isa, 'scale.segments.f32', operands, { ...channels, ...rest, ...maps }, parts);
          expect(difference(fromSegments(y, yMap, c, 0), wanted, 1e-6)).toBeUndefined();
          expect(fromSegments(y, yMap, 1, c).every((v) => v === 777)).toBe(true);
        }
      }
    }
  });

  it('combines two maps', () => {
    const operations = [
      (a: number, b: number) => a + b,
      (a: number, b: number) => a - b,
      (a: number, b: number) => a * b,
      (a: number, b: number) => a / b,
      Math.max,
      Math.min,
    ];
    for (const { size, lanes } of sampleMaps) {
      const [n, d, h, w] = size;
      const dims = [n, c, d, h, w] as const;
      const a = { dims, data: random(n * c * d * h * w, 3) };
      const b = { dims, data: random(n * c * d * h * w, 4) };
      a.data[0] = Number.NaN;
      b.data[b.data.length - 1] = Number.NaN;
      const aMap = layoutOf([n, c + 2, d, h, w], lanes, { top: 1 });
      const bMap = layoutOf([n, c, d, h, w], lanes, { right: 1 });
      const yMap = layoutOf([n, c + 1, d, h, w], lanes, { left: 2 });
      operations.forEach((combine, operation) => {
        for (const [activation, activate] of [
          [0, (v: number) => v],
          [1, (v: number) => (Number.isNaN(v) ? v : relu(v))],
          [6, silu],
        ] as const) {
          const wanted = a.data.map((v, i) => activate(combine(v, b.data[i]!)));
          const y = new Float32Array(yMap.tiles * (c + 1) * 16);
          const channels = { a_channel: 1, b_channel: 0, y_channel: 1, channels: c };
          const params = {
            operation,
            ...channels,
            activation,
            alpha: 1,
            beta: 0,
            a_map: aMap,
            b_map: bMap,
            y_map: yMap,
          };
          const operands = [toSegments(a, aMap, 0, 1), toSegments(b, bMap), y];
          run(isa, 'segments.binary.f32', operands, params, 1 + operation);
          expect(difference(fromSegments(y, yMap, c, 1), wanted, 1e-6)).toBeUndefined();
        }
      });
    }
  });
});

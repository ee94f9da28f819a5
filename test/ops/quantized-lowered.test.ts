import { describe, expect, test } from 'vitest';
import type { Attribute } from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { type HostTensor, tensor } from '../../lib/ir/tensor.ts';
import { float } from '../../lib/passes/match.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';

const integers = (count: number, low: number, high: number, seed: number): number[] =>
  Array.from(random(count, seed), (v) => low + Math.floor(((v + 1) / 2) * (high - low + 1)));

function bytes(signed: boolean, dims: number[], seed: number, keep = 1): HostTensor {
  const live = random(sizeOf(dims), seed + 1);
  const values = integers(sizeOf(dims), signed ? -127 : 0, signed ? 127 : 255, seed);
  const data = values.map((v, i) => ((live[i]! + 1) / 2 < keep ? v : 0));
  return signed ? tensor('int8', dims, Int8Array.from(data)) : tensor('uint8', dims, Uint8Array.from(data));
}

interface Options {
  readonly signed?: boolean;
  readonly density?: number;
  readonly zeros?: 'one' | 'rows';
  readonly residual?: boolean;
  readonly attributes?: Record<string, number | string | number[] | Attribute>;
}

/** A case with weights of those dims whose output channels are axis `axis`. */
function quantized(op: string, x: number[], w: number[], axis: number, y: number[], o: Options = {}): LoweredCase {
  const channels = w[axis]!;
  const depth = sizeOf(w) / channels;
  const scale = tensor(
    'float32',
    [channels],
    random(channels, 5).map((v) => (2 + v) / 40 / Math.sqrt(depth)),
  );
  const count = o.zeros === 'rows' ? channels : 1;
  const zero = o.zeros ? tensor('int8', [count], Int8Array.from(integers(count, 0, 0, 6))) : null;
  const floats = o.attributes?.y_type === 'float32';
  const residual = floats ? tensor('float32', y, random(sizeOf(y), 9)) : bytes(o.attributes?.y_type === 'int8', y, 9);
  return {
    op,
    domain: 'filigree',
    version: 1,
    inputs: [
      bytes(o.signed ?? false, x, 1),
      bytes(true, w, 3, o.density),
      scale,
      zero,
      tensor('int32', [channels], Int32Array.from(integers(channels, -900, 900, 7))),
      ...(o.residual ? [residual] : []),
    ],
    constant: [1, 2, 3, 4],
    attributes: {
      x_zero_point: o.signed ? -5 : 120,
      y_zero_point: o.attributes?.y_type === 'int8' ? 3 : 110,
      ...(o.residual && !floats
        ? { residual_scale: float(0.5), residual_zero_point: o.attributes?.y_type === 'int8' ? 2 : 99 }
        : {}),
      ...o.attributes,
    } as LoweredCase['attributes'],
  };
}

const middle = { middle: 1, middle_scale: float(0.75), middle_low: float(-120), middle_high: float(135) };
const same = { pads: [1, 1, 1, 1] };

const cases: Record<string, LoweredCase> = {
  'convolution 1x1': quantized('QConv', [1, 16, 7, 9], [20, 16, 1, 1], 0, [1, 20, 7, 9]),
  'convolution 3x3, int8': quantized('QConv', [2, 9, 13, 11], [14, 9, 3, 3], 0, [2, 14, 13, 11], {
    signed: true,
    attributes: { ...same, y_type: 'int8', activation: 'Relu' },
  }),
  'residual, rounded before': quantized('QConv', [1, 8, 14, 14], [12, 8, 3, 3], 0, [1, 12, 14, 14], {
    residual: true,
    attributes: { ...same, ...middle, activation: 'Relu' },
  }),
  'residual in fused sums': quantized('QConv', [1, 8, 9, 9], [16, 8, 1, 1], 0, [1, 16, 9, 9], {
    residual: true,
    attributes: { ...middle, middle: 2, middle_offset: float(120), middle_shift: float(-31.7), y_zero_point: 0 },
  }),
  'sparse, residual in fused sums': quantized('QConv', [1, 32, 9, 9], [16, 32, 1, 1], 0, [1, 16, 9, 9], {
    residual: true,
    density: 0.1,
    attributes: { ...middle, middle: 3, middle_offset: float(120), middle_shift: float(-31.7), y_zero_point: 0 },
  }),
  'sparse 3x3, stride 2': quantized('QConv', [1, 32, 15, 15], [24, 32, 3, 3], 0, [1, 24, 8, 8], {
    density: 0.1,
    attributes: { ...same, strides: [2, 2] },
  }),
  'sparse, residual, clip': quantized('QConv', [1, 40, 6, 6], [17, 40, 1, 1], 0, [1, 17, 6, 6], {
    density: 0.1,
    residual: true,
    attributes: {
      ...middle,
      activation: 'Clip',
      activation_alpha: float(-20),
      activation_beta: float(40),
      y_factor: float(0.8),
    },
  }),
  'float output and residual': quantized('QConv', [1, 12, 8, 8], [6, 12, 3, 3], 0, [1, 6, 8, 8], {
    residual: true,
    attributes: { ...same, y_type: 'float32' },
  }),
  depthwise: quantized('QConv', [1, 24, 14, 14], [24, 1, 3, 3], 0, [1, 24, 14, 14], {
    attributes: { ...same, group: 24 },
  }),
  grouped: quantized('QConv', [1, 16, 5, 5], [24, 8, 3, 3], 0, [1, 24, 5, 5], { attributes: { ...same, group: 2 } }),
  '1-D': quantized('QConv', [2, 6, 33], [9, 6, 5], 0, [2, 9, 29]),
  '3-D, dilated': quantized('QConv', [1, 4, 5, 6, 7], [8, 4, 2, 2, 2], 0, [1, 8, 3, 4, 5], {
    attributes: { dilations: [2, 2, 2] },
  }),
  linear: quantized('QLinear', [5, 33], [33, 21], 1, [5, 21]),
  'linear over a sequence, sparse, int8': quantized('QLinear', [2, 19, 64], [64, 48], 1, [2, 19, 48], {
    signed: true,
    density: 0.08,
    attributes: { y_type: 'int8', ...middle },
  }),
  'linear to floats': quantized('QLinear', [17, 32], [32, 40], 1, [17, 40], { attributes: { y_type: 'float32' } }),
  'zero points of rows': quantized('QLinear', [3, 16], [16, 8], 1, [3, 8], { zeros: 'rows' }),
};

describe.each([1, 2])('on %i threads', (threads) => {
  test.each(Object.entries(cases))('%s', (_, c) => {
    checkLowered(c, threads);
  });
});

test('a group that splits a quad of channels runs on its reference', () => {
  const odd = quantized('QConv', [1, 6, 5, 5], [9, 2, 3, 3], 0, [1, 9, 5, 5], { attributes: { ...same, group: 3 } });
  expect(runLowered(odd).reasons).toEqual(['no kernel for groups of 3 channels']);
});

import { test } from 'vitest';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase } from './lowered.ts';

const x = (dims: readonly number[], seed = 1, dtype: HostTensor['dtype'] = 'float32'): HostTensor =>
  fromNumbers(dtype, dims, random(sizeOf(dims), seed));

function group(name: string, cases: readonly LoweredCase[]): void {
  test(name, () => {
    for (const c of cases) checkLowered(c);
  });
}

const fused = (inputs: readonly HostTensor[], attributes: LoweredCase['attributes'] = {}): LoweredCase => ({
  ...{ op: 'Attention', domain: 'filigree', version: 1, inputs, attributes },
});

const layouts = { q_layout: 'bshd', k_layout: 'bhds', v_layout: 'bshd', y_layout: 'bshd' };

group('filigree.Attention', [
  fused([x([2, 3, 5, 4]), x([2, 3, 7, 4], 2), x([2, 3, 7, 6], 3)], { scale: { type: 'float', value: 0.5 } }),
  fused([x([2, 5, 4, 8]), x([2, 2, 8, 9], 2), x([2, 9, 2, 6], 3), x([2, 1, 1, 9], 4)], layouts),
  fused([x([3, 5, 4]), x([3, 7, 4], 2), x([1, 7, 6], 3), x([5, 7], 4)], {
    ...{ q_layout: 'hsd', k_layout: 'hsd', v_layout: 'hsd', y_layout: 'shd' },
  }),
  fused([x([2, 3, 5, 4], 1, 'float16'), x([1, 3, 7, 4], 2, 'float16'), x([2, 3, 7, 6], 3, 'float16')]),
  fused([x([1, 1, 3, 4]), x([1, 1, 2, 4], 2), x([1, 1, 2, 4], 3), fromNumbers('float32', [1, 2], [-1 / 0, -1 / 0])], {
    nan_to_zero: 1,
  }),
]);

const bytes = (dims: readonly number[], seed: number, dtype: 'uint8' | 'int8' = 'uint8'): HostTensor =>
  fromNumbers(
    dtype,
    dims,
    random(sizeOf(dims), seed).map((v) => Math.floor((v + 1) * 128) - (dtype === 'int8' ? 128 : 0)),
  );

const quantized = (inputs: readonly HostTensor[], attributes: LoweredCase['attributes'] = {}): LoweredCase => ({
  ...{ op: 'QAttention', domain: 'filigree', version: 1, inputs },
  // A weight between two bytes may go either way.
  bound: 1,
  attributes: {
    ...{ q_zero_point: 120, k_zero_point: 131, v_zero_point: 99, scores_zero_point: 128, y_zero_point: 140 },
    score_factor: { type: 'float', value: Math.fround(0.004) },
    score_scale: { type: 'float', value: Math.fround(0.02) },
    weight_scale: { type: 'float', value: Math.fround(1 / 255) },
    value_factor: { type: 'float', value: Math.fround(0.003) },
    ...attributes,
  },
});

group('filigree.QAttention', [
  quantized([bytes([2, 3, 5, 8], 1), bytes([2, 3, 7, 8], 2), bytes([2, 3, 7, 6], 3)]),
  quantized([bytes([2, 20, 4, 8], 1), bytes([2, 9, 2, 8], 2), bytes([2, 9, 2, 6], 3), x([2, 1, 1, 9], 4)], {
    ...{ ...layouts, k_layout: 'bshd' },
  }),
  quantized([bytes([3, 5, 4], 1, 'int8'), bytes([3, 7, 4], 2, 'int8'), bytes([1, 7, 6], 3, 'int8'), x([5, 7], 4)], {
    ...{ q_layout: 'hsd', k_layout: 'hsd', v_layout: 'hsd', y_layout: 'shd' },
    ...{ q_zero_point: -3, k_zero_point: 4, v_zero_point: -90, scores_zero_point: 0, y_zero_point: 0 },
    ...{ scores_type: 'int8', weights_type: 'int8', weights_zero_point: -128, y_type: 'int8' },
  }),
]);

const ints = (values: readonly number[], dims: readonly number[]) => fromNumbers('int32', dims, [...values]);
const bools = (dims: readonly number[]) =>
  fromNumbers(
    'bool',
    dims,
    random(sizeOf(dims), 8).map((v) => (v > -0.5 ? 1 : 0)),
  );
const standard = (rest: Partial<LoweredCase> & { inputs: LoweredCase['inputs'] }): LoweredCase => ({
  ...{ op: 'Attention', version: 23, ...rest },
});
const flat = { q_num_heads: 4, kv_num_heads: 2 };

group('Attention', [
  standard({ inputs: [x([2, 4, 5, 8]), x([2, 2, 7, 8], 2), x([2, 2, 7, 6], 3)] }),
  standard({ inputs: [x([2, 5, 32]), x([2, 7, 16], 2), x([2, 7, 12], 3), x([5, 7], 4)], attributes: flat }),
  standard({
    inputs: [x([2, 5, 32]), x([2, 5, 16], 2), x([2, 5, 12], 3), bools([5, 8]), x([2, 2, 3, 8], 5), x([2, 2, 3, 6], 6)],
    attributes: { ...flat, is_causal: 1, softcap: { type: 'float', value: 2 } },
    outputs: 3,
  }),
  standard({ inputs: [x([1, 2, 1, 8]), x([1, 2, 6, 8], 2), x([1, 2, 6, 8], 3)], outputs: 3 }),
]);

const multi = (rest: Partial<LoweredCase> & { inputs: LoweredCase['inputs'] }): LoweredCase => ({
  ...{ op: 'MultiHeadAttention', domain: 'com.microsoft', version: 1, ...rest },
  attributes: { num_heads: 2, ...rest.attributes },
});

group('MultiHeadAttention', [
  multi({ inputs: [x([2, 5, 8]), x([2, 7, 8], 2), x([2, 7, 6], 3)] }),
  multi({
    inputs: [
      x([2, 5, 8]),
      x([2, 7, 8], 2),
      x([2, 7, 6], 3),
      x([22], 4),
      ints([1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0], [2, 7]),
    ],
  }),
  ...[ints([3, 7], [2]), ints([3, 7, 1, 5], [4]), ints([6, 4, 0, 4, 9, 0, 0, 0], [8])].map((mask) =>
    multi({ inputs: [x([2, 5, 8]), x([2, 7, 8], 2), x([2, 7, 6], 3), null, mask] }),
  ),
  multi({ inputs: [x([2, 5, 2, 3, 4]), null, null, x([24], 4)], attributes: { unidirectional: 1 } }),
  multi({ inputs: [x([2, 5, 24])] }),
  multi({ inputs: [x([2, 5, 8]), x([2, 3, 2, 2, 4], 2), null, x([24], 4)] }),
  multi({ inputs: [x([2, 5, 8]), x([2, 2, 7, 4], 2), x([2, 2, 7, 3], 3), x([22], 4)] }),
  multi({
    inputs: [
      x([2, 3, 8]),
      x([2, 3, 8], 2),
      x([2, 3, 8], 3),
      null,
      null,
      x([1, 2, 3, 7], 4),
      x([2, 2, 4, 4], 5),
      x([2, 2, 4, 4], 6),
    ],
    attributes: { unidirectional: 1 },
    outputs: 3,
  }),
]);

const projected = (rest: Partial<LoweredCase> & { inputs: LoweredCase['inputs'] }): LoweredCase => ({
  ...{ op: 'Attention', domain: 'com.microsoft', version: 1, constant: [1, 2], ...rest },
  attributes: { num_heads: 2, ...rest.attributes },
});
const weights = [x([6, 24], 2), x([24], 3)];

group('com.microsoft Attention', [
  projected({ inputs: [x([2, 5, 6]), ...weights] }),
  projected({ inputs: [x([2, 5, 6]), weights[0], null, ints([2, 5], [2])], attributes: { unidirectional: 1 } }),
  projected({ inputs: [x([2, 5, 6]), ...weights, ints([4, 5, 1, 0], [4])], outputs: 2 }),
  projected({
    inputs: [x([2, 3, 6]), ...weights, ints([1, 1, 0, 0, 1, 1, 1, 1], [2, 4]), x([2, 2, 2, 1, 4], 5)],
    outputs: 2,
  }),
  projected({
    inputs: [x([1, 5, 6]), x([6, 20], 2), x([20], 3), null, null, x([1, 2, 5, 5], 4)],
    attributes: { qkv_hidden_sizes: { type: 'ints', value: [8, 8, 4] }, unidirectional: 1 },
  }),
  projected({ inputs: [x([2, 5, 6], 1, 'float16'), x([6, 24], 2, 'float16'), x([24], 3, 'float16')] }),
]);

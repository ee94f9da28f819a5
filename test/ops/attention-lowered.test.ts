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

import { test } from 'vitest';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random, sparseWeights } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase } from './lowered.ts';

const x = (dims: readonly number[], seed: number): HostTensor =>
  fromNumbers('float32', dims, random(sizeOf(dims), seed));

/** A linear layer of `rows` rows, with all that may follow it. */
function linear(rows: number, density: number, transB: number, activation: string): LoweredCase {
  const [depth, columns] = [37, 21];
  const dims = transB ? [columns, depth] : [depth, columns];
  const weights = fromNumbers('float32', dims, sparseWeights(depth * columns, density, 3));
  return {
    ...{ op: 'Linear', domain: 'filigree', version: 1, constant: [1, 2] },
    inputs: [x([rows, depth], 1), weights, x([columns], 4), x([rows, columns], 5)],
    attributes: { transB: { type: 'int', value: transB }, activation: { type: 'string', value: activation } },
  };
}

test.each([1, 2, 7, 8, 9, 17])('%i rows', (rows) => {
  for (const density of [0, 0.1, 0.3, 1]) {
    for (const transB of [0, 1]) {
      for (const activation of ['', 'Relu', 'Gelu']) checkLowered(linear(rows, density, transB, activation));
    }
  }
});

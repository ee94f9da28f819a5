import { test } from 'vitest';
import type { DType } from '../../lib/ir/dtype.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase } from './lowered.ts';

test.each(['float16', 'bfloat16'] as const)('products of %s', (dtype: DType) => {
  const x = (dims: readonly number[], seed = 1): HostTensor => fromNumbers(dtype, dims, random(sizeOf(dims), seed));
  const matmul = (a: readonly number[], b: readonly number[], constant: readonly number[] = []): LoweredCase => ({
    ...{ op: 'MatMul', inputs: [x(a), x(b, 2)], constant },
  });
  checkLowered(matmul([2, 5, 7], [7, 20], [1]));
  checkLowered(matmul([1, 7], [7, 33], [1]));
  checkLowered(matmul([2, 5, 7], [7, 20]));
  checkLowered(matmul([2, 3, 5, 7], [3, 7, 4]));
  checkLowered({
    op: 'Gemm',
    inputs: [x([5, 7]), x([20, 7], 2), x([20], 3)],
    attributes: { transB: 1 },
    constant: [1, 2],
  });
  checkLowered({ op: 'Gemm', inputs: [x([5, 7]), x([7, 20], 2)], constant: [1] });
});

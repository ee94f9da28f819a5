/** Quantised operators of com.microsoft: the table of their families. */

import { msBlockQuantizedOps } from './ms-block-quantized.ts';
import { dynamicQuantizeLstm } from './ms-dynamic-lstm.ts';
import { msIntegerMatMulOps } from './ms-integer-matmul.ts';
import { msMoeOps } from './ms-moe.ts';
import { msQAttentionOps } from './ms-qattention.ts';
import { msQConvOps } from './ms-qconv.ts';
import { msQLinearOps } from './ms-qlinear.ts';
import type { OpDefinition } from './op.ts';

export const msQuantizedOps: readonly OpDefinition[] = [
  ...msBlockQuantizedOps,
  ...msIntegerMatMulOps,
  ...msMoeOps,
  ...msQAttentionOps,
  ...msQConvOps,
  ...msQLinearOps,
  dynamicQuantizeLstm,
];

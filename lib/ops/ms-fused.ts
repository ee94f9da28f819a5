/** Fused operators of com.microsoft: the table of their families. */

import { msActivationOps } from './ms-activation.ts';
import { msConvOps } from './ms-conv.ts';
import { embedLayerNormalization } from './ms-embedding.ts';
import { msMatMulOps } from './ms-matmul.ts';
import { msNormalizationOps } from './ms-normalization.ts';
import type { OpDefinition } from './op.ts';

export const msFusedOps: readonly OpDefinition[] = [
  ...msActivationOps,
  ...msConvOps,
  ...msMatMulOps,
  ...msNormalizationOps,
  embedLayerNormalization,
];

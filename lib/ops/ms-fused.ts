/** Operators of com.microsoft but attention and quantised ones: the table of their families. */

import { msActivationOps } from './ms-activation.ts';
import { msConvOps } from './ms-conv.ts';
import { cropAndResize } from './ms-crop.ts';
import { embedLayerNormalization } from './ms-embedding.ts';
import { msMatMulOps } from './ms-matmul.ts';
import { msNormalizationOps } from './ms-normalization.ts';
import { msNumericOps } from './ms-numeric.ts';
import { msStandardOps } from './ms-standard.ts';
import type { OpDefinition } from './op.ts';

export const msFusedOps: readonly OpDefinition[] = [
  ...msActivationOps,
  ...msConvOps,
  ...msMatMulOps,
  ...msNormalizationOps,
  ...msNumericOps,
  ...msStandardOps,
  cropAndResize,
  embedLayerNormalization,
];

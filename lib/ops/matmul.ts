/** MatMul, Gemm. */

import type { OpDefinition } from './op.ts';

export const matmulOps: readonly OpDefinition[] = [];

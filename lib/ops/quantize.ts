/** Quantisation of tensors. */

import type { OpDefinition } from './op.ts';

export const quantizeOps: readonly OpDefinition[] = [];

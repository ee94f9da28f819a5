/** Attention and its kin. */

import type { OpDefinition } from './op.ts';

export const attentionOps: readonly OpDefinition[] = [];

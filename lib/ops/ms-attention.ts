/** Attention operators of com.microsoft. */

import type { OpDefinition } from './op.ts';

export const msAttentionOps: readonly OpDefinition[] = [];

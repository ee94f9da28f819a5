/** Quantised operators of com.microsoft. */

import type { OpDefinition } from './op.ts';

export const msQuantizedOps: readonly OpDefinition[] = [];

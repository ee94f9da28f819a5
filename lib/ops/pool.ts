/** Pooling. */

import type { OpDefinition } from './op.ts';

export const poolOps: readonly OpDefinition[] = [];

/** Scatter and its kin. */

import type { OpDefinition } from './op.ts';

export const scatterOps: readonly OpDefinition[] = [];

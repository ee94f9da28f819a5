/** Cumulative sums and products. */

import type { OpDefinition } from './op.ts';

export const cumulativeOps: readonly OpDefinition[] = [];

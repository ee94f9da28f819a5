/** Gather and its kin. */

import type { OpDefinition } from './op.ts';

export const gatherOps: readonly OpDefinition[] = [];

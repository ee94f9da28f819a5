/** Operators of the domain "filigree" that the passes make. */

import type { OpDefinition } from './op.ts';

export const fusedOps: readonly OpDefinition[] = [];

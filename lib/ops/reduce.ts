/** Reductions over axes. */

import type { OpDefinition } from './op.ts';

export const reduceOps: readonly OpDefinition[] = [];

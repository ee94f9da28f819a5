/** Operators that draw random numbers. */

import type { OpDefinition } from './op.ts';

export const randomOps: readonly OpDefinition[] = [];

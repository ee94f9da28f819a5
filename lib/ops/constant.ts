/** Operators that make constants. */

import type { OpDefinition } from './op.ts';

export const constantOps: readonly OpDefinition[] = [];

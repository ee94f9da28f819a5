/** Operators on strings. */

import type { OpDefinition } from './op.ts';

export const textOps: readonly OpDefinition[] = [];

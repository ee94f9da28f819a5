/** Einsum. */

import type { OpDefinition } from './op.ts';

export const einsumOps: readonly OpDefinition[] = [];

/** Where. */

import type { OpDefinition } from './op.ts';

export const selectOps: readonly OpDefinition[] = [];

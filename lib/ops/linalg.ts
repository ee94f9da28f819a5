/** Det and triangular parts. */

import type { OpDefinition } from './op.ts';

export const linalgOps: readonly OpDefinition[] = [];

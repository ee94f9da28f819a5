/** Optionals. */

import type { OpDefinition } from './op.ts';

export const optionalOps: readonly OpDefinition[] = [];

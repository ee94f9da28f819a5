/** TopK, NonZero, Unique, Compress, OneHot and their kin. */

import type { OpDefinition } from './op.ts';

export const selectionOps: readonly OpDefinition[] = [];

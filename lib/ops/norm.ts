/** Normalisations. */

import type { OpDefinition } from './op.ts';

export const normOps: readonly OpDefinition[] = [];

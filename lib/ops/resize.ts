/** Resize, Upsample. */

import type { OpDefinition } from './op.ts';

export const resizeOps: readonly OpDefinition[] = [];

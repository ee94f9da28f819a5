/** Fused operators of com.microsoft. */

import type { OpDefinition } from './op.ts';

export const msFusedOps: readonly OpDefinition[] = [];

/** Convolutions. */

import type { OpDefinition } from './op.ts';

export const convOps: readonly OpDefinition[] = [];

/** Loss functions. */

import type { OpDefinition } from './op.ts';

export const lossOps: readonly OpDefinition[] = [];

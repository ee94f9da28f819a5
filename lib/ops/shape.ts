/** Shape, Reshape and their kin. */

import type { OpDefinition } from './op.ts';

export const shapeOps: readonly OpDefinition[] = [];

/** NonMaxSuppression, RoiAlign, MaxRoiPool. */

import type { OpDefinition } from './op.ts';

export const detectionOps: readonly OpDefinition[] = [];

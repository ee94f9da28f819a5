/** Cast, CastLike, BitCast. */

import type { OpDefinition } from './op.ts';

export const castOps: readonly OpDefinition[] = [];

/** Slice, Split, Concat, Pad, Tile, Expand. */

import type { OpDefinition } from './op.ts';

export const sliceOps: readonly OpDefinition[] = [];

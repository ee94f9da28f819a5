/** Transpose, DepthToSpace, SpaceToDepth. */

import type { OpDefinition } from './op.ts';

export const transposeOps: readonly OpDefinition[] = [];

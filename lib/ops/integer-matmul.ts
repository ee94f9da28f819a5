/** Integer and quantised products. */

import type { OpDefinition } from './op.ts';

export const integerMatmulOps: readonly OpDefinition[] = [];

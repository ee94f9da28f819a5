/** Integer and quantised convolutions. */

import type { OpDefinition } from './op.ts';

export const integerConvOps: readonly OpDefinition[] = [];

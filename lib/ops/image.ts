/** ImageDecoder. */

import type { OpDefinition } from './op.ts';

export const imageOps: readonly OpDefinition[] = [];

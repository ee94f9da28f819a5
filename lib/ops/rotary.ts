/** RotaryEmbedding. */

import type { OpDefinition } from './op.ts';

export const rotaryOps: readonly OpDefinition[] = [];

/** Elementwise operators of two inputs with broadcasting. */

import type { OpDefinition } from './op.ts';

export const binaryOps: readonly OpDefinition[] = [];

/** Softmax, LogSoftmax, Hardmax. */

import type { OpDefinition } from './op.ts';

export const softmaxOps: readonly OpDefinition[] = [];

/** RNN, GRU, LSTM. */

import type { OpDefinition } from './op.ts';

export const recurrentOps: readonly OpDefinition[] = [];

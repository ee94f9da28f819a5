/** DFT, STFT, windows. */

import type { OpDefinition } from './op.ts';

export const signalOps: readonly OpDefinition[] = [];

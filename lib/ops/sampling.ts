/** GridSample, AffineGrid, Col2Im, DeformConv. */

import type { OpDefinition } from './op.ts';

export const samplingOps: readonly OpDefinition[] = [];

/** Tree ensembles of ai.onnx.ml. */

import type { OpDefinition } from './op.ts';

export const mlTreesOps: readonly OpDefinition[] = [];

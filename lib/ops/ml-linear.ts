/** Linear, SVM and scaling models of ai.onnx.ml. */

import type { OpDefinition } from './op.ts';

export const mlLinearOps: readonly OpDefinition[] = [];

/** Encoders and maps of ai.onnx.ml. */

import type { OpDefinition } from './op.ts';

export const mlEncodersOps: readonly OpDefinition[] = [];

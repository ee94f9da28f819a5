/** Optimiser steps of ai.onnx.preview.training. */

import type { OpDefinition } from './op.ts';

export const trainingOps: readonly OpDefinition[] = [];

/** Operators of the domain "filigree" that the passes make. */

import { attentionFusedOps } from './attention-fused.ts';
import type { OpDefinition } from './op.ts';
import { quantizedAttentionOps } from './quantized-attention.ts';
import { quantizedFusedOps } from './quantized-fused.ts';

export const fusedOps: readonly OpDefinition[] = [...attentionFusedOps, ...quantizedAttentionOps, ...quantizedFusedOps];

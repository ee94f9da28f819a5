/** The ordered pipeline of rewrites. */

import type { Graph } from '../ir/graph.ts';
import { findOp } from '../ops/index.ts';
import { cleanup } from './cleanup.ts';
import { collapseConv } from './collapse-conv.ts';
import { deadCode } from './dead-code.ts';
import { foldConstants, foldUnquantized } from './fold-constants.ts';
import { foldPad } from './fold-pad.ts';
import { fuseActivations } from './fuse-activations.ts';
import { fuseAttention } from './fuse-attention.ts';
import { convEpilogue, foldIntoConv } from './fuse-conv.ts';
import { fuseDynamic } from './fuse-dynamic.ts';
import { fuseLayerNorm } from './fuse-layer-norm.ts';
import { fuseLinear } from './fuse-linear.ts';
import { fuseQuantized } from './fuse-quantized.ts';
import { fuseQuantizedAttention } from './fuse-quantized-attention.ts';
import { fuseScale } from './fuse-scale.ts';
import { fuseShuffle } from './fuse-shuffle.ts';
import { liftGather } from './lift-gather.ts';
import { moveQuantize } from './move-quantize.ts';
import { numberStringLabels } from './number-labels.ts';
import type { Pass } from './pass.ts';
import { sinkTranspose } from './sink-transpose.ts';
import { trimConv } from './trim-conv.ts';
import { unpackEinsum } from './unpack-einsum.ts';
import { unpackMicrosoft } from './unpack-microsoft.ts';
import { unpackProduct } from './unpack-product.ts';
import { unpackQLinear } from './unpack-qlinear.ts';
import { unpackQuantized } from './unpack-quantized.ts';
import { unpackResponse } from './unpack-response.ts';
import { widenHalf } from './widen-half.ts';

/** A pass that pays only where the operator it makes has a kernel. */
function ifLowered(pass: Pass, domain: string, op: string): Pass {
  return findOp(domain, op)?.lower ? pass : { name: pass.name, run: () => false };
}

const pipeline: readonly Pass[] = [
  unpackMicrosoft,
  foldUnquantized,
  numberStringLabels,
  cleanup,
  deadCode,
  widenHalf,
  cleanup,
  unpackProduct,
  unpackQuantized,
  unpackQLinear,
  fuseDynamic,
  unpackEinsum,
  unpackResponse,
  fuseShuffle,
  moveQuantize,
  fuseQuantized,
  deadCode,
  foldConstants,
  fuseLayerNorm,
  fuseActivations,
  deadCode,
  liftGather,
  fuseQuantizedAttention,
  ifLowered(fuseAttention, 'filigree', 'Attention'),
  deadCode,
  sinkTranspose,
  cleanup,
  deadCode,
  foldPad,
  trimConv,
  collapseConv,
  foldIntoConv,
  convEpilogue,
  fuseScale,
  fuseLinear,
  deadCode,
];

/** Applies the rewrites one by one; the name of each comes after it has run, nothing within it. */
export function* optimizing(graph: Graph): Generator<string | undefined> {
  for (const pass of pipeline) {
    if (pass.turns) for (const _ of pass.turns(graph)) yield undefined;
    else pass.run(graph);
    yield pass.name;
  }
}

/** Applies every rewrite; outputs stay the same up to rounding. `after` sees the graph after each. */
export function optimize(graph: Graph, after?: (pass: string, graph: Graph) => void): void {
  for (const name of optimizing(graph)) if (name) after?.(name, graph);
}

/** Prunes the weights of a graph to see how fast it would be. Its outputs are then no longer the model's. */

import type { Graph } from '../ir/graph.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { weightsOf } from '../ops/arithmetic.ts';
import { pruned } from '../sparse/prune.ts';

const prunable = new Set(['float32', 'float64', 'float16', 'bfloat16', 'int8']);

/**
 * Makes `share` (0 to 1) of the weights of each convolution, matrix product and recurrent layer zero, by magnitude;
 * depthwise convolutions and unsigned bytes stay. Returns the number of weights pruned.
 */
export function imposeSparsity(graph: Graph, share: number): number {
  const made = new Map<HostTensor, HostTensor>();
  for (const node of graph.nodes) {
    for (const { tensor, axis } of weightsOf(node)) {
      if (!prunable.has(tensor.dtype) || tensor.dims[axis] === 1) continue;
      for (const input of node.inputs) {
        if (input?.constant !== tensor) continue;
        const known = made.get(tensor) ?? pruned(tensor, share);
        made.set(tensor, known);
        input.constant = known;
      }
    }
  }
  return made.size;
}

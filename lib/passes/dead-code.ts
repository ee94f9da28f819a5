/** Removes nodes that nobody reads. */

import { bodiesOf, type Graph, readsOf, type Value } from '../ir/graph.ts';
import type { Pass } from './pass.ts';

function removeDead(graph: Graph): boolean {
  const live = new Set<Value>(graph.outputs);
  const kept = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((output) => output && live.has(output))) continue;
    node.outputs = node.outputs.map((output) => (output && live.has(output) ? output : null));
    for (const body of bodiesOf(node)) removeDead(body);
    for (const read of readsOf(node)) live.add(read);
    kept.push(node);
  }
  const changed = kept.length !== graph.nodes.length;
  graph.nodes = kept.reverse();
  return changed;
}

export const deadCode: Pass = { name: 'dead-code', run: removeDead };

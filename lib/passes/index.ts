/** The ordered pipeline of rewrites. */

import type { Graph } from '../ir/graph.ts';

/** A rewrite: changes the graph in place and tells whether it did. */
export interface Pass {
  readonly name: string;
  run(graph: Graph): boolean;
}

const pipeline: readonly Pass[] = [];

/** Applies every rewrite; outputs stay the same up to rounding. */
export function optimize(graph: Graph): void {
  for (const pass of pipeline) pass.run(graph);
}

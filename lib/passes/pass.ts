import type { Graph } from '../ir/graph.ts';

/** A rewrite: changes the graph in place, outputs staying the same up to rounding, and tells whether it did. */
export interface Pass {
  readonly name: string;
  run(graph: Graph): boolean;
}

import type { Graph } from '../ir/graph.ts';
import { finish } from '../ir/turns.ts';

/** A rewrite: changes the graph in place, outputs staying the same up to rounding, and tells whether it did. */
export interface Pass {
  readonly name: string;
  run(graph: Graph): boolean;
  /** The same, yielding where others may run: for passes that take long on a large graph. */
  turns?(graph: Graph): Generator<void, boolean>;
}

/** A pass that is made of turns. */
export function passInTurns(name: string, turns: (graph: Graph) => Generator<void, boolean>): Pass {
  return { name, turns, run: (graph) => finish(turns(graph)) };
}

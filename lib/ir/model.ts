/** A loaded model: its graph with what the file says about it. */

import type { Graph, ValueType } from './graph.ts';

/** A named input or output as the model declares it. */
export interface Port {
  readonly name: string;
  /** Kind, element type and shape; symbolic dimensions by their names. */
  readonly type: ValueType;
}

export interface Model {
  readonly graph: Graph;
  /** The inputs a caller gives; those with a default in `graph.defaults` may be left out. */
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly irVersion: number;
  /** Imported version of each domain; '' is ai.onnx. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly producer: string;
  readonly domain: string;
  readonly version: number;
  readonly description: string;
}

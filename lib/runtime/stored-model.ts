/** What a store keeps of a model itself: enough to take feeds and to name outputs. */

import { type Graph, makeValue, type ValueType } from '../ir/graph.ts';
import type { Model, Port } from '../ir/model.ts';

/** Model as JSON. */
export interface StoredModel {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Types of the graph's outputs, as inference has them. */
  readonly results: readonly (ValueType | null)[];
  readonly irVersion: number;
  readonly opsets: readonly (readonly [string, number])[];
  readonly metadata: readonly (readonly [string, string])[];
  readonly producer: string;
  readonly domain: string;
  readonly version: number;
  readonly description: string;
  /** Files beside the model's own, with what tells that they changed. */
  readonly files: readonly (readonly [string, string])[];
}

export function describeModel(model: Model, files: ReadonlyMap<string, string>): StoredModel {
  const { inputs, outputs, irVersion, opsets, metadata, producer, domain, version, description, graph } = model;
  return {
    ...{ inputs, outputs, irVersion, producer, domain, version, description },
    results: graph.outputs.map(({ type }) => type ?? null),
    opsets: [...opsets],
    metadata: [...metadata],
    files: [...files],
  };
}

/** The model without its nodes. */
export function stubOf({ opsets, metadata, files: _, results, ...rest }: StoredModel): Model {
  const graph: Graph = {
    name: 'stored',
    inputs: rest.inputs.map(({ name, type }) => makeValue(name, type)),
    outputs: rest.outputs.map(({ name }, i) => makeValue(name, results[i] ?? undefined)),
    nodes: [],
    captures: [],
  };
  return { ...rest, graph, opsets: new Map(opsets), metadata: new Map(metadata) };
}

/** The functions that a model brings along. */

import { ModelFormatError } from '../errors.ts';
import { decodeOpsets, domainOf } from './opsets.ts';
import type { FunctionProto, GraphProto, ModelProto, NodeProto } from './schema.ts';

/** Most nodes that a model may have once its functions are inlined. */
export const MAX_INLINED_NODES = 2 ** 18;

/** A function with the operator versions its nodes mean. */
export interface ModelFunction {
  readonly proto: FunctionProto;
  readonly opsets: ReadonlyMap<string, number>;
}

export type FunctionTable = ReadonlyMap<string, ModelFunction>;

/** Key of a function: domain, name and overload. */
export function functionKey(domain: string, name: string, overload: string): string {
  return JSON.stringify([domainOf(domain), name, overload]);
}

/** The function that a node calls, if it calls one. */
export function calledBy(node: NodeProto, functions: FunctionTable): ModelFunction | undefined {
  if (functions.size === 0) return undefined;
  return functions.get(functionKey(node.domain, node.opType, node.overload));
}

/** All functions of a model, checked to end: no recursion, and no more than {@link MAX_INLINED_NODES} once inlined. */
export function readFunctions(model: ModelProto, graph: GraphProto): FunctionTable {
  const functions = new Map<string, ModelFunction>();
  for (const proto of model.functions) {
    const key = functionKey(proto.domain, proto.name, proto.overload);
    const what = `function ${proto.domain}.${proto.name}`;
    if (functions.has(key)) throw new ModelFormatError(`${what} is defined twice`, { function: proto.name });
    functions.set(key, { proto, opsets: decodeOpsets(proto.opsetImport, what) });
  }
  if (functions.size > 0) new SizeCounter(functions).check(graph);
  return functions;
}

/** Counts nodes after inlining, each function once. */
class SizeCounter {
  readonly #functions: FunctionTable;
  readonly #sizes = new Map<ModelFunction, number>();
  readonly #open = new Set<ModelFunction>();

  constructor(functions: FunctionTable) {
    this.#functions = functions;
  }

  check(graph: GraphProto): void {
    const size = this.#nodes(graph.node);
    if (size > MAX_INLINED_NODES) {
      throw new ModelFormatError(
        `the model has ${size} nodes once its functions are inlined, more than ${MAX_INLINED_NODES}`,
        { nodes: size },
      );
    }
  }

  #nodes(nodes: readonly NodeProto[]): number {
    let size = 0;
    for (const node of nodes) {
      const called = calledBy(node, this.#functions);
      size += called ? this.#function(called) : 1;
      for (const { g, graphs } of node.attribute) {
        if (g) size += this.#nodes(g.node);
        for (const body of graphs) size += this.#nodes(body.node);
      }
    }
    return size;
  }

  #function(called: ModelFunction): number {
    const known = this.#sizes.get(called);
    if (known !== undefined) return known;
    const { domain, name } = called.proto;
    if (this.#open.has(called))
      throw new ModelFormatError(`function ${domain}.${name} calls itself`, { function: name });
    if (this.#open.size >= 64) throw new ModelFormatError(`functions call each other more than 64 deep`);
    this.#open.add(called);
    const size = this.#nodes(called.proto.node);
    this.#open.delete(called);
    this.#sizes.set(called, size);
    return size;
  }
}

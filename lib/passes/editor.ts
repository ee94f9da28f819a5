/** Edits a graph while keeping its links right: producers, uses, captures. */

import type { Graph, Node, Value } from '../ir/graph.ts';
import { type Attribute, bodiesOf, makeValue, readsOf } from '../ir/graph.ts';

/** What a pass says about a node it makes. */
export interface NodeSpec {
  readonly op: string;
  readonly domain?: string;
  readonly version?: number;
  readonly inputs: readonly (Value | null)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/** One graph under rewriting. */
export class GraphEditor {
  readonly graph: Graph;
  readonly #readers = new Map<Value, Set<Node>>();

  constructor(graph: Graph) {
    this.graph = graph;
    for (const node of graph.nodes) this.#link(node);
  }

  #link(node: Node): void {
    for (const value of readsOf(node)) {
      const readers = this.#readers.get(value);
      if (readers) readers.add(node);
      else this.#readers.set(value, new Set([node]));
    }
    for (const output of node.outputs) if (output) output.producer = node;
  }

  #unlink(node: Node): void {
    for (const value of readsOf(node)) this.#readers.get(value)?.delete(node);
  }

  /** The nodes that read a value, bodies included. */
  readersOf(value: Value): readonly Node[] {
    return [...(this.#readers.get(value) ?? [])];
  }

  isOutput(value: Value): boolean {
    return this.graph.outputs.includes(value);
  }

  /** The node that alone reads the value, once; undefined where others do, or where it is a graph output. */
  onlyReader(value: Value): Node | undefined {
    const readers = this.readersOf(value);
    if (readers.length !== 1 || this.isOutput(value)) return undefined;
    const [node] = readers;
    return readsOf(node).filter((read) => read === value).length === 1 ? node : undefined;
  }

  /** The producer of a value whose only reader is the asking node. */
  privateProducer(value: Value | null): Node | undefined {
    return value?.producer && this.onlyReader(value) ? value.producer : undefined;
  }

  setInputs(node: Node, inputs: readonly (Value | null)[]): void {
    this.#unlink(node);
    node.inputs = [...inputs];
    this.#link(node);
  }

  /** Every reader of `from` reads `to` instead, outputs of the graph and captures of bodies included. */
  replace(from: Value, to: Value): void {
    for (const node of this.readersOf(from)) {
      this.#unlink(node);
      node.inputs = node.inputs.map((value) => (value === from ? to : value));
      node.captures = [...new Set(node.captures.map((value) => (value === from ? to : value)))];
      for (const body of bodiesOf(node)) {
        for (const capture of body.captures) if (capture.outer === from) capture.outer = to;
      }
      this.#link(node);
    }
    this.graph.outputs = this.graph.outputs.map((value) => (value === from ? to : value));
  }

  /** Takes nodes out; their outputs must have no readers left. */
  remove(nodes: Iterable<Node>): void {
    const gone = new Set(nodes);
    for (const node of gone) this.#unlink(node);
    this.graph.nodes = this.graph.nodes.filter((node) => !gone.has(node));
  }

  /** A new node before `anchor`, which gives it its name; its outputs are fresh values unless given. */
  insert(anchor: Node, spec: NodeSpec, outputs: readonly (Value | null)[] = [makeValue(anchor.name)]): Node {
    const node: Node = {
      name: anchor.name,
      op: spec.op,
      domain: spec.domain ?? '',
      version: spec.version ?? anchor.version,
      inputs: [...spec.inputs],
      outputs: [...outputs],
      attributes: new Map(Object.entries(spec.attributes ?? {})),
      captures: [],
    };
    this.graph.nodes.splice(this.graph.nodes.indexOf(anchor), 0, node);
    this.#link(node);
    return node;
  }

  /**
   * One node in the place of several: `last` is where it stands; the output of the new node takes the place of `value`,
   * keeping its name and type.
   */
  fuse(nodes: readonly Node[], last: Node, spec: NodeSpec): Node {
    const outputs = last.outputs;
    const fused = this.insert(last, spec, outputs);
    this.remove(nodes);
    for (const output of outputs) if (output) output.producer = fused;
    return fused;
  }
}

/** Applies `edit` to a graph and all bodies in it, bodies first. */
export function everyGraph(graph: Graph, edit: (graph: Graph) => boolean): boolean {
  let changed = false;
  for (const node of graph.nodes) {
    for (const body of bodiesOf(node)) changed = everyGraph(body, edit) || changed;
  }
  return edit(graph) || changed;
}

/** The same with an edit in turns. */
export function* everyGraphInTurns(
  graph: Graph,
  edit: (graph: Graph) => Generator<void, boolean>,
): Generator<void, boolean> {
  let changed = false;
  for (const node of graph.nodes) {
    for (const body of bodiesOf(node)) changed = (yield* everyGraphInTurns(body, edit)) || changed;
  }
  return (yield* edit(graph)) || changed;
}

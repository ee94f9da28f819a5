/** Whether the items of a batch can be computed apart: every row of axis 0 of the outputs from that row of the inputs. */

import type { Graph, Node, Value } from '../ir/graph.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { findOp } from '../ops/index.ts';
import { NodeAccess } from '../ops/op.ts';
import { Facts } from './facts.ts';
import type { Typed } from './typed.ts';

/** A batch that no other dimension of a network is likely to equal: what keeps it in axis 0 keeps the rows apart. */
const SAMPLE = 7919;

class RowAnalysis {
  readonly #facts: Facts;
  readonly #batched = new Set<Value>();
  /** Contents that may hold the size of the batch. */
  readonly #sized = new Set<Value>();

  constructor(graph: Graph, typed: ReadonlyMap<Value, Typed>) {
    this.#facts = new Facts(typed, new Map());
    for (const input of graph.inputs) this.#batched.add(input);
  }

  /** True where every output of the graph keeps its rows apart. */
  run(graph: Graph): boolean {
    for (const node of graph.nodes) if (!this.#visit(node)) return false;
    return graph.outputs.every((output) => this.#batched.has(output));
  }

  #visit(node: Node): boolean {
    if (node.captures.length > 0) return false;
    const types = this.#facts.infer(node);
    if (!types) return false;
    node.outputs.forEach((output, i) => {
      if (output) this.#facts.set(output, types[i]);
    });
    if (this.#fold(node, types)) return true;
    const reads = node.inputs.filter((value): value is Value => value !== null);
    if (!reads.every((value) => this.#batched.has(value) || this.#shared(value))) return false;
    if (!this.#keepsRows(node, types)) return false;
    for (const output of node.outputs) if (output) this.#batched.add(output);
    return true;
  }

  /** Contents known at planning are the same for every row, unless they tell the size of the batch. */
  #fold(node: Node, types: readonly Typed[]): boolean {
    const contents = this.#facts.fold(node, types);
    if (!contents) return false;
    const sized = node.inputs.some((value) => value && (this.#batched.has(value) || this.#sized.has(value)));
    node.outputs.forEach((output, i) => {
      const content = contents[i];
      if (!output || content?.kind !== 'tensor') return;
      this.#facts.set(output, { kind: 'tensor', dtype: content.dtype, dims: content.dims, content });
      if (sized) this.#sized.add(output);
    });
    return true;
  }

  #shared(value: Value): HostTensor | undefined {
    const typed = this.#facts.typed(value);
    return typed?.kind === 'tensor' ? typed.content : undefined;
  }

  #dims(value: Value | null): readonly number[] {
    const typed = value && this.#facts.typed(value);
    return typed?.kind === 'tensor' ? typed.dims : [];
  }

  #keepsRows(node: Node, types: readonly Typed[]): boolean {
    const op = findOp(node.domain, node.op);
    const first = types[0];
    if (!op || first?.kind !== 'tensor' || first.dims[0] !== SAMPLE) return false;
    const traits = op.traits ?? [];
    const batched = node.inputs.filter((value): value is Value => value !== null && this.#batched.has(value));
    if (!batched.every((value) => this.#dims(value)[0] === SAMPLE)) return false;
    if (traits.includes('view')) return node.inputs[0] !== null && this.#batched.has(node.inputs[0]);
    if (node.inputs.some((value) => value && this.#sized.has(value))) return false;
    if (traits.includes('elementwise')) {
      const rank = first.dims.length;
      return node.inputs.every((value) => {
        const dims = this.#dims(value);
        return !value || (this.#batched.has(value) ? dims.length === rank : dims.length < rank || dims[0] === 1);
      });
    }
    const ranks = node.inputs.map((value) => this.#dims(value).length);
    const shared = node.inputs.map((value) => value === null || !this.#batched.has(value));
    if (op.keepsRows) return op.keepsRows(new NodeAccess(node, 'run'), { ranks, shared });
    if (!op.window) return false;
    return node.inputs.every((value, i) => !value || this.#batched.has(value) === (i === 0 || i === 3));
  }
}

/**
 * True where the graph computes every item of a batch apart. `dims` gives the shape of each input; axis 0 is the batch.
 * A graph that is not understood counts as one that does not.
 */
export function rowsAreIndependent(graph: Graph, dims: readonly (readonly number[])[]): boolean {
  const typed = new Map<Value, Typed>();
  for (const [i, input] of graph.inputs.entries()) {
    const own = dims[i];
    if (!own?.length || input.type?.kind !== 'tensor' || input.type.dtype === 'string') return false;
    typed.set(input, { kind: 'tensor', dtype: input.type.dtype, dims: [SAMPLE, ...own.slice(1)] });
  }
  try {
    return graph.inputs.length > 0 && new RowAnalysis(graph, typed).run(graph);
  } catch {
    // A graph whose batch is fixed does not infer with another one.
    return false;
  }
}

/** True for networks that multiply bytes. */
export function multipliesBytes(graph: Graph): boolean {
  return graph.nodes.some(({ domain, op }) => findOp(domain, op)?.traits?.includes('bytes'));
}

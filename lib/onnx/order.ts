/** The order of a graph's nodes: what each reads comes before it. */

import { ModelFormatError } from '../errors.ts';
import type { GraphProto, NodeProto } from './schema.ts';

/** How a message names a node of the file. */
export function protoText(node: NodeProto): string {
  const op = node.domain ? `${node.domain}.${node.opType}` : node.opType;
  const name = node.name || node.output.find((output) => output !== '');
  return name ? `${op} "${name}"` : op;
}

/** The bodies of a node. */
function bodiesOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((attribute) => (attribute.g ? [attribute.g] : attribute.graphs));
}

/** Names that a body uses and does not define itself. */
function addFreeNames(graph: GraphProto, free: Set<string>): void {
  const own = new Set<string>();
  for (const input of graph.input) own.add(input.name);
  for (const tensor of graph.initializer) own.add(tensor.name);
  for (const sparse of graph.sparseInitializer) own.add(sparse.values?.name ?? '');
  for (const node of graph.node) for (const output of node.output) own.add(output);
  const used = new Set<string>();
  for (const node of graph.node) addReads(node, used);
  for (const output of graph.output) used.add(output.name);
  for (const name of used) if (!own.has(name)) free.add(name);
}

function addReads(node: NodeProto, reads: Set<string>): void {
  for (const input of node.input) if (input !== '') reads.add(input);
  for (const body of bodiesOf(node)) addFreeNames(body, reads);
}

/**
 * The nodes in topological order: as they stand where that is one already, else moved as little as needed.
 * Throws ModelFormatError for a name that two nodes write and for a cycle.
 */
export function orderNodes(nodes: readonly NodeProto[], where: string): readonly NodeProto[] {
  const producers = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const output of node.output) {
      if (output === '') continue;
      const before = producers.get(output);
      if (before !== undefined) {
        throw new ModelFormatError(
          `${where}: "${output}" is written by ${protoText(nodes[before])} and by ${protoText(node)}`,
          { value: output },
        );
      }
      producers.set(output, i);
    }
  });
  const needs = nodes.map((node) => {
    const reads = new Set<string>();
    addReads(node, reads);
    const from: number[] = [];
    for (const name of reads) {
      const producer = producers.get(name);
      if (producer !== undefined) from.push(producer);
    }
    return from;
  });
  if (needs.every((from, i) => from.every((producer) => producer < i))) return nodes;
  return sorted(nodes, needs, where);
}

/** Depth first from the first node on, without recursion: chains may be long. */
function sorted(nodes: readonly NodeProto[], needs: readonly number[][], where: string): NodeProto[] {
  const state = new Uint8Array(nodes.length);
  const out: NodeProto[] = [];
  const cursor = new Uint32Array(nodes.length);
  for (let root = 0; root < nodes.length; root++) {
    if (state[root]) continue;
    const stack = [root];
    state[root] = 1;
    while (stack.length) {
      const node = stack[stack.length - 1];
      if (cursor[node] === needs[node].length) {
        state[node] = 2;
        out.push(nodes[node]);
        stack.pop();
        continue;
      }
      const next = needs[node][cursor[node]++];
      if (state[next] === 1) {
        throw new ModelFormatError(`${where}: ${protoText(nodes[next])} needs its own result (a cycle)`, {
          node: nodes[next].name,
        });
      }
      if (state[next] === 0) {
        state[next] = 1;
        stack.push(next);
      }
    }
  }
  return out;
}

/** What every graph upholds. */

import { InternalError } from '../errors.ts';
import { bodiesOf, type Graph, type Node, nodeText, type Value } from './graph.ts';

/**
 * Throws InternalError where the graph breaks an invariant: each value is defined once and before it is read, knows its
 * producer, and belongs to one graph; captures lead to values of the enclosing graph and are listed by the node.
 * `outer` holds what the enclosing graph has defined at this point.
 */
export function verifyGraph(graph: Graph, outer: ReadonlySet<Value> = new Set()): void {
  const fail = (message: string): never => {
    throw new InternalError(`graph "${graph.name}": ${message}`, { graph: graph.name });
  };
  const defined = new Set<Value>();
  const define = (value: Value, by: string): void => {
    if (defined.has(value)) fail(`"${value.name}" is defined twice, the second time by ${by}`);
    if (outer.has(value)) fail(`"${value.name}" of the enclosing graph is defined again by ${by}`);
    defined.add(value);
  };
  for (const input of graph.inputs) {
    define(input, 'the inputs');
    if (input.producer) fail(`input "${input.name}" has a producer`);
  }
  for (const { inner, outer: from } of graph.captures) {
    define(inner, 'a capture');
    if (!outer.has(from) && !isConstant(from)) fail(`captured "${from.name}" is not a value of the enclosing graph`);
  }
  const read = (value: Value, by: string): void => {
    if (!defined.has(value) && !isConstant(value)) fail(`${by} reads "${value.name}" before it is defined`);
  };
  for (const node of graph.nodes) {
    verifyNode(node, read, fail, defined);
    for (const output of node.outputs) if (output) define(output, nodeText(node));
  }
  for (const output of graph.outputs) read(output, "the graph's output");
  for (const value of graph.defaults?.keys() ?? []) {
    if (!graph.inputs.includes(value)) fail(`the default of "${value.name}" belongs to no input`);
  }
}

/** Constants stand by themselves: no list of the graph holds them. */
function isConstant(value: Value): boolean {
  return value.constant !== undefined && value.producer === undefined;
}

function verifyNode(
  node: Node,
  read: (value: Value, by: string) => void,
  fail: (message: string) => never,
  defined: ReadonlySet<Value>,
): void {
  const text = nodeText(node);
  for (const input of node.inputs) if (input) read(input, text);
  for (const captured of node.captures) read(captured, text);
  for (const output of node.outputs) {
    if (output && output.producer !== node) fail(`"${output.name}", an output of ${text}, has another producer`);
    if (output?.constant) fail(`"${output.name}", an output of ${text}, is a constant`);
  }
  const listed = new Set(node.captures);
  if (listed.size !== node.captures.length) fail(`${text} lists a capture twice`);
  for (const body of bodiesOf(node)) {
    for (const { outer } of body.captures) {
      if (!listed.has(outer)) fail(`${text} does not list the captured "${outer.name}"`);
    }
    verifyGraph(body, defined);
  }
}

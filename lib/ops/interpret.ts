/** Runs a graph node by node on the references: the oracle of the tests, and the folder of constants. */

import { FiligreeError, InternalError, MemoryError, RunError } from '../errors.ts';
import { type Graph, type Node, nodeText, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { findOp } from './index.ts';
import { type BodyRuns, integerInput, NodeAccess, type OpDefinition, opKey, type ReferenceContext } from './op.ts';

/** How a reference runs its bodies; the runtime passes one that runs natively. */
export type GraphRunner = (graph: Graph, feeds: readonly HostValue[], outer: Bindings) => HostValue[];

/** Contents of the values of a graph. */
export type Bindings = ReadonlyMap<Value, HostValue>;

class ReferenceAccess extends NodeAccess implements ReferenceContext {
  readonly #inputs: readonly (HostValue | null)[];
  readonly #run: (graph: Graph, feeds: readonly HostValue[]) => HostValue[];

  constructor(
    node: Node,
    inputs: readonly (HostValue | null)[],
    run: (g: Graph, f: readonly HostValue[]) => HostValue[],
  ) {
    super(node, 'run');
    this.#inputs = inputs;
    this.#run = run;
  }

  value(i: number): HostValue {
    const value = this.#inputs[i];
    if (!value) throw this.error(`input ${i} is missing`);
    return value;
  }
  tensor(i: number): HostTensor {
    const value = this.value(i);
    if (value.kind !== 'tensor') throw this.error(`input ${i} is a ${value.kind}, expected a tensor`);
    return value;
  }
  optional(i: number): HostTensor | undefined {
    return this.has(i) ? this.tensor(i) : undefined;
  }
  integers(i: number): number[] {
    return integerInput(this, i);
  }
  runGraph(graph: Graph, feeds: readonly HostValue[]): HostValue[] {
    return this.#run(graph, feeds);
  }
}

/** The turns of a control-flow node, for a caller that runs the bodies itself; undefined for any other node. */
export function startTurns(node: Node, inputs: readonly (HostValue | null)[]): BodyRuns | undefined {
  const run = (): never => {
    throw new InternalError(`${nodeText(node)} ran a body outside its turns`);
  };
  return findOp(node.domain, node.op)?.turns?.(new ReferenceAccess(node, inputs, run));
}

/** Loops over the other axes of an empty tensor have to end. */
function checkEmpty(node: Node, { dims }: HostTensor): void {
  const extent = sizeOf(dims.filter((dim) => dim !== 0));
  if (extent > 2 ** 31)
    throw new RunError(`${nodeText(node)}: an empty tensor of shape [${dims.join(',')}] is too large`);
}

/** The error of a reference with the node's name, and those about memory as what they are. */
function named(node: Node, error: unknown): unknown {
  const facts = { node: node.name, op: opKey(node.domain, node.op) };
  // What engines say of array lengths they cannot have.
  const tooLarge = error instanceof RangeError && /array length|buffer allocation|string length/i.test(error.message);
  if (tooLarge) return new MemoryError(`${nodeText(node)}: ${error.message}`, facts, { cause: error });
  if (!(error instanceof FiligreeError) || error.details.node !== undefined) return error;
  const own = { ...error.details, ...facts };
  if (error instanceof RunError) return new RunError(`${nodeText(node)}: ${error.message}`, own, { cause: error });
  if (error instanceof MemoryError)
    return new MemoryError(`${nodeText(node)}: ${error.message}`, own, { cause: error });
  return error;
}

function outputsOf(op: OpDefinition, ctx: ReferenceContext, node: Node): HostValue[] {
  try {
    return op.reference(ctx);
  } catch (error) {
    throw named(node, error);
  }
}

/** Runs one node on its reference. `outer` holds what its bodies capture. */
export function runNode(
  node: Node,
  inputs: readonly (HostValue | null)[],
  outer: Bindings = new Map(),
  runner: GraphRunner = interpret,
): HostValue[] {
  const op = findOp(node.domain, node.op);
  if (!op) throw new InternalError(`no operator ${nodeText(node)}`);
  for (const input of inputs) if (input?.kind === 'tensor' && input.dims.includes(0)) checkEmpty(node, input);
  const ctx = new ReferenceAccess(node, inputs, (graph, feeds) => runner(graph, feeds, outer));
  const outputs = outputsOf(op, ctx, node);
  node.outputs.forEach((output, i) => {
    if (output && !outputs[i]) throw new InternalError(`${nodeText(node)}: the reference gave no output ${i}`);
  });
  return outputs;
}

/** Runs a graph on feeds in the order of its inputs; `outer` holds the values its captures stand for. */
export function interpret(graph: Graph, feeds: readonly HostValue[], outer: Bindings = new Map()): HostValue[] {
  const bound = new Map<Value, HostValue>();
  graph.inputs.forEach((input, i) => {
    const feed = feeds[i] ?? graph.defaults?.get(input);
    if (!feed) throw new RunError(`graph "${graph.name}": input "${input.name}" has no value`, { input: input.name });
    bound.set(input, feed);
  });
  for (const { inner, outer: from } of graph.captures) {
    const value = from.constant ?? outer.get(from);
    if (!value) throw new InternalError(`graph "${graph.name}": captured "${from.name}" has no value`);
    bound.set(inner, value);
  }
  const read = (value: Value): HostValue => {
    const held = value.constant ?? bound.get(value);
    if (!held) throw new InternalError(`graph "${graph.name}": "${value.name}" is read before it is computed`);
    return held;
  };
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((value) => (value ? read(value) : null));
    for (const captured of node.captures) bound.set(captured, read(captured));
    const outputs = runNode(node, inputs, bound);
    node.outputs.forEach((value, i) => {
      if (value) bound.set(value, outputs[i]);
    });
  }
  return graph.outputs.map(read);
}

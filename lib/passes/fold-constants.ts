/** Computes nodes whose inputs are all constant. */

import { FiligreeError } from '../errors.ts';
import { bodiesOf, type Graph, type Node } from '../ir/graph.ts';
import { isConcrete, sizeOf } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { findOp } from '../ops/index.ts';
import { runNode } from '../ops/interpret.ts';
import { GraphEditor } from './editor.ts';
import type { Pass } from './pass.ts';

/** Results above this many elements are folded only where that does not grow the model. */
const SMALL = 1 << 16;

function foldable(node: Node): boolean {
  const traits = findOp(node.domain, node.op)?.traits ?? [];
  return !traits.includes('random') && !traits.includes('control');
}

/** The inputs as contents; a metadata operator needs only shapes. */
function contentsOf(node: Node): (HostValue | null)[] | undefined {
  const metadata = findOp(node.domain, node.op)?.traits?.includes('metadata');
  const contents: (HostValue | null)[] = [];
  for (const input of node.inputs) {
    let content = input?.constant;
    if (input && !content && metadata && input.type?.kind === 'tensor' && isConcrete(input.type.shape)) {
      content = { kind: 'tensor', dtype: input.type.dtype, dims: input.type.shape, data: new Uint8Array(0) };
    }
    if (input && !content) return undefined;
    contents.push(content ?? null);
  }
  return contents;
}

function tensorSize(value: HostValue | null): number {
  return value?.kind === 'tensor' ? sizeOf(value.dims) : 0;
}

/** Elements that the node itself carries (Constant). */
function heldByAttributes(node: Node): number {
  let held = 0;
  for (const attribute of node.attributes.values())
    if (attribute.type === 'tensor') held += tensorSize(attribute.value);
  return held;
}

function foldNode(node: Node): readonly HostTensor[] | undefined {
  const inputs = foldable(node) ? contentsOf(node) : undefined;
  if (!inputs) return undefined;
  const declared = node.outputs[0]?.type;
  const known = declared?.kind === 'tensor' && isConcrete(declared.shape) ? sizeOf(declared.shape) : 0;
  const given = inputs.reduce((sum, input) => sum + tensorSize(input), heldByAttributes(node));
  if (known > Math.max(SMALL, given)) return undefined;
  let results: HostValue[];
  try {
    results = runNode(node, inputs);
  } catch (error) {
    // What fails now fails at the run as well, where it is reported, unless the node is never reached.
    if (error instanceof FiligreeError) return undefined;
    throw error;
  }
  const tensors = results.filter((result): result is HostTensor => result?.kind === 'tensor');
  const size = tensors.reduce((sum, result) => sum + sizeOf(result.dims), 0);
  return tensors.length === results.length && size <= Math.max(SMALL, given) ? tensors : undefined;
}

/** True for weights that wait to be multiplied as bytes. */
const waits = (node: Node): boolean => node.op === 'DequantizeLinear';

/** Gives bodies the constants that they capture, as their own. */
function bindConstants(node: Node): void {
  const bodies = bodiesOf(node);
  for (const body of bodies) {
    for (const { inner, outer } of body.captures) {
      if (!outer.constant) continue;
      inner.constant = outer.constant;
      inner.type = outer.type;
    }
    body.captures = body.captures.filter(({ inner }) => !inner.constant);
  }
  node.captures = [...new Set(bodies.flatMap((body) => body.captures.map(({ outer }) => outer)))];
}

/** Folds a graph and then its bodies, which see what became constant around them. */
function fold(graph: Graph, spared: (node: Node) => boolean): boolean {
  const editor = new GraphEditor(graph);
  const gone: Node[] = [];
  let changed = false;
  for (const node of graph.nodes) {
    if (node.captures.length > 0) bindConstants(node);
    for (const body of bodiesOf(node)) changed = fold(body, spared) || changed;
    const results = spared(node) ? undefined : foldNode(node);
    if (!results) continue;
    node.outputs.forEach((output, i) => {
      if (!output) return;
      output.constant = results[i];
      output.producer = undefined;
      output.type = { kind: 'tensor', dtype: results[i].dtype, shape: results[i].dims };
    });
    gone.push(node);
  }
  editor.remove(gone);
  return changed || gone.length > 0;
}

export const foldConstants: Pass = {
  name: 'fold-constants',
  run: (graph) => fold(graph, () => false),
};

/** Leaves quantized weights as they are. */
export const foldUnquantized: Pass = {
  name: 'fold-unquantized',
  run: (graph) => fold(graph, waits),
};

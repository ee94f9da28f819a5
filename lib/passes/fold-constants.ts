/** Computes nodes whose inputs are all constant. */

import { FiligreeError } from '../errors.ts';
import type { Graph, Node } from '../ir/graph.ts';
import { isConcrete, sizeOf } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { findOp } from '../ops/index.ts';
import { runNode } from '../ops/interpret.ts';
import { everyGraph, GraphEditor } from './editor.ts';
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

function fold(graph: Graph, spared: (node: Node) => boolean): boolean {
  const editor = new GraphEditor(graph);
  const gone: Node[] = [];
  for (const node of graph.nodes) {
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
  return gone.length > 0;
}

export const foldConstants: Pass = {
  name: 'fold-constants',
  run: (graph) => everyGraph(graph, (each) => fold(each, () => false)),
};

/** Leaves quantized weights as they are. */
export const foldUnquantized: Pass = {
  name: 'fold-unquantized',
  run: (graph) => everyGraph(graph, (each) => fold(each, waits)),
};

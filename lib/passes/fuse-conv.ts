/** Folds BatchNormalization and per-channel scales into convolutions, and residual and activation into their epilogue. */

import type { Attribute, Graph, Node, Value } from '../ir/graph.ts';
import { makeConstant } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';
import { fusableActivation } from './activations.ts';
import { type Affine, batchNormAffine, constantAffine } from './affine.ts';
import { everyGraph, everyGraphInTurns, GraphEditor } from './editor.ts';
import { constantOf } from './match.ts';
import { type Pass, passInTurns } from './pass.ts';
import { sameDeclaredShape } from './shapes.ts';

const isConv = (node: Node): boolean => node.op === 'Conv' && (node.domain === '' || node.domain === 'filigree');

/** A weight with each output channel times its factor. A plain loop: mapping millions of entries takes seconds. */
function scaledRows(weight: HostTensor, scale: ArrayLike<number>): HostTensor {
  const from = weight.data as Float32Array;
  const perRow = sizeOf(weight.dims) / weight.dims[0];
  const scaled = new Float32Array(from.length);
  for (let row = 0, at = 0; row < weight.dims[0]; row++) {
    const factor = scale[row];
    for (const end = at + perRow; at < end; at++) scaled[at] = from[at] * factor;
  }
  return tensor('float32', weight.dims, scaled);
}

function foldAffine(editor: GraphEditor, conv: Node, next: Node, affine: Affine): boolean {
  const [x, w, b] = conv.inputs;
  const weight = constantOf(w, 'float32');
  const bias = constantOf(b, 'float32');
  if (!weight || (b && !bias) || !w) return false;
  const channels = weight.dims[0];
  if (affine.scale.length !== channels) return false;
  const shifted = Float32Array.from(
    affine.shift,
    (v, i) => v + (bias ? (bias.data[i] as number) * affine.scale[i] : 0),
  );
  const unscaled = affine.scale.every((s) => s === 1);
  const newWeight = unscaled ? w : makeConstant(`${w.name}_scaled`, scaledRows(weight, affine.scale));
  const newBias = makeConstant(`${w.name}_bias`, tensor('float32', [channels], shifted));
  editor.setInputs(conv, [x, newWeight, newBias]);
  editor.replace(next.outputs[0] as Value, conv.outputs[0] as Value);
  editor.remove([next]);
  return true;
}

/** Folds what follows a plain convolution into its weights. */
function* foldFollowers(graph: Graph): Generator<void, boolean> {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const conv of [...graph.nodes]) {
    if (conv.op !== 'Conv' || conv.domain !== '') continue;
    for (;;) {
      const output = conv.outputs[0] as Value;
      const next = editor.onlyReader(output);
      const weight = constantOf(conv.inputs[1], 'float32');
      if (!next || !weight || next.domain !== '') break;
      const affine =
        next.op === 'BatchNormalization' && next.inputs[0] === output
          ? batchNormAffine(next)
          : constantAffine(next, output, weight.dims[0], weight.dims.length);
      if (!affine || !foldAffine(editor, conv, next, affine)) break;
      changed = true;
    }
    yield;
  }
  return changed;
}

const domainAttributes = (node: Node): Record<string, Attribute> => Object.fromEntries(node.attributes);

/** Adds one of: residual (before the activation), activation. */
function growEpilogue(editor: GraphEditor, conv: Node): Node | undefined {
  const output = conv.outputs[0] as Value;
  if (conv.attributes.get('activation')) return undefined;
  const next = editor.onlyReader(output);
  if (!next) return undefined;
  const base = { op: 'Conv', domain: 'filigree', version: 1 };
  const activation = fusableActivation(next, output);
  if (activation) {
    const attributes = { ...domainAttributes(conv), ...activation };
    return editor.fuse([conv, next], next, { ...base, inputs: conv.inputs, attributes });
  }
  if (next.op !== 'Add' || next.domain !== '' || conv.inputs.length > 3) return undefined;
  const other = next.inputs.find((input) => input !== output);
  if (!other || other.constant || !sameDeclaredShape(other, next.outputs[0] as Value, output)) return undefined;
  const inputs = [conv.inputs[0], conv.inputs[1], conv.inputs[2] ?? null, other];
  return editor.fuse([conv, next], next, { ...base, inputs, attributes: domainAttributes(conv) });
}

function growEpilogues(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  // From the end, so that of two convolutions that meet in an Add the later one, whose sibling exists, takes it.
  for (const node of [...graph.nodes].reverse()) {
    if (!isConv(node) || !graph.nodes.includes(node)) continue;
    for (let grown = growEpilogue(editor, node); grown; grown = growEpilogue(editor, grown)) changed = true;
  }
  return changed;
}

export const foldIntoConv = passInTurns('fold-into-conv', (graph) => everyGraphInTurns(graph, foldFollowers));
export const convEpilogue: Pass = { name: 'conv-epilogue', run: (graph) => everyGraph(graph, growEpilogues) };

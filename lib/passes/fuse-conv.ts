/** Folds BatchNormalization and per-channel scales into convolutions, and residual and activation into their epilogue. */

import type { Attribute, Graph, Node, Value } from '../ir/graph.ts';
import { makeConstant } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';
import { fusableActivation } from './activations.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import type { Pass } from './pass.ts';
import { sameDeclaredShape } from './shapes.ts';

const isConv = (node: Node): boolean => node.op === 'Conv' && (node.domain === '' || node.domain === 'filigree');

function floatConstant(value: Value | null | undefined): HostTensor | undefined {
  const content = value?.constant;
  return content?.kind === 'tensor' && content.dtype === 'float32' ? content : undefined;
}

/** scale * x + shift for each channel. */
interface Affine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

function batchNormAffine(node: Node): Affine | undefined {
  const [, gamma, beta, mean, variance] = node.inputs.map(floatConstant);
  const training = node.attributes.get('training_mode');
  if (!gamma || !beta || !mean || !variance || (training?.type === 'int' && training.value !== 0)) return undefined;
  if (node.outputs.slice(1).some(Boolean)) return undefined;
  const attribute = node.attributes.get('epsilon');
  const epsilon = attribute?.type === 'float' ? attribute.value : 1e-5;
  const count = sizeOf(gamma.dims);
  const at = (t: HostTensor, i: number): number => t.data[i] as number;
  const scale = Float64Array.from({ length: count }, (_, i) => at(gamma, i) / Math.sqrt(at(variance, i) + epsilon));
  const shift = Float64Array.from({ length: count }, (_, i) => at(beta, i) - at(mean, i) * scale[i]);
  return { scale, shift };
}

/** Mul or Add of a constant [C, 1, ...] (or one number) after a convolution of `channels` outputs. */
function constantAffine(node: Node, from: Value, channels: number, rank: number): Affine | undefined {
  const constant = floatConstant(node.inputs.find((input) => input !== from));
  if (!constant || node.inputs.length !== 2) return undefined;
  const size = sizeOf(constant.dims);
  const { dims } = constant;
  const perChannel = size === channels && dims.length >= rank - 1 && dims[dims.length - (rank - 1)] === channels;
  if (dims.length > rank || (size !== 1 && !perChannel)) return undefined;
  const values = Float64Array.from({ length: channels }, (_, i) => constant.data[size === 1 ? 0 : i] as number);
  if (node.op === 'Mul') return { scale: values, shift: new Float64Array(channels) };
  if (node.op === 'Add') return { scale: new Float64Array(channels).fill(1), shift: values };
  return undefined;
}

function foldAffine(editor: GraphEditor, conv: Node, next: Node, affine: Affine): boolean {
  const [x, w, b] = conv.inputs;
  const weight = floatConstant(w);
  const bias = floatConstant(b);
  if (!weight || (b && !bias) || !w) return false;
  const channels = weight.dims[0];
  if (affine.scale.length !== channels) return false;
  const perChannel = sizeOf(weight.dims) / channels;
  const scaled = Float32Array.from(weight.data as Float32Array, (v, i) => v * affine.scale[Math.floor(i / perChannel)]);
  const shifted = Float32Array.from(
    affine.shift,
    (v, i) => v + (bias ? (bias.data[i] as number) * affine.scale[i] : 0),
  );
  const unscaled = affine.scale.every((s) => s === 1);
  const newWeight = unscaled ? w : makeConstant(`${w.name}_scaled`, tensor('float32', weight.dims, scaled));
  const newBias = makeConstant(`${w.name}_bias`, tensor('float32', [channels], shifted));
  editor.setInputs(conv, [x, newWeight, newBias]);
  editor.replace(next.outputs[0] as Value, conv.outputs[0] as Value);
  editor.remove([next]);
  return true;
}

/** Folds what follows a plain convolution into its weights. */
function foldFollowers(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const conv of [...graph.nodes]) {
    if (conv.op !== 'Conv' || conv.domain !== '') continue;
    for (;;) {
      const output = conv.outputs[0] as Value;
      const next = editor.onlyReader(output);
      const weight = floatConstant(conv.inputs[1]);
      if (!next || !weight || next.domain !== '') break;
      const affine =
        next.op === 'BatchNormalization' && next.inputs[0] === output
          ? batchNormAffine(next)
          : constantAffine(next, output, weight.dims[0], weight.dims.length);
      if (!affine || !foldAffine(editor, conv, next, affine)) break;
      changed = true;
    }
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

export const foldIntoConv: Pass = { name: 'fold-into-conv', run: (graph) => everyGraph(graph, foldFollowers) };
export const convEpilogue: Pass = { name: 'conv-epilogue', run: (graph) => everyGraph(graph, growEpilogues) };

/**
 * Operators of com.microsoft that are standard ones in other words: QuantizeLinear and DequantizeLinear, convolutions with
 * activation and residual, products with an activation, and convolutions and pools over maps whose channels come last.
 */

import { type Attribute, type Graph, makeConstant, makeValue, type Node, type Value } from '../ir/graph.ts';
import type { Shape } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import { everyGraph, GraphEditor, type NodeSpec } from './editor.ts';
import { dtypeOf, float, int, intAttribute, ints, shapeOf, stringAttribute } from './match.ts';
import type { Pass } from './pass.ts';

/** Inserts nodes before the one they stand for. */
class Chain {
  readonly #editor: GraphEditor;
  readonly #node: Node;

  constructor(editor: GraphEditor, node: Node) {
    this.#editor = editor;
    this.#node = node;
  }

  add(spec: NodeSpec, shape: Shape | undefined, dtype = dtypeOf(this.#node.outputs[0])): Value {
    const value = makeValue(`${this.#node.name}_${spec.op.toLowerCase()}`, dtype && { kind: 'tensor', dtype, shape });
    this.#editor.insert(this.#node, spec, [value]);
    return value;
  }

  /** A map with its channels first. */
  channelsFirst(x: Value, shape: Shape): Value {
    const rank = shape.length;
    const perm = [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)];
    const spec = { op: 'Transpose', version: 13, inputs: [x], attributes: { perm: ints(perm) } };
    return this.add(
      spec,
      perm.map((i) => shape[i]),
      dtypeOf(x),
    );
  }

  /** The last node, in the place of the old one; with `last` its channels go back. */
  finish(spec: NodeSpec, last: number | undefined): void {
    if (last === undefined) {
      this.#editor.fuse([this.#node], this.#node, spec);
      return;
    }
    const shape = shapeOf(this.#node.outputs[0]);
    const y = this.add(spec, shape && channelsFirst(shape));
    const perm = [0, ...Array.from({ length: last - 2 }, (_, i) => i + 2), 1];
    const turned = { op: 'Transpose', version: 13, inputs: [y], attributes: { perm: ints(perm) } };
    this.#editor.fuse([this.#node], this.#node, turned);
  }
}

const channelsFirst = (shape: Shape): Shape => [shape[0], shape[shape.length - 1], ...shape.slice(1, -1)];

/** Numbers of a fused activation, as far as they are given. */
function activationNumbers(node: Node): readonly (number | undefined)[] {
  const given = node.attributes.get('activation_params');
  if (given) return given.type === 'floats' ? given.value : [];
  return ['activation_alpha', 'activation_beta'].map((name) => {
    const attribute = node.attributes.get(name);
    return attribute?.type === 'float' ? attribute.value : undefined;
  });
}

/** A fused activation as a node; null for none, undefined where its numbers are unknown. */
function activationOf(node: Node): (Omit<NodeSpec, 'inputs'> & { bounds?: readonly number[] }) | null | undefined {
  const name = stringAttribute(node, 'activation', '');
  const [alpha, beta] = activationNumbers(node);
  switch (name) {
    case '':
      return null;
    case 'Relu':
    case 'Tanh':
    case 'Sigmoid':
      return { op: name, version: 14 };
    case 'LeakyRelu':
      return alpha === undefined ? undefined : { op: name, version: 16, attributes: { alpha: float(alpha) } };
    case 'HardSigmoid':
      return alpha === undefined || beta === undefined
        ? undefined
        : { op: name, version: 6, attributes: { alpha: float(alpha), beta: float(beta) } };
    case 'Clip':
      return alpha === undefined || beta === undefined ? undefined : { op: name, version: 13, bounds: [alpha, beta] };
    default:
      return undefined;
  }
}

/** FusedConv, NhwcFusedConv, NhwcConv. */
function unpackConv(editor: GraphEditor, node: Node): boolean {
  const [x, weights, bias, residual] = node.inputs;
  const activation = activationOf(node);
  const shape = shapeOf(x);
  const last = node.op.startsWith('Nhwc');
  const dtype = dtypeOf(x);
  if (!x || !weights || activation === undefined || !dtype) return false;
  if (last && ((shape?.length ?? 0) < 3 || (residual && !shapeOf(residual)))) return false;
  const chain = new Chain(editor, node);
  const rank = last ? shape?.length : undefined;
  const output = shapeOf(node.outputs[0]);
  const inner = last ? output && channelsFirst(output) : output;
  const maps = (value: Value): Value => (last ? chain.channelsFirst(value, shapeOf(value) ?? []) : value);
  const attributes = ownAttributes(node);
  let spec: NodeSpec = { op: 'Conv', version: 11, inputs: [maps(x), weights, ...(bias ? [bias] : [])], attributes };
  if (residual) {
    spec = { op: 'Add', version: 14, inputs: [chain.add(spec, inner), maps(residual)] };
  }
  chain.finish(activated(node, activation, () => chain.add(spec, inner)) ?? spec, rank);
  return true;
}

/** The activation after a node that `add` inserts; undefined where there is none. */
function activated(node: Node, activation: ReturnType<typeof activationOf>, add: () => Value): NodeSpec | undefined {
  if (!activation) return undefined;
  const { bounds = [], ...rest } = activation;
  const dtype = dtypeOf(node.outputs[0]) ?? 'float32';
  const constants = bounds.map((bound) => makeConstant(`${node.name}_bound`, fromNumbers(dtype, [], [bound])));
  return { ...rest, inputs: [add(), ...constants] };
}

/** A node's attributes but for those of a fused activation. */
function ownAttributes(node: Node): Record<string, Attribute> {
  return Object.fromEntries([...node.attributes].filter(([name]) => !name.startsWith('activation')));
}

function unpackGemm(editor: GraphEditor, node: Node): boolean {
  const activation = activationOf(node);
  if (activation === undefined) return false;
  const chain = new Chain(editor, node);
  const spec = { op: 'Gemm', version: 13, inputs: node.inputs, attributes: ownAttributes(node) };
  chain.finish(activated(node, activation, () => chain.add(spec, shapeOf(node.outputs[0]))) ?? spec, undefined);
  return true;
}

/** Operators of bytes that may have their channels last. */
function unpackLast(editor: GraphEditor, node: Node): boolean {
  const [x, ...others] = node.inputs;
  const shape = shapeOf(x);
  if (!x || !shape || shape.length < 3 || intAttribute(node, 'channels_last', 0) === 0) return false;
  const chain = new Chain(editor, node);
  const attributes = { ...Object.fromEntries(node.attributes), channels_last: int(0) };
  chain.finish({ ...node, inputs: [chain.channelsFirst(x, shape), ...others], attributes }, shape.length);
  return true;
}

/** Quantisation, which the standard has too. */
function rename(editor: GraphEditor, node: Node): boolean {
  const attributes = Object.fromEntries(node.attributes);
  editor.fuse([node], node, { op: node.op, version: 21, inputs: node.inputs, attributes });
  return true;
}

const unpackings: Readonly<Record<string, (editor: GraphEditor, node: Node) => boolean>> = {
  FusedConv: unpackConv,
  FusedGemm: unpackGemm,
  NhwcFusedConv: unpackConv,
  NhwcConv: unpackConv,
  QLinearConv: unpackLast,
  QLinearAveragePool: unpackLast,
  QLinearGlobalAveragePool: unpackLast,
  QuantizeLinear: rename,
  DequantizeLinear: rename,
};

function unpackAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) {
    const unpack = node.domain === 'com.microsoft' ? unpackings[node.op] : undefined;
    changed = (unpack?.(editor, node) ?? false) || changed;
  }
  return changed;
}

export const unpackMicrosoft: Pass = { name: 'unpack-microsoft', run: (graph) => everyGraph(graph, unpackAll) };

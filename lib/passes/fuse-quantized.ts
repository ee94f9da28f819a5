/** Convolutions and linear layers between DequantizeLinear and QuantizeLinear become products of bytes. */

import { type Attribute, type Graph, makeConstant, type Node, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { fusableActivation } from './activations.ts';
import { everyGraphInTurns, GraphEditor } from './editor.ts';
import { dtypeOf, float, floatAttribute, int, intAttribute, isOp, otherInput, shapeOf, string } from './match.ts';
import { passInTurns } from './pass.ts';
import {
  type ByteWeights,
  bytesBehind,
  dequantizes,
  integerBias,
  type Quantization,
  quantizes,
  sameQuantization,
  weightsBehind,
} from './quantized-view.ts';
import { sameDeclaredShape } from './shapes.ts';

const { fround } = Math;

/** A product of bytes before what follows it. */
interface Product {
  readonly op: 'QConv' | 'QLinear';
  readonly nodes: Node[];
  readonly x: { readonly value: Value; readonly how: Quantization };
  readonly weights: ByteWeights;
  readonly channels: number;
  /** x's scale times the weights', one or one a channel. */
  readonly units: Float32Array;
  readonly bias: Int32Array | undefined;
  readonly attributes: Record<string, Attribute>;
}

/** What follows a product, in this order; `last` is the node whose output the whole has. */
interface Ending {
  readonly nodes: readonly Node[];
  readonly last: Node;
  /** Rounded to these bytes first. */
  readonly middle?: Quantization;
  readonly residual?: Value;
  /** Which input of the addition the product is. */
  readonly addend?: number;
  readonly activation?: Record<string, Attribute>;
  /** Rounded to these bytes at the end. */
  readonly output?: Quantization;
}

/** The weights as [K, N]. */
function* untransposed(weights: ByteWeights): Generator<void, ByteWeights> {
  const [rows, columns] = weights.tensor.dims;
  const from = weights.tensor.data as Uint8Array | Int8Array;
  const data = new (from.constructor as Int8ArrayConstructor)(from.length);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) data[k * rows + n] = from[n * columns + k];
    if (n % 64 === 0) yield;
  }
  const turned: HostTensor = { ...weights.tensor, dims: [columns, rows], data };
  return { ...weights, tensor: turned, value: makeConstant(`${weights.value.name}_transposed`, turned) };
}

/** True where weights less their zero points are signed bytes. */
function fits({ tensor: t, zero, scale }: ByteWeights, axis: number): boolean {
  if (!zero) return t.dtype === 'int8' || toNumbers(t).every((w) => w <= 127);
  const zeros = toNumbers(zero.constant as HostTensor);
  if (scale.length !== zeros.length && zeros.length !== 1) return false;
  if (t.dtype === 'int8' && zeros.every((z) => z === 0)) return true;
  const inner = axis === 0 ? sizeOf(t.dims) / t.dims[0] : 1;
  return toNumbers(t).every((w, i) => {
    const value = w - zeros[zeros.length === 1 ? 0 : Math.floor(i / inner) % t.dims[axis]];
    return value >= -128 && value <= 127;
  });
}

function* productOf(node: Node): Generator<void, Product | undefined> {
  if (!isOp(node, 'Conv', 'Gemm', 'MatMul')) return undefined;
  const [conv, gemm] = [node.op === 'Conv', node.op === 'Gemm'];
  const x = bytesBehind(node.inputs[0]);
  const transposed = gemm && intAttribute(node, 'transB', 0) !== 0;
  const axis = conv || transposed ? 0 : 1;
  const found = weightsBehind(node.inputs[1], axis);
  if (!x || x.value.constant || !found || !fits(found, axis)) return undefined;
  if (!conv && found.tensor.dims.length !== 2) return undefined;
  if (gemm && (floatAttribute(node, 'alpha', 1) !== 1 || intAttribute(node, 'transA', 0) !== 0)) return undefined;
  if (!conv && (shapeOf(node.inputs[0])?.length ?? 0) < 2) return undefined;
  const channels = found.tensor.dims[axis];
  const units = found.scale.map((s) => fround(x.how.scale * s));
  const shared = { nodes: [node], x, channels, units, weights: transposed ? yield* untransposed(found) : found };
  const given = node.inputs[2];
  const bias = given ? integerBias(given, units, channels) : undefined;
  if (given && (!bias || (gemm && floatAttribute(node, 'beta', 1) !== 1))) return undefined;
  return {
    ...shared,
    op: conv ? 'QConv' : 'QLinear',
    bias,
    attributes: conv ? Object.fromEntries(node.attributes) : {},
  };
}

/** Takes a bias that is added to a product without one. */
function withAddedBias(editor: GraphEditor, product: Product): Product {
  const output = product.nodes[0].outputs[0] as Value;
  const next = editor.onlyReader(output);
  const other = next && isOp(next, 'Add') ? otherInput(next, output) : undefined;
  if (product.bias || product.op !== 'QLinear' || !next || !other) return product;
  if ((shapeOf(other)?.length ?? 2) !== 1) return product;
  const bias = integerBias(other, product.units, product.channels);
  return bias ? { ...product, bias, nodes: [...product.nodes, next] } : product;
}

/** The residual that `next` adds; where bytes come out, the bytes behind it. */
function residualOf(editor: GraphEditor, next: Node, output: Value): Value | undefined {
  const other = isOp(next, 'Add') ? otherInput(next, output) : undefined;
  if (!other || other.constant || dtypeOf(other) !== 'float32') return undefined;
  if (!sameDeclaredShape(other, next.outputs[0] as Value, output)) return undefined;
  const endsInBytes = quantizes(followingRounding(editor, next)) !== undefined;
  return endsInBytes && !bytesBehind(other) ? undefined : other;
}

/** The QuantizeLinear after a node and perhaps an activation. */
function followingRounding(editor: GraphEditor, node: Node): Node | undefined {
  const output = node.outputs[0] as Value;
  const next = editor.onlyReader(output);
  if (!next) return undefined;
  if (fusableActivation(next, output)) return editor.onlyReader(next.outputs[0] as Value);
  return next;
}

/** The DequantizeLinear that makes floats of just rounded ones, where a residual or an activation follows. */
function goesOn(editor: GraphEditor, q: Node): Node | undefined {
  const back = editor.onlyReader(q.outputs[0] as Value);
  if (!back || !sameQuantization(quantizes(q), dequantizes(back))) return undefined;
  const output = back.outputs[0] as Value;
  const next = editor.onlyReader(output);
  return next && (fusableActivation(next, output) || residualOf(editor, next, output)) ? back : undefined;
}

/** Operators that compute on floats whatever follows. */
const floatWork = [
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Pow',
  'Sqrt',
  'Erf',
  'Tanh',
  'Sigmoid',
  'Softmax',
  'LayerNormalization',
];

/** The DequantizeLinear behind a QuantizeLinear whose bytes nobody else reads and whose floats are computed with. */
function dequantizedAtOnce(editor: GraphEditor, q: Node): Node | undefined {
  const back = editor.onlyReader(q.outputs[0] as Value);
  if (!back || !sameQuantization(quantizes(q), dequantizes(back))) return undefined;
  const readers = editor.readersOf(back.outputs[0] as Value);
  return readers.length > 0 && readers.every((node) => isOp(node, ...floatWork)) ? back : undefined;
}

function endingOf(editor: GraphEditor, first: Node): Ending {
  let ending: Ending = { nodes: [], last: first };
  for (;;) {
    const output = ending.last.outputs[0] as Value;
    const next = editor.onlyReader(output);
    if (!next) return ending;
    const nodes = [...ending.nodes, next];
    const rounding = quantizes(next);
    if (rounding) {
      const back = nodes.length === 1 ? goesOn(editor, next) : undefined;
      const floats = nodes.length === 1 && !back ? dequantizedAtOnce(editor, next) : undefined;
      if (floats) return { nodes: [...nodes, floats], last: floats, middle: rounding };
      if (!back) return { ...ending, nodes, last: next, output: rounding };
      ending = { nodes: [...nodes, back], last: back, middle: rounding };
      continue;
    }
    const activation = ending.activation ? undefined : fusableActivation(next, output);
    const residual = ending.activation || ending.residual ? undefined : residualOf(editor, next, output);
    if (!activation && !residual) return ending;
    ending = {
      ...ending,
      nodes,
      last: next,
      ...(activation ? { activation } : { residual, addend: next.inputs.indexOf(output) }),
    };
  }
}

/** Activations f with f(x / s) = f(x) / s for s > 0, whose bounds are divided too. */
const homogeneous = ['', 'Relu', 'LeakyRelu', 'Clip'];

const range = { uint8: [0, 255], int8: [-128, 127] } as const;

type Attributes = Record<string, Attribute>;

const nameOf = (activation: Attributes | undefined): string =>
  activation?.activation.type === 'string' ? activation.activation.value : '';

const boundOf = (activation: Attributes | undefined, name: string): number => {
  const bound = activation?.[name];
  return bound?.type === 'float' ? bound.value : 0;
};

/** An activation whose argument is x / unit + shift; undefined where it has no such form. */
function movedActivation(given: Attributes | undefined, unit: number, shift: number): Attributes | undefined {
  const name = nameOf(given);
  if (name === '' || !given || (unit === 1 && shift === 0)) return given ?? {};
  if (!homogeneous.includes(name) || (shift !== 0 && name === 'LeakyRelu')) return undefined;
  if (name === 'LeakyRelu' || (name === 'Relu' && shift === 0)) return given;
  const [low, high] =
    name === 'Relu'
      ? [0, Number.POSITIVE_INFINITY]
      : [boundOf(given, 'activation_alpha'), boundOf(given, 'activation_beta')];
  const move = (bound: number): Attribute => float(fround(fround(bound / unit) + shift));
  return { activation: string('Clip'), activation_alpha: move(low), activation_beta: move(high) };
}

/** Bounds and zero point of the bytes in the middle. */
function middleBytes(kind: number, { dtype, zero }: Quantization): Attributes {
  const [low, high] = range[dtype];
  return { middle: int(kind), middle_low: float(low - zero), middle_high: float(high - zero) };
}

interface Scales {
  readonly scale: Float32Array;
  readonly attributes: Attributes;
}

/**
 * A sum of two dequantized tensors of bytes that is quantized at once, with the roundings of ONNX Runtime, where a graph
 * of this form becomes one addition of bytes.
 */
function sumOfBytes(product: Product, ending: Ending): Scales | undefined {
  const { middle, output, residual, addend } = ending;
  const other = bytesBehind(residual)?.how;
  if (!middle || !output || !other) return undefined;
  const lowest = output.zero === range[output.dtype][0];
  const needless = lowest && nameOf(ending.activation) === 'Relu';
  const activation = needless ? {} : movedActivation(ending.activation, output.scale, output.zero);
  if (!activation) return undefined;
  const [own, added] = [fround(middle.scale / output.scale), fround(other.scale / output.scale)];
  const [first, second] =
    addend === 0 ? [own * middle.zero, added * other.zero] : [added * other.zero, own * middle.zero];
  return {
    scale: product.units.map((s) => fround(s / middle.scale)),
    attributes: {
      ...activation,
      ...middleBytes(addend === 0 ? 2 : 3, middle),
      middle_offset: float(middle.zero),
      middle_scale: float(own),
      middle_shift: float(fround(output.zero - fround(first + fround(second)))),
      residual_scale: float(added),
      y_zero_point: int(0),
    },
  };
}

/** Scales in units of the output where the activation allows, so that a result is rounded once. */
function scalesOf(product: Product, ending: Ending): Scales {
  const { middle, output } = ending;
  const moved = output && movedActivation(ending.activation, output.scale, 0);
  const unit = output && moved ? output.scale : 1;
  const attributes: Attributes = { ...(moved ?? ending.activation), y_zero_point: int(output?.zero ?? 0) };
  if (middle) Object.assign(attributes, middleBytes(1, middle), { middle_scale: float(fround(middle.scale / unit)) });
  if (output && !moved) attributes.y_factor = float(fround(1 / output.scale));
  const residual = output && bytesBehind(ending.residual)?.how;
  if (residual) {
    attributes.residual_scale = float(fround(residual.scale / unit));
    attributes.residual_zero_point = int(residual.zero);
  }
  return { scale: product.units.map((s) => fround(s / (middle?.scale ?? unit))), attributes };
}

/** Bytes of several groups come in fours. */
function groupsFit(product: Product, ending: Ending): boolean {
  const groups =
    product.op === 'QConv' ? (product.attributes.group?.type === 'int' ? product.attributes.group.value : 1) : 1;
  if (groups === 1 || !ending.output) return true;
  const depthwise = product.weights.tensor.dims[1] === 1;
  return depthwise || (product.channels / groups) % 4 === 0;
}

function* fuseProduct(editor: GraphEditor, node: Node): Generator<void, boolean> {
  const found = yield* productOf(node);
  if (!found) return false;
  const product = withAddedBias(editor, found);
  const ending = endingOf(editor, product.nodes[product.nodes.length - 1]);
  if (!groupsFit(product, ending)) return false;
  const { scale, attributes } = sumOfBytes(product, ending) ?? scalesOf(product, ending);
  const { weights, bias, x } = product;
  const residual = ending.output ? bytesBehind(ending.residual)?.value : ending.residual;
  const inputs = [
    x.value,
    weights.value,
    makeConstant(`${node.name}_scale`, tensor('float32', [scale.length], scale)),
    weights.zero ?? null,
    bias ? makeConstant(`${node.name}_bias`, tensor('int32', [bias.length], bias)) : null,
    ...(residual ? [residual] : []),
  ];
  editor.fuse([...product.nodes, ...ending.nodes], ending.last, {
    op: product.op,
    domain: 'filigree',
    version: 1,
    inputs,
    attributes: {
      ...product.attributes,
      ...attributes,
      x_zero_point: int(x.how.zero),
      y_type: string(ending.output?.dtype ?? 'float32'),
    },
  });
  return true;
}

function* fuse(graph: Graph): Generator<void, boolean> {
  const editor = new GraphEditor(graph);
  let changed = false;
  // From the end, so that of two products that meet in an Add the later one, whose sibling exists, takes it.
  for (const node of [...graph.nodes].reverse()) {
    if (editor.graph.nodes.includes(node)) changed = (yield* fuseProduct(editor, node)) || changed;
    yield;
  }
  return changed;
}

export const fuseQuantized = passInTurns('fuse-quantized', (graph) => everyGraphInTurns(graph, fuse));

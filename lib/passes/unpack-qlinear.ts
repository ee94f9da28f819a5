/**
 * Functions of bytes (com.microsoft QLinearAdd and its like, QLinearMatMul of computed matrices) become the float operator
 * between DequantizeLinear and QuantizeLinear: the form that the rewrites of bytes know.
 */

import { type Attribute, type Graph, makeConstant, makeValue, type Node, tensorType, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { constantOf, dtypeOf, int, intAttribute, isOp, scalarOf, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

type Maybe = Value | null | undefined;

/** A value of bytes with its scale and zero point: numbers of inputs. */
type Quantized = readonly [bytes: number, scale: number, zero: number];

interface Form {
  readonly op: string;
  readonly version?: number;
  readonly attributes?: Record<string, Attribute>;
  /** Inputs of the float operator: bytes, or the number of an input that stays as it is. */
  readonly inputs: readonly (Quantized | number)[];
  /** Scale and zero point of the result. */
  readonly output: readonly [scale: number, zero: number];
}

const one: Pick<Form, 'inputs' | 'output'> = { inputs: [[0, 1, 2]], output: [3, 4] };
const two: Pick<Form, 'inputs' | 'output'> = {
  inputs: [
    [0, 1, 2],
    [3, 4, 5],
  ],
  output: [6, 7],
};

/** The attributes of a node but for some. */
function attributesBut(node: Node, ...names: readonly string[]): Record<string, Attribute> {
  return Object.fromEntries([...node.attributes].filter(([name]) => !names.includes(name)));
}

/** Windows over maps whose channels come first. */
function pooled(node: Node, op: string): Form | undefined {
  if (intAttribute(node, 'channels_last', 0) !== 0) return undefined;
  return { ...one, op, version: 19, attributes: attributesBut(node, 'channels_last') };
}

function concat(node: Node): Form {
  const count = Math.floor((node.inputs.length - 2) / 3);
  const inputs = Array.from({ length: count }, (_, i): Quantized => [3 * i + 2, 3 * i + 3, 3 * i + 4]);
  return { op: 'Concat', attributes: attributesBut(node), inputs, output: [0, 1] };
}

function softmax(node: Node): Form {
  const attributes = { axis: int(intAttribute(node, 'axis', -1)) };
  return { ...one, op: 'Softmax', version: intAttribute(node, 'opset', 13) < 13 ? 11 : 13, attributes };
}

const forms: Readonly<Record<string, (node: Node) => Form | undefined>> = {
  QLinearAdd: () => ({ ...two, op: 'Add' }),
  QLinearMul: () => ({ ...two, op: 'Mul' }),
  QLinearSigmoid: () => ({ ...one, op: 'Sigmoid' }),
  QLinearLeakyRelu: (node) => ({ ...one, op: 'LeakyRelu', attributes: attributesBut(node) }),
  QLinearSoftmax: softmax,
  QLinearReduceMean: (node) => ({ ...one, op: 'ReduceMean', attributes: attributesBut(node) }),
  QLinearAveragePool: (node) => pooled(node, 'AveragePool'),
  QLinearGlobalAveragePool: (node) => pooled(node, 'GlobalAveragePool'),
  QLinearConcat: concat,
  QLinearWhere: () => ({ op: 'Where', version: 16, inputs: [0, [1, 2, 3], [4, 5, 6]], output: [7, 8] }),
};

function formOf(node: Node): Form | undefined {
  if (node.domain === 'com.microsoft' && node.op in forms) return forms[node.op](node);
  // Products with constant matrices stay for the rewrite that keeps them on bytes.
  return isOp(node, 'QLinearMatMul') && !node.inputs[3]?.constant ? { ...two, op: 'MatMul' } : undefined;
}

/** A constant scale or zero point of one element, as a scalar; null where it is omitted. */
function scalar(value: Maybe): Value | null | undefined {
  if (!value) return null;
  const content = constantOf(value);
  if (!content || scalarOf(value) === undefined || sizeOf(content.dims) !== 1) return undefined;
  return content.dims.length === 0 ? value : makeConstant(value.name, { ...content, dims: [] });
}

interface Bytes {
  readonly bytes: Value;
  readonly scale: Value;
  readonly zero: Value | null;
}

function quantizedInput(node: Node, [bytes, scale, zero]: Quantized): Bytes | undefined {
  const [value, s, z] = [node.inputs[bytes], scalar(node.inputs[scale]), scalar(node.inputs[zero])];
  return value && s && z !== undefined && dtypeOf(s) === 'float32' ? { bytes: value, scale: s, zero: z } : undefined;
}

function dequantized(editor: GraphEditor, node: Node, { bytes, scale, zero }: Bytes): Value {
  const output = makeValue(`${bytes.name}_dequantized`, tensorType('float32', shapeOf(bytes)));
  editor.insert(node, { op: 'DequantizeLinear', version: 13, inputs: [bytes, scale, zero] }, [output]);
  return output;
}

function unpack(editor: GraphEditor, node: Node): boolean {
  const form = formOf(node);
  const dtype = dtypeOf(node.outputs[0]);
  if (!form || (dtype !== 'uint8' && dtype !== 'int8')) return false;
  const [scale, zero] = form.output.map((i) => scalar(node.inputs[i]));
  const parts = form.inputs.map((input) =>
    typeof input === 'number' ? node.inputs[input] : quantizedInput(node, input),
  );
  if (!scale || zero === undefined || !parts.every((part) => part) || dtypeOf(scale) !== 'float32') return false;
  const inputs = parts.map((part) =>
    'bytes' in (part as object) ? dequantized(editor, node, part as Bytes) : (part as Value),
  );
  const y = makeValue(`${node.name}_real`, tensorType('float32', shapeOf(node.outputs[0])));
  editor.insert(node, { op: form.op, version: form.version ?? 13, inputs, attributes: form.attributes ?? {} }, [y]);
  const origin = zero ?? makeConstant(`${node.name}_zero`, fromNumbers(dtype, [], [0]));
  editor.fuse([node], node, { op: 'QuantizeLinear', version: 13, inputs: [y, scale, origin] });
  return true;
}

function unpackAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = unpack(editor, node) || changed;
  return changed;
}

export const unpackQLinear: Pass = { name: 'unpack-qlinear', run: (graph) => everyGraph(graph, unpackAll) };

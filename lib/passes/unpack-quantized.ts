/**
 * Operators that multiply bytes and round (QLinearConv, QLinearMatMul, QGemm) with constant weights become the float
 * operator between DequantizeLinear and QuantizeLinear: one form for the rewrites that follow.
 */

import { type Attribute, type Graph, makeConstant, makeValue, type Node, tensorType, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { constantOf, dtypeOf, floatAttribute, int, intAttribute, scalarOf, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

type Maybe = Value | null | undefined;

/** Where an operator keeps its operands: [bytes, scale, zero point]. */
interface Parts {
  readonly x: readonly [Maybe, Maybe, Maybe];
  readonly w: readonly [Maybe, Maybe, Maybe];
  readonly bias: Maybe;
  readonly y: readonly [Maybe, Maybe];
  readonly op: string;
  /** Axis of the weights' output channels. */
  readonly axis: number;
  readonly attributes: Record<string, Attribute>;
}

function partsOf(node: Node): Parts | undefined {
  const i = node.inputs;
  const attributes = Object.fromEntries(node.attributes);
  if (node.op === 'QLinearConv' && intAttribute(node, 'channels_last', 0) === 0) {
    const { channels_last: _, ...conv } = attributes;
    const parts = { x: [i[0], i[1], i[2]], w: [i[3], i[4], i[5]], bias: i[8], y: [i[6], i[7]] } as const;
    return { ...parts, op: 'Conv', axis: 0, attributes: conv };
  }
  if (node.op === 'QLinearMatMul') {
    const parts = { x: [i[0], i[1], i[2]], w: [i[3], i[4], i[5]], bias: undefined, y: [i[6], i[7]] } as const;
    return { ...parts, op: 'MatMul', axis: 1, attributes: {} };
  }
  if (node.op === 'QGemm' && floatAttribute(node, 'alpha', 1) === 1) {
    const parts = { x: [i[0], i[1], i[2]], w: [i[3], i[4], i[5]], bias: i[6], y: [i[7], i[8]] } as const;
    return { ...parts, op: 'Gemm', axis: intAttribute(node, 'transB', 0) ? 0 : 1, attributes };
  }
  return undefined;
}

const isConstant = (value: Maybe): boolean => !value || constantOf(value) !== undefined;

/** Scale and zero point as a vector along an axis of `count`, or as scalars. */
function vector(value: Maybe, count: number): Value | undefined {
  const content = constantOf(value);
  if (!value || !content) return undefined;
  const size = sizeOf(content.dims);
  if (size === 1 && content.dims.length === 0) return value;
  if (size !== 1 && size !== count) return undefined;
  return makeConstant(value.name, { ...content, dims: size === 1 ? [] : [count] });
}

function dequantize(editor: GraphEditor, node: Node, inputs: (Value | null)[], axis: number): Value {
  const name = inputs[0]?.name ?? node.name;
  const output = makeValue(`${name}_dequantized`, tensorType('float32', shapeOf(inputs[0])));
  const spec = { op: 'DequantizeLinear', version: 13, inputs, attributes: { axis: int(axis) } };
  editor.insert(node, spec, [output]);
  return output;
}

/** The bias as DequantizeLinear of int32 in units of the scales' product. */
function dequantizedBias(editor: GraphEditor, node: Node, bias: Value, x: number, w: HostTensor): Value {
  const scale = Float32Array.from(toNumbers(w), (s) => Math.fround(x * s));
  const dims = scale.length === 1 ? [] : [scale.length];
  return dequantize(editor, node, [bias, makeConstant(`${bias.name}_scale`, tensor('float32', dims, scale)), null], 0);
}

function unpack(editor: GraphEditor, node: Node): boolean {
  const parts = partsOf(node);
  const weights = constantOf(parts?.w[0]);
  if (!parts || !weights || (parts.op !== 'Conv' && weights.dims.length !== 2)) return false;
  const [x, xScale, xZero] = parts.x;
  const [yScale, yZero] = parts.y;
  const scale = scalarOf(xScale);
  const channels = weights.dims[parts.axis];
  const wScale = vector(parts.w[1], channels);
  const wZero = parts.w[2] ? vector(parts.w[2], channels) : null;
  const known = scale !== undefined && wScale && wZero !== undefined && [xZero, yZero, parts.bias].every(isConstant);
  if (!known || !x || !xScale || !yScale || scalarOf(yScale) === undefined) return false;
  if (!yZero || dtypeOf(yScale) !== 'float32' || dtypeOf(xScale) !== 'float32') return false;
  const bias = parts.bias ? constantOf(parts.bias, 'int32') : undefined;
  if (parts.bias && (!bias || sizeOf(bias.dims) !== channels)) return false;
  const inputs = [dequantize(editor, node, [x, xScale, xZero ?? null], 0)];
  inputs.push(dequantize(editor, node, [parts.w[0] as Value, wScale, wZero], parts.axis));
  if (parts.bias) {
    const row = makeConstant(parts.bias.name, { ...(bias as HostTensor), dims: [channels] });
    inputs.push(dequantizedBias(editor, node, row, scale, constantOf(wScale, 'float32') as HostTensor));
  }
  const y = makeValue(`${node.name}_sums`, tensorType('float32', shapeOf(node.outputs[0])));
  editor.insert(node, { op: parts.op, version: 13, inputs, attributes: parts.attributes }, [y]);
  editor.fuse([node], node, { op: 'QuantizeLinear', version: 13, inputs: [y, yScale, yZero] });
  return true;
}

function unpackAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = unpack(editor, node) || changed;
  return changed;
}

export const unpackQuantized: Pass = { name: 'unpack-quantized', run: (graph) => everyGraph(graph, unpackAll) };

/**
 * Operators that multiply bytes with constant weights become the float operator after DequantizeLinear, and before
 * QuantizeLinear where they round (QLinearConv, QLinearMatMul, QGemm): one form for the rewrites that follow. Of dynamic
 * quantization so do ConvInteger and MatMulInteger whose sums are scaled at once, and com.microsoft's short forms of it,
 * QAttention among them.
 */

import { type Attribute, type Graph, makeConstant, makeValue, type Node, tensorType, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { bothWays, constantOf, dtypeOf, floatAttribute, int, intAttribute, isOp, scalarOf, shapeOf } from './match.ts';
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

/** x and the constant in a product of two, in either order. */
function factors(node: Node | undefined): readonly [x: Value, constant: Value] | undefined {
  const [a, b] = isOp(node, 'Mul') ? node.inputs : [];
  if (!a || !b) return undefined;
  if (constantOf(b, 'float32')) return [a, b];
  return constantOf(a, 'float32') ? [b, a] : undefined;
}

const isScalar = (value: Maybe): boolean => shapeOf(value)?.every((dim) => dim === 1) ?? false;

/** The weights dequantized along axis `axis`; undefined where their parameters fit no such form. */
function dequantizedWeights(editor: GraphEditor, node: Node, w: readonly Maybe[], axis: number): Value | undefined {
  const content = constantOf(w[0]);
  const channels = content?.dims[axis];
  const scale = channels === undefined ? undefined : vector(w[1], channels);
  const zero = w[2] && channels !== undefined ? vector(w[2], channels) : null;
  if (!w[0] || !scale || zero === undefined || (axis === 1 && content?.dims.length !== 2)) return undefined;
  // A zero point for all channels beside a scale for each, or the other way round, has no place in DequantizeLinear.
  if (zero && shapeOf(zero)?.length !== shapeOf(scale)?.length) return undefined;
  return dequantize(editor, node, [w[0], scale, zero], axis);
}

/** Sums of products of bytes, times both scales: Mul(Cast(MatMulInteger(x, w)), Mul(scale of x, scale of w)). */
function unpackScaledSums(editor: GraphEditor, node: Node): boolean {
  if (!isOp(node, 'Mul')) return false;
  for (const [sums, scales] of bothWays(node)) {
    const cast = isOp(sums.producer, 'Cast') ? sums.producer : undefined;
    const product = cast?.inputs[0]?.producer;
    const known = factors(scales.producer);
    if (!cast || !known || !isOp(product, 'MatMulInteger', 'ConvInteger') || !isScalar(known[0])) continue;
    if (editor.onlyReader(sums) !== node || editor.onlyReader(cast.inputs[0] as Value) !== cast) continue;
    const [x, w, xZero, wZero] = product.inputs;
    const conv = product.op === 'ConvInteger';
    if (!x || (xZero && !isScalar(xZero)) || dtypeOf(sums) !== 'float32') continue;
    const weights = dequantizedWeights(editor, node, [w, known[1], wZero], conv ? 0 : 1);
    if (!weights) continue;
    const inputs = [dequantize(editor, node, [x, known[0], xZero ?? null], 0), weights];
    const attributes = conv ? Object.fromEntries(product.attributes) : {};
    editor.fuse([product, cast, node], node, { op: conv ? 'Conv' : 'MatMul', version: 13, inputs, attributes });
    return true;
  }
  return false;
}

/** com.microsoft: MatMulIntegerToFloat and DynamicQuantizeMatMul. */
function unpackShortForm(editor: GraphEditor, node: Node): boolean {
  if (node.domain !== 'com.microsoft') return false;
  const i = node.inputs;
  const dynamic = node.op === 'DynamicQuantizeMatMul';
  if (!dynamic && node.op !== 'MatMulIntegerToFloat') return false;
  const [w, bias] = dynamic ? [[i[1], i[2], i[3]], i[4]] : [[i[1], i[3], i[5]], i[6]];
  const constant = isConstant(w[0]) && isConstant(w[1]) && isConstant(w[2]) && i[0];
  if (!constant || dtypeOf(node.outputs[0]) !== 'float32') return false;
  if (!dynamic && (!isScalar(i[2]) || (i[4] && !isScalar(i[4])))) return false;
  const weights = dequantizedWeights(editor, node, w, 1);
  if (!weights) return false;
  let x = [i[0] as Value, i[2] as Value, i[4] ?? null] as (Value | null)[];
  if (dynamic) {
    x = [
      makeValue(`${node.name}_x`, tensorType('uint8', shapeOf(i[0]))),
      makeValue(`${node.name}_scale`, tensorType('float32', [])),
      makeValue(`${node.name}_zero`, tensorType('uint8', [])),
    ];
    editor.insert(node, { op: 'DynamicQuantizeLinear', version: 11, inputs: [i[0] as Value] }, x);
  }
  const inputs = [dequantize(editor, node, x, 0), weights];
  if (!bias) {
    editor.fuse([node], node, { op: 'MatMul', version: 13, inputs });
    return true;
  }
  const y = makeValue(`${node.name}_product`, tensorType('float32', shapeOf(node.outputs[0])));
  editor.insert(node, { op: 'MatMul', version: 13, inputs }, [y]);
  editor.fuse([node], node, { op: 'Add', version: 13, inputs: [y, bias] });
  return true;
}

/** QAttention: its product of bytes, and attention on what that gives. */
function unpackAttention(editor: GraphEditor, node: Node): boolean {
  if (node.domain !== 'com.microsoft' || node.op !== 'QAttention') return false;
  const [x, w, bias, xScale, wScale, mask = null, xZero = null, wZero, past = null] = node.inputs;
  const constant = isConstant(w) && isConstant(wScale) && isConstant(wZero);
  if (!constant || !x || !bias || !xScale || !isScalar(xScale) || (xZero && !isScalar(xZero))) return false;
  if (dtypeOf(node.outputs[0]) !== 'float32') return false;
  const weights = dequantizedWeights(editor, node, [w, wScale, wZero], 1);
  if (!weights) return false;
  const [batch, length] = shapeOf(x) ?? [null, null];
  const type = tensorType('float32', [batch, length, constantOf(w)?.dims[1] ?? null]);
  const [product, sums] = [makeValue(`${node.name}_product`, type), makeValue(`${node.name}_sums`, type)];
  const inputs = [dequantize(editor, node, [x, xScale, xZero], 0), weights];
  editor.insert(node, { op: 'MatMul', version: 13, inputs }, [product]);
  editor.insert(node, { op: 'Add', version: 14, inputs: [product, bias] }, [sums]);
  const attributes = Object.fromEntries(node.attributes);
  const attention = { op: 'ProjectedAttention', domain: 'filigree', version: 1, attributes };
  editor.fuse([node], node, { ...attention, inputs: [sums, mask, past] });
  return true;
}

function unpackAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) {
    const unpacked = [unpack, unpackScaledSums, unpackShortForm, unpackAttention].some((each) => each(editor, node));
    changed = unpacked || changed;
  }
  return changed;
}

export const unpackQuantized: Pass = { name: 'unpack-quantized', run: (graph) => everyGraph(graph, unpackAll) };

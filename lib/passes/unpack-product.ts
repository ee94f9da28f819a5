/**
 * com.microsoft's transposed and scaled products, and Gemm of computed matrices, become Transpose, MatMul, Mul and Add,
 * which other rewrites know.
 */

import { type Graph, makeConstant, makeValue, type Node, tensorType, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { constantOf, dtypeOf, floatAttribute, intAttribute, ints, isOp, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

const VERSION = 13;

/** The axes' order after the transpositions that the attributes of a side ask for; undefined where they do not fit. */
function orderOf(node: Node, side: 'A' | 'B', rank: number): number[] | undefined {
  const order = Array.from({ length: rank }, (_, i) => i);
  if (intAttribute(node, `transBatch${side}`, 0) !== 0) {
    if (rank < 3) return undefined;
    order.splice(rank - 2, 0, order.shift() as number);
  }
  // A vector stays as it is.
  if (rank > 1 && intAttribute(node, `trans${side}`, 0) !== 0) order.push(...order.splice(rank - 2, 2).reverse());
  return order;
}

function transposed(editor: GraphEditor, node: Node, value: Value, order: readonly number[]): Value {
  if (order.every((axis, i) => axis === i)) return value;
  const shape = shapeOf(value) ?? [];
  const type = tensorType(
    dtypeOf(value) ?? 'float32',
    order.map((axis) => shape[axis]),
  );
  const y = makeValue(`${node.name}_transposed`, type);
  editor.insert(node, { op: 'Transpose', version: VERSION, inputs: [value], attributes: { perm: ints(order) } }, [y]);
  return y;
}

function unpack(editor: GraphEditor, node: Node): boolean {
  const [a, b] = node.inputs;
  const dtype = dtypeOf(node.outputs[0]);
  const [left, right] = [shapeOf(a), shapeOf(b)];
  if (node.domain !== 'com.microsoft' || !['FusedMatMul', 'TransposeMatMul'].includes(node.op)) return false;
  if (!a || !b || !left || !right || !dtype) return false;
  const orders = [orderOf(node, 'A', left.length), orderOf(node, 'B', right.length)];
  if (!orders[0] || !orders[1]) return false;
  const alpha = floatAttribute(node, 'alpha', 1);
  const factor = makeConstant(`${node.name}_alpha`, fromNumbers(dtype, [], [alpha]));
  const inputs = [transposed(editor, node, a, orders[0]), transposed(editor, node, b, orders[1])];
  if (alpha === 1) {
    editor.fuse([node], node, { op: 'MatMul', version: VERSION, inputs });
    return true;
  }
  if (constantOf(b)) {
    // Scaled weights are constants again.
    const scaled = makeValue(`${node.name}_scaled`, inputs[1].type);
    editor.insert(node, { op: 'Mul', version: VERSION, inputs: [inputs[1], factor] }, [scaled]);
    editor.fuse([node], node, { op: 'MatMul', version: VERSION, inputs: [inputs[0], scaled] });
    return true;
  }
  const y = makeValue(`${node.name}_product`, node.outputs[0]?.type);
  editor.insert(node, { op: 'MatMul', version: VERSION, inputs }, [y]);
  editor.fuse([node], node, { op: 'Mul', version: VERSION, inputs: [y, factor] });
  return true;
}

/** Dims of float32 that are constant, or made of constant bytes. */
function constantDims(value: Value): readonly number[] | undefined {
  const node = value.producer;
  if (!node) return constantOf(value, 'float32')?.dims;
  const settled = isOp(node, 'DequantizeLinear') && node.inputs.every((input) => !input || constantOf(input));
  return settled && dtypeOf(value) === 'float32' ? constantOf(node.inputs[0])?.dims : undefined;
}

/** True where Gemm becomes a layer with constant weights and bias. */
function isLayer(node: Node, columns: unknown): boolean {
  const [, b, c] = node.inputs;
  if (!b || !constantDims(b) || intAttribute(node, 'transA', 0) !== 0) return false;
  if (!c) return true;
  const dims = constantDims(c);
  const size = dims ? sizeOf(dims) : 0;
  return dims !== undefined && (size === 1 || (size === columns && dims.at(-1) === columns));
}

function scaledBy(editor: GraphEditor, node: Node, value: Value, factor: number): Value {
  if (factor === 1) return value;
  const y = makeValue(`${node.name}_scaled`, value.type);
  const constant = makeConstant(`${node.name}_factor`, fromNumbers(dtypeOf(value) ?? 'float32', [], [factor]));
  editor.insert(node, { op: 'Mul', version: VERSION, inputs: [value, constant] }, [y]);
  return y;
}

function unpackGemm(editor: GraphEditor, node: Node): boolean {
  const [a, b, c] = node.inputs;
  const out = node.outputs[0]?.type;
  if (!isOp(node, 'Gemm') || node.version < 7 || !a || !b || out?.kind !== 'tensor' || out.dtype !== 'float32')
    return false;
  if (shapeOf(a)?.length !== 2 || shapeOf(b)?.length !== 2 || isLayer(node, out.shape?.[1])) return false;
  const turned = (value: Value, side: 'A' | 'B'): Value =>
    transposed(editor, node, value, intAttribute(node, `trans${side}`, 0) ? [1, 0] : [0, 1]);
  const product = makeValue(`${node.name}_product`, out);
  editor.insert(node, { op: 'MatMul', version: VERSION, inputs: [turned(a, 'A'), turned(b, 'B')] }, [product]);
  const scaled = scaledBy(editor, node, product, floatAttribute(node, 'alpha', 1));
  const addend = c ? scaledBy(editor, node, c, floatAttribute(node, 'beta', 1)) : undefined;
  const inputs = addend ? [scaled, addend] : [scaled];
  editor.fuse([node], node, { op: addend ? 'Add' : 'Identity', version: VERSION, inputs });
  return true;
}

function unpackAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = unpack(editor, node) || unpackGemm(editor, node) || changed;
  return changed;
}

export const unpackProduct: Pass = { name: 'unpack-product', run: (graph) => everyGraph(graph, unpackAll) };

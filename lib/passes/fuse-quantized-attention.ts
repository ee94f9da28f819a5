/** Attention whose operands, scores and weights a quantized graph rounds to bytes becomes one attention over bytes. */

import type { Node, Value } from '../ir/graph.ts';
import { everyGraph, type GraphEditor } from './editor.ts';
import {
  type AttentionOperand,
  absorbMerge,
  atSoftmaxes,
  maskOf,
  operandOf,
  overLastAxis,
  scoresOf,
} from './fuse-attention.ts';
import { float, int, isOp, shapeOf, string } from './match.ts';
import type { Pass } from './pass.ts';
import { bytesBehind, dequantizes, type Quantization, quantizes, sameQuantization } from './quantized-view.ts';

const { fround } = Math;

/** Bytes, how they stand for numbers, and the order of their axes. */
interface Bytes {
  readonly operand: AttentionOperand;
  readonly how: Quantization;
}

function bytesOf(value: Value | null | undefined, layout: string): Bytes | undefined {
  const found = bytesBehind(value);
  if (!found || found.value.constant || shapeOf(value)?.length !== layout.length) return undefined;
  const operand = operandOf(found.value, layout);
  return operand.scale === 1 ? { operand, how: found.how } : undefined;
}

/** The rounding of a product to bytes that are made floats again at once, seen from there. */
function roundedProduct(editor: GraphEditor, back: Node): { product: Node; how: Quantization } | undefined {
  const how = dequantizes(back);
  const q = editor.onlyReader(back.outputs[0] as Value) && editor.privateProducer(back.inputs[0]);
  const product = q && editor.privateProducer(q.inputs[0]);
  return how && isOp(product, 'MatMul') && sameQuantization(quantizes(q), how) ? { product, how } : undefined;
}

/** The product with the values after the weights are rounded, and its own rounding. */
function weighted(editor: GraphEditor, softmax: Node) {
  const q = editor.onlyReader(softmax.outputs[0] as Value);
  const how = quantizes(q);
  const back = how && q && editor.onlyReader(q.outputs[0] as Value);
  if (!back || !sameQuantization(how, dequantizes(back))) return undefined;
  const weights = back.outputs[0] as Value;
  const product = editor.onlyReader(weights);
  if (!product || !isOp(product, 'MatMul') || product.inputs[0] !== weights) return undefined;
  const last = editor.onlyReader(product.outputs[0] as Value);
  const result = quantizes(last);
  return last && result ? { how, product, last, result } : undefined;
}

function fuseAt(editor: GraphEditor, softmax: Node): boolean {
  const rank = overLastAxis(softmax);
  const after = rank && weighted(editor, softmax);
  const scores = rank && scoresOf(softmax.inputs[0], (node) => roundedProduct(editor, node) !== undefined);
  const before = scores && roundedProduct(editor, scores.product);
  if (!after || !before || !scores) return false;
  const axes = 'bhsd'.slice(4 - rank);
  const q = bytesOf(before.product.inputs[0], axes);
  const k = bytesOf(before.product.inputs[1], `${axes.slice(0, -2)}ds`);
  const v = bytesOf(after.product.inputs[1], axes);
  if (!q || !k || !v || !(scores.scale > 0)) return false;
  const mask = maskOf(editor, after.last, scores.maskings);
  const attributes = {
    ...{ q_layout: string(q.operand.layout), k_layout: string(k.operand.layout) },
    ...{ v_layout: string(v.operand.layout), y_layout: string(axes) },
    ...{ q_zero_point: int(q.how.zero), k_zero_point: int(k.how.zero), v_zero_point: int(v.how.zero) },
    ...{ scores_type: string(before.how.dtype), scores_zero_point: int(before.how.zero) },
    score_factor: float(fround(fround(q.how.scale * k.how.scale) / before.how.scale)),
    score_scale: float(fround(before.how.scale * scores.scale)),
    ...{ weights_type: string(after.how.dtype), weights_zero_point: int(after.how.zero) },
    weight_scale: float(after.how.scale),
    value_factor: float(fround(fround(after.how.scale * v.how.scale) / after.result.scale)),
    ...{ y_type: string(after.result.dtype), y_zero_point: int(after.result.zero) },
  };
  const inputs = [q.operand.value, k.operand.value, v.operand.value, ...(mask ? [mask] : [])];
  const spec = { op: 'QAttention', domain: 'filigree', version: 1, inputs, attributes };
  absorbMerge(editor, editor.fuse([after.last], after.last, spec), axes);
  return true;
}

export const fuseQuantizedAttention: Pass = {
  name: 'fuse-quantized-attention',
  run: (graph) => everyGraph(graph, (each) => atSoftmaxes(each, fuseAt)),
};

/** Multiply-adds of nodes and the weights they use: for reports, never for results. */

import type { Node, Value } from '../ir/graph.ts';
import { sizeBetween, sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';

/** Concrete dimensions of a value, where they are known. */
export type DimsOf = (value: Value) => readonly number[] | undefined;

/** A node's constant weight. */
export interface Weight {
  readonly tensor: HostTensor;
  /** The axis that is summed over. */
  readonly axis: number;
}

const convolutions = new Set(['Conv', 'FusedConv', 'ConvInteger', 'QConv', 'QLinearConv']);
const products = new Set(['MatMul', 'Gemm', 'FusedMatMul', 'FusedGemm', 'MatMulInteger', 'QLinearMatMul']);
for (const name of ['Linear', 'QLinear', 'MatMulIntegerToFloat', 'DynamicQuantizeMatMul']) {
  products.add(name);
}
const recurrent = new Set(['LSTM', 'GRU', 'RNN']);
const attentions = new Set(['Attention', 'QAttention', 'MultiHeadAttention', 'GroupQueryAttention']);

const flag = (node: Node, name: string): boolean => {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'int' && attribute.value !== 0;
};

/** Position of the second factor among the inputs. */
const factorAt = (node: Node): number => (node.op.startsWith('QLinear') && node.domain !== 'filigree' ? 3 : 1);

/** The constant weight of a convolution, a matrix product or a recurrent layer. */
export function weightOf(node: Node): Weight | undefined {
  const convolution = convolutions.has(node.op) || node.op === 'ConvTranspose';
  if (!convolution && !products.has(node.op) && !recurrent.has(node.op)) return undefined;
  const content = node.inputs[factorAt(node)]?.constant;
  if (content?.kind !== 'tensor' || content.dims.length < 2) return undefined;
  if (node.op === 'ConvTranspose') return { tensor: content, axis: 0 };
  if (convolution) return { tensor: content, axis: 1 };
  if (recurrent.has(node.op)) return { tensor: content, axis: 2 };
  return { tensor: content, axis: content.dims.length - (flag(node, 'transB') ? 1 : 2) };
}

/** All constant weights a node multiplies with: a recurrent layer has those of its state beside those of its input. */
export function weightsOf(node: Node): Weight[] {
  const first = weightOf(node);
  const state = recurrent.has(node.op) ? node.inputs[2]?.constant : undefined;
  const second = state?.kind === 'tensor' && state.dims.length === 3 ? { tensor: state, axis: 2 } : undefined;
  return [first, second].filter((weight) => weight !== undefined);
}

/** Multiply-adds of one execution with every weight counted; undefined where they are not known, or not the point. */
export function macsOf(node: Node, dimsOf: DimsOf): number | undefined {
  const input = (i: number): readonly number[] | undefined => {
    const value = node.inputs[i];
    const content = value?.constant;
    return content?.kind === 'tensor' ? content.dims : value ? dimsOf(value) : undefined;
  };
  const output = node.outputs[0] ? dimsOf(node.outputs[0]) : undefined;
  if (convolutions.has(node.op)) return convolutionMacs(output, input(factorAt(node)), 0);
  if (node.op === 'ConvTranspose') return convolutionMacs(input(0), input(1), 0);
  if (products.has(node.op)) return productMacs(node, input(0), output);
  if (recurrent.has(node.op)) return recurrentMacs(input(0), input(1), input(2));
  if (attentions.has(node.op)) return attentionMacs(node, input(0), input(1), input(2));
  return undefined;
}

type Dims = readonly number[] | undefined;

/** Every position of `map` [N, C, ...] meets each weight of its channel; `axis` of the weight counts those channels. */
function convolutionMacs(map: Dims, weight: Dims, axis: number): number | undefined {
  if (!map || !weight || map.length < 2) return undefined;
  return map[0] * sizeBetween(map, 2, map.length) * weight[axis] * (sizeOf(weight) / Math.max(1, weight[axis]));
}

function productMacs(node: Node, a: Dims, output: Dims): number | undefined {
  if (!a || !output || a.length === 0) return undefined;
  const depth = flag(node, 'transA') && a.length > 1 ? a[a.length - 2] : a[a.length - 1];
  return sizeOf(output) * depth;
}

function recurrentMacs(x: Dims, w: Dims, r: Dims): number | undefined {
  return x && w && r && x.length === 3 ? x[0] * x[1] * (sizeOf(w) + sizeOf(r)) : undefined;
}

/** Sizes of an operand of attention by the letters of its axes: b(atch), h(eads), s(equence), d (head size). */
function axesOf(node: Node, name: string, dims: Dims): Map<string, number> | undefined {
  const attribute = node.attributes.get(name);
  const letters = attribute?.type === 'string' ? attribute.value : dims?.length === 4 ? 'bhsd' : 'bsd';
  return dims && letters.length === dims.length ? new Map(dims.map((dim, i) => [letters[i], dim])) : undefined;
}

/** Products of queries with keys and of their weights with values, masked ones included. */
function attentionMacs(node: Node, q: Dims, k: Dims, v: Dims): number | undefined {
  const [query, key, value] = [axesOf(node, 'q_layout', q), axesOf(node, 'k_layout', k), axesOf(node, 'v_layout', v)];
  if (!query || !key || !value) return undefined;
  const size = (axes: Map<string, number>, letter: string): number => axes.get(letter) ?? 1;
  const most = (letter: string): number => Math.max(size(query, letter), size(key, letter), size(value, letter));
  const pairs = most('b') * most('h') * size(query, 's') * size(key, 's');
  return pairs * (size(query, 'd') + size(value, 'd'));
}

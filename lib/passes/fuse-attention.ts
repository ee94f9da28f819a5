/** Products, softmax and the transposes around them become one attention. */

import { type Graph, makeConstant, type Node, tensorType, type Value } from '../ir/graph.ts';
import { isConcrete } from '../ir/shape.ts';
import { int64Vector, tensor } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import {
  bothWays,
  float,
  int,
  intAttribute,
  isFloat32,
  isOp,
  permOf,
  producedBy,
  scalarOf,
  scaled,
  shapeOf,
  string,
} from './match.ts';
import type { Pass } from './pass.ts';

/** An operand with its layout and what it was multiplied by. */
export interface AttentionOperand {
  readonly value: Value;
  readonly layout: string;
  readonly scale: number;
}

/**
 * What happens to scores: a mask is added, perhaps to scores whose batch axis is cut in two (`windows`), or where a
 * condition is not `keep` they give way to a huge negative `by`.
 */
type Masking =
  | { readonly mask: Value; readonly windows?: Windows }
  | { readonly condition: Value; readonly by: Value; readonly keep: boolean };

/** A batch of `images` times `each`, and the mask's own sizes over [images, each, heads, queries, keys]. */
interface Windows {
  readonly images: number;
  readonly each: number;
  readonly sizes: readonly number[];
}

/** scale * q k, then maskings in order. */
export interface Scores {
  /** What the scores come from: their product, or the bytes that it was rounded to. */
  readonly product: Node;
  readonly scale: number;
  readonly maskings: readonly Masking[];
}

/** At least as low as this, a score plus the number is the number in float32 for any sensible score. */
const HUGE = -1e9;

/** True for a softmax over the last axis. */
export function overLastAxis(node: Node): number | undefined {
  const rank = shapeOf(node.outputs[0])?.length;
  if (rank === undefined || rank < 3 || rank > 4) return undefined;
  const axis = intAttribute(node, 'axis', node.version < 13 ? 1 : -1);
  return axis === -1 || axis === rank - 1 ? rank : undefined;
}

type Root = (node: Node) => boolean;

/** Reads the softmax's input backwards to the node that `root` accepts. */
export function scoresOf(value: Value | null | undefined, root: Root, depth = 0): Scores | undefined {
  const node = value?.producer;
  if (!value || !node || depth > 6) return undefined;
  if (root(node)) return { product: node, scale: 1, maskings: [] };
  const factor = scaled(value);
  if (factor) {
    const inner = scoresOf(factor[0], root, depth + 1);
    return inner?.maskings.length === 0 ? { ...inner, scale: inner.scale * factor[1] } : undefined;
  }
  if (isOp(node, 'Add')) {
    for (const [scores, mask] of bothWays(node)) {
      const inner = scoresOf(scores, root, depth + 1);
      if (inner && fitsScores(mask, scores)) return { ...inner, maskings: [...inner.maskings, { mask }] };
    }
  }
  if (isOp(node, 'Reshape')) return windowScores(node, root, depth);
  return isOp(node, 'Where') ? hiddenScores(node, root, depth) : undefined;
}

/** Scores of windows: a mask for the windows of an image is added while the batch axis is cut in images and windows. */
function windowScores(back: Node, root: Root, depth: number): Scores | undefined {
  const sum = producedBy(back.inputs[0], 'Add');
  for (const [cut, mask] of sum ? bothWays(sum) : []) {
    const scores = producedBy(cut, 'Reshape')?.inputs[0];
    const [whole, inner, out] = [scores, cut, back.outputs[0]].map(concreteShape);
    const own = concreteShape(mask);
    if (!scores || !whole || !inner || !out || !own || own.length > 5) continue;
    const sizes = [1, 1, 1, 1, 1].slice(own.length).concat(own);
    const [images, each, ...rest] = inner;
    const regroups = [images * each, ...rest].join() === whole.join() && out.join() === whole.join();
    if (inner.length !== 5 || !regroups || sizes.some((size, i) => size !== 1 && size !== inner[i])) continue;
    const found = scoresOf(scores, root, depth + 1);
    if (found) return { ...found, maskings: [...found.maskings, { mask, windows: { images, each, sizes } }] };
  }
  return undefined;
}

function concreteShape(value: Value | null | undefined): readonly number[] | undefined {
  const shape = shapeOf(value);
  return shape && isConcrete(shape) ? shape : undefined;
}

function hiddenScores(node: Node, root: Root, depth: number): Scores | undefined {
  const [condition, a, b] = node.inputs;
  for (const [scores, by, keep] of [[a, b, true] as const, [b, a, false] as const]) {
    const number = scalarOf(by);
    if (number === undefined || number > HUGE || !scores || !by || !condition) continue;
    const inner = scoresOf(scores, root, depth + 1);
    if (inner && fitsScores(condition, scores))
      return { ...inner, maskings: [...inner.maskings, { condition, by, keep }] };
  }
  return undefined;
}

/** False where the mask may be larger than scores of which a size is known to be 1. */
function fitsScores(mask: Value, scores: Value): boolean {
  const [small, large] = [shapeOf(mask), shapeOf(scores)];
  if (!small || !large || small.length > large.length) return false;
  const lead = large.length - small.length;
  return small.every((dim, i) => dim === 1 || large[lead + i] !== 1);
}

/** Takes transposes and scales off an operand whose axes mean `layout`. */
export function operandOf(value: Value, layout: string): AttentionOperand {
  const factor = scaled(value);
  if (factor) {
    const inner = operandOf(factor[0], layout);
    return { ...inner, scale: inner.scale * factor[1] };
  }
  const turn = producedBy(value, 'Transpose');
  const from = turn?.inputs[0];
  if (turn && from) return operandOf(from, before(layout, permOf(turn, layout.length)));
  const turned = flatTurn(value);
  if (turned) return operandOf(turned, layout.slice(0, -2) + layout.slice(-1) + layout.slice(-2, -1));
  return { value, layout, scale: 1 };
}

/** The layout of a transpose's input where its output has this layout. */
function before(layout: string, perm: readonly number[]): string {
  const letters = [...layout];
  perm.forEach((axis, i) => {
    letters[axis] = layout[i];
  });
  return letters.join('');
}

/** [b, h, s, d] where the value is [b, h, d, s], by way of [b * h, s, d] and [b * h, d, s]. */
function flatTurn(value: Value): Value | undefined {
  const turn = producedBy(producedBy(value, 'Reshape')?.inputs[0], 'Transpose');
  const flat = turn?.inputs[0];
  const from = producedBy(flat, 'Reshape')?.inputs[0];
  const [out, inner, whole] = [shapeOf(value), shapeOf(flat), shapeOf(from)];
  if (!turn || !from || inner?.length !== 3 || whole?.length !== 4 || out?.length !== 4) return undefined;
  const same = (a: unknown, b: unknown): boolean => a !== null && a === b;
  const swaps = String(permOf(turn, 3)) === '0,2,1';
  const keeps = same(inner[1], whole[2]) && same(inner[2], whole[3]) && same(out[0], whole[0]);
  return swaps && keeps && same(out[1], whole[1]) && same(out[2], whole[3]) ? from : undefined;
}

/** The product with the values, and whether rows that are not numbers become zeros on the way. */
function valueProduct(editor: GraphEditor, softmax: Node): { product: Node; zero: boolean } | undefined {
  const weights = softmax.outputs[0] as Value;
  const only = editor.onlyReader(weights);
  if (only) return isOp(only, 'MatMul') && only.inputs[0] === weights ? { product: only, zero: false } : undefined;
  const readers = editor.readersOf(weights);
  const test = readers.find((node) => isOp(node, 'IsNaN'));
  const choice = readers.find((node) => isOp(node, 'Where'));
  if (readers.length !== 2 || !test || !choice || editor.isOutput(weights)) return undefined;
  const clean = choice.outputs[0] as Value;
  const [condition, a, b] = choice.inputs;
  const product = editor.onlyReader(clean);
  if (condition !== test.outputs[0] || b !== weights || scalarOf(a) !== 0) return undefined;
  return isOp(product, 'MatMul') && product.inputs[0] === clean ? { product, zero: true } : undefined;
}

/** The mask over [batch, heads, queries, keys]. */
function wholeMask(editor: GraphEditor, anchor: Node, mask: Value, windows: Windows | undefined): Value {
  if (!windows) return mask;
  const { images, each, sizes } = windows;
  const vary = sizes[0] > 1 || sizes[1] > 1;
  const wide = vary ? [images, each, ...sizes.slice(2)] : sizes;
  const shaped = (op: string, value: Value, dims: readonly number[]): Value => {
    const shape = makeConstant(`${anchor.name}_mask_shape`, int64Vector(dims));
    return typed(editor.insert(anchor, { op, version: 13, inputs: [value, shape] }), 'float32', dims);
  };
  const repeated = wide.join() === sizes.join() ? mask : shaped('Expand', mask, wide);
  return shaped('Reshape', repeated, [wide[0] * wide[1], ...wide.slice(2)]);
}

/** One additive mask for all maskings; what gives way does so whatever was added before. */
export function maskOf(editor: GraphEditor, anchor: Node, maskings: readonly Masking[]): Value | undefined {
  let mask: Value | undefined;
  for (const masking of maskings) {
    if ('mask' in masking) {
      const added = wholeMask(editor, anchor, masking.mask, masking.windows);
      const sum = mask && editor.insert(anchor, { op: 'Add', version: 14, inputs: [mask, added] });
      mask = sum ? typed(sum, 'float32', undefined) : added;
      continue;
    }
    const { condition, by, keep } = masking;
    mask ??= makeConstant(`${anchor.name}_open`, tensor('float32', [], Float32Array.of(0)));
    const inputs = keep ? [condition, mask, by] : [condition, by, mask];
    mask = typed(editor.insert(anchor, { op: 'Where', version: 16, inputs }), 'float32', undefined);
  }
  return mask;
}

function typed(node: Node, ...type: Parameters<typeof tensorType>): Value {
  const output = node.outputs[0] as Value;
  output.type = tensorType(...type);
  return output;
}

/** The transpose that alone reads the output, readers of its shape aside. */
function mergingTranspose(editor: GraphEditor, y: Value): { turn: Node; shapes: readonly Node[] } | undefined {
  if (editor.isOutput(y)) return undefined;
  const readers = editor.readersOf(y);
  const [turn, ...more] = readers.filter((node) => !isOp(node, 'Shape'));
  if (!isOp(turn, 'Transpose') || more.length) return undefined;
  return { turn, shapes: readers.filter((node) => node !== turn) };
}

/** Readers of the shape before the transpose pick from the shape after it. */
function redirectShapes(editor: GraphEditor, y: Value, shapes: readonly Node[], perm: readonly number[]): void {
  const rank = perm.length;
  const clamp = (v: number): number => Math.min(Math.max(v < 0 ? v + rank : v, 0), rank);
  for (const node of shapes) {
    const range = [clamp(intAttribute(node, 'start', 0)), clamp(intAttribute(node, 'end', rank))];
    const wanted = perm.map((_, axis) => perm.indexOf(axis)).slice(range[0], range[1]);
    const shape = editor.insert(node, { op: 'Shape', version: 13, inputs: [y] });
    const whole = typed(shape, 'int64', [rank]);
    const indices = makeConstant(`${node.name}_axes`, int64Vector(wanted));
    editor.fuse([node], node, { op: 'Gather', version: 13, inputs: [whole, indices], attributes: { axis: int(0) } });
  }
}

function fuseAt(editor: GraphEditor, softmax: Node): boolean {
  const rank = overLastAxis(softmax);
  const scores = rank && scoresOf(softmax.inputs[0], (node) => isOp(node, 'MatMul'));
  const weighted = scores && valueProduct(editor, softmax);
  if (!rank || !scores || !weighted) return false;
  const [qValue, kValue] = scores.product.inputs as Value[];
  const vValue = weighted.product.inputs[1] as Value;
  if ([qValue, kValue, vValue].some((value) => shapeOf(value)?.length !== rank)) return false;
  const axes = 'bhsd'.slice(4 - rank);
  const q = operandOf(qValue, axes);
  const k = operandOf(kValue, `${axes.slice(0, -2)}ds`);
  const v = operandOf(vValue, axes);
  // A factor of the values is no factor of the scores.
  const values = v.scale === 1 ? v : { value: vValue, layout: axes };
  const last = weighted.product;
  const mask = maskOf(editor, last, scores.maskings);
  const attributes = {
    q_layout: string(q.layout),
    k_layout: string(k.layout),
    v_layout: string(values.layout),
    y_layout: string(axes),
    scale: float(scores.scale * q.scale * k.scale),
    nan_to_zero: int(weighted.zero ? 1 : 0),
  };
  const inputs = [q.value, k.value, values.value, ...(mask ? [mask] : [])];
  const made = editor.fuse([last], last, { op: 'Attention', domain: 'filigree', version: 1, inputs, attributes });
  absorbMerge(editor, made, axes);
  return true;
}

export function absorbMerge(editor: GraphEditor, node: Node, axes: string): void {
  const y = node.outputs[0] as Value;
  const merge = mergingTranspose(editor, y);
  if (!merge) return;
  const perm = permOf(merge.turn, axes.length);
  const turned = merge.turn.outputs[0] as Value;
  const layout = perm.map((axis) => axes[axis]).join('');
  redirectShapes(editor, y, merge.shapes, perm);
  node.attributes.set('y_layout', string(layout));
  editor.replace(turned, y);
  y.type = turned.type;
  editor.remove([merge.turn]);
}

/** Calls `fuseAt` for every float32 softmax; true where it changed something. */
export function atSoftmaxes(graph: Graph, fuseAt: (editor: GraphEditor, softmax: Node) => boolean): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) {
    if (isOp(node, 'Softmax') && isFloat32(node.outputs[0])) changed = fuseAt(editor, node) || changed;
  }
  return changed;
}

export const fuseAttention: Pass = {
  name: 'fuse-attention',
  run: (graph) => everyGraph(graph, (each) => atSoftmaxes(each, fuseAt)),
};

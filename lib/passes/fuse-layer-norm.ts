/** Means, squares and roots of layer normalisations, with the mean or by root mean square, become one node. */

import { type Graph, makeConstant, type Node, type Value } from '../ir/graph.ts';
import { isConcrete, sameShape, sizeOf } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import {
  bothWays,
  dtypeOf,
  float,
  int,
  intAttribute,
  integersFrom,
  isNumber,
  isOp,
  keepsRank,
  otherInput,
  producedBy,
  scalarOf,
  shapeOf,
} from './match.ts';
import type { Pass } from './pass.ts';

type Maybe<T> = T | null | undefined;

/** What a normalisation does to `x`: its last `axes` axes are one row. */
interface Normalization {
  readonly x: Value;
  readonly axes: number;
  readonly epsilon: number;
  /** False where the mean is not subtracted. */
  readonly centred: boolean;
}

/** Number of axes of a mean over trailing axes. */
function trailingMean(value: Maybe<Value>): { x: Value; axes: number } | undefined {
  const node = producedBy(value, 'ReduceMean');
  const x = node?.inputs[0];
  const rank = shapeOf(x)?.length;
  if (!node || !x || rank === undefined || intAttribute(node, 'keepdims', 1) === 0) return undefined;
  const axes = integersFrom(node, 'axes', 1, 18)?.map((axis) => (axis < 0 ? axis + rank : axis));
  if (!axes?.length) return undefined;
  const first = rank - axes.length;
  return axes.sort((a, b) => a - b).every((axis, i) => axis === first + i) ? { x, axes: axes.length } : undefined;
}

/** True where the values are the same node's, or two differences' of the same. */
function sameValue(a: Value, b: Value): boolean {
  if (a === b) return true;
  const [p, q] = [producedBy(a, 'Sub'), producedBy(b, 'Sub')];
  return p !== undefined && q !== undefined && p.inputs.every((input, i) => input === q.inputs[i]);
}

/** The value whose square this is. */
function squared(value: Maybe<Value>): Value | undefined {
  const [a, b] = producedBy(value, 'Mul')?.inputs ?? [];
  if (a && b && sameValue(a, b)) return a;
  const [x, exponent] = producedBy(value, 'Pow')?.inputs ?? [];
  return x && exponent && isNumber(exponent, 2) && keepsRank(x, exponent) ? x : undefined;
}

const underRoot = (value: Maybe<Value>): Value | undefined => producedBy(value, 'Sqrt')?.inputs[0] ?? undefined;

/** What is under the root of a deviation's inverse. */
function underInverse(value: Value): Value | undefined {
  const [root] = producedBy(value, 'Reciprocal')?.inputs ?? [];
  if (root) return underRoot(root);
  const [one, divisor] = producedBy(value, 'Div')?.inputs ?? [];
  if (isNumber(one, 1)) return underRoot(divisor);
  const [base, exponent] = producedBy(value, 'Pow')?.inputs ?? [];
  return isNumber(exponent, -0.5) ? (base ?? undefined) : undefined;
}

/** What a mean of squares plus epsilon is taken of. */
function spreadOf(value: Maybe<Value>): { of: Value; axes: number; epsilon: number } | undefined {
  const sum = producedBy(value, 'Add');
  for (const [variance, addend] of sum ? bothWays(sum) : []) {
    const epsilon = scalarOf(addend);
    const mean = trailingMean(variance);
    const of = squared(mean?.x);
    if (epsilon === undefined || !mean || !of || !keepsRank(variance, addend)) continue;
    return { of, axes: mean.axes, epsilon };
  }
  return undefined;
}

/** `x` where the value is x minus its mean over the last `axes` axes. */
function centredOf(value: Value, axes: number): Value | undefined {
  const node = producedBy(value, 'Sub');
  const mean = trailingMean(node?.inputs[1]);
  return mean && mean.x === node?.inputs[0] && mean.axes === axes ? mean.x : undefined;
}

/** `base` over the root under `root`. */
function normalizationOf(base: Value, root: Maybe<Value>): Normalization | undefined {
  const spread = spreadOf(root);
  if (!spread || !sameValue(spread.of, base)) return undefined;
  const { axes, epsilon } = spread;
  const x = centredOf(base, axes);
  return x ? { x, axes, epsilon, centred: true } : { x: base, axes, epsilon, centred: false };
}

/** base / deviation, or base * (1 / deviation). */
function quotient(node: Node): Normalization | undefined {
  if (isOp(node, 'Div')) {
    const [base, deviation] = node.inputs;
    return base ? normalizationOf(base, underRoot(deviation)) : undefined;
  }
  for (const [base, inverse] of isOp(node, 'Mul') ? bothWays(node) : []) {
    const found = normalizationOf(base, underInverse(inverse));
    if (found) return found;
  }
  return undefined;
}

/** The dimensions of a row where they are known. */
function rowOf({ x, axes }: Normalization): readonly number[] | undefined {
  const row = shapeOf(x)?.slice(-axes);
  return isConcrete(row) && sizeOf(row) > 0 ? row : undefined;
}

/** True where the value has one number for every element of a row, and no more axes than `x`. */
function isParameter(value: Value, norm: Normalization, row: readonly number[]): boolean {
  const shape = shapeOf(value);
  if (!shape || dtypeOf(value) !== dtypeOf(norm.x) || shape.length > (shapeOf(norm.x)?.length ?? 0)) return false;
  const lead = shape.length - row.length;
  return lead >= 0 && shape.slice(0, lead).every((dim) => dim === 1) && sameShape(shape.slice(lead), row);
}

/** The parameter that alone reads the value together with it. */
function parameterAfter(
  editor: GraphEditor,
  value: Value,
  op: 'Mul' | 'Add',
  norm: Normalization,
  row: readonly number[],
): { node: Node; parameter: Value } | undefined {
  const node = editor.onlyReader(value);
  const parameter = isOp(node, op) ? otherInput(node, value) : undefined;
  return node && parameter && isParameter(parameter, norm, row) ? { node, parameter } : undefined;
}

interface Fusion {
  readonly nodes: readonly Node[];
  readonly norm: Normalization;
  readonly row: readonly number[];
  readonly gamma?: Value;
  readonly beta?: Value;
}

function write(editor: GraphEditor, { nodes, norm, row, gamma, beta }: Fusion): void {
  const last = nodes[nodes.length - 1];
  const dtype = dtypeOf(norm.x) ?? 'float32';
  const ones = (): Value => {
    const filled = new Float64Array(sizeOf(row)).fill(1);
    return makeConstant(`${last.name}_scale`, fromNumbers(dtype, row, filled));
  };
  const form = norm.centred
    ? { op: 'LayerNormalization', version: 17 }
    : { op: 'SimplifiedLayerNormalization', version: 1 };
  const inputs = [norm.x, gamma ?? ones(), ...(beta ? [beta] : [])];
  const attributes = { axis: int(-norm.axes), epsilon: float(norm.epsilon) };
  editor.fuse(nodes, last, { ...form, inputs, attributes });
}

const fits = (norm: Normalization): boolean => ['float32', 'float16', 'bfloat16'].includes(dtypeOf(norm.x) ?? '');

function fuseQuotient(editor: GraphEditor, node: Node): boolean {
  const norm = quotient(node);
  const row = norm && rowOf(norm);
  if (!norm || !row || !fits(norm)) return false;
  const scale = parameterAfter(editor, node.outputs[0] as Value, 'Mul', norm, row);
  const before = scale?.node ?? node;
  const shift = norm.centred ? parameterAfter(editor, before.outputs[0] as Value, 'Add', norm, row) : undefined;
  const nodes = [node, scale?.node, shift?.node].filter((part) => part !== undefined);
  write(editor, { nodes, norm, row, gamma: scale?.parameter, beta: shift?.parameter });
  return true;
}

/** `by` and the other factor of a product with `x`. */
function factorOf(value: Maybe<Value>, x: Value): Value | undefined {
  const node = producedBy(value, 'Mul');
  return node && otherInput(node, x);
}

/** x * k + (beta - mean * k), where k is gamma over the deviation. */
function fuseSpread(editor: GraphEditor, node: Node): boolean {
  for (const [scaled, shift] of isOp(node, 'Add') ? bothWays(node) : []) {
    const [beta, product] = producedBy(shift, 'Sub')?.inputs ?? [];
    for (const [mean, k] of bothWays(producedBy(product, 'Mul') ?? node)) {
      const found = trailingMean(mean);
      if (!found || !beta || factorOf(scaled, found.x) !== k) continue;
      const parts = producedBy(k, 'Mul') ? bothWays(k.producer as Node) : [];
      for (const [inverse, gamma] of [[k, undefined] as const, ...parts]) {
        const spread = spreadOf(underInverse(inverse));
        if (!spread || spread.axes !== found.axes || centredOf(spread.of, spread.axes) !== found.x) continue;
        const norm = { ...found, epsilon: spread.epsilon, centred: true };
        const row = rowOf(norm);
        if (!row || !fits(norm) || ![beta, gamma].every((value) => !value || isParameter(value, norm, row))) continue;
        write(editor, { nodes: [node], norm, row, gamma, beta });
        return true;
      }
    }
  }
  return false;
}

function fuse(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = fuseQuotient(editor, node) || fuseSpread(editor, node) || changed;
  return changed;
}

export const fuseLayerNorm: Pass = { name: 'fuse-layer-norm', run: (graph) => everyGraph(graph, fuse) };

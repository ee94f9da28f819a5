/**
 * Einsum of two operands as a matrix product: the axes of each operand turned and merged to [batch..., rows, columns],
 * and the product's axes turned to where the equation wants them.
 */

import { type Attribute, type Graph, makeConstant, makeValue, type Node, type Value } from '../ir/graph.ts';
import { type Dim, type Shape, sizeOf } from '../ir/shape.ts';
import { int64Vector } from '../ir/tensor.ts';
import { parseEquation } from '../ops/einsum.ts';
import { NodeAccess } from '../ops/op.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { dtypeOf, ints, isOp, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

/** The axes of a product of two operands, by label. */
interface Product {
  readonly inputs: readonly (readonly string[])[];
  readonly batch: readonly string[];
  readonly rows: readonly string[];
  readonly inner: readonly string[];
  readonly columns: readonly string[];
  readonly output: readonly string[];
  readonly sizes: ReadonlyMap<string, Dim>;
}

const floats = ['float32', 'float64', 'float16', 'bfloat16'];

/** The labels' sizes; undefined where one stands for sizes that may differ: those would broadcast. */
function sizesOf(inputs: readonly (readonly string[])[], shapes: readonly Shape[]): Map<string, Dim> | undefined {
  const sizes = new Map<string, Dim>();
  for (const [i, labels] of inputs.entries()) {
    for (const [axis, label] of labels.entries()) {
      const dim = shapes[i][axis];
      if (sizes.has(label) && (dim === null || sizes.get(label) !== dim)) return undefined;
      sizes.set(label, dim);
    }
  }
  return sizes;
}

function productOf(node: Node): Product | undefined {
  const shapes = node.inputs.map(shapeOf);
  if (!isOp(node, 'Einsum') || shapes.length !== 2 || !floats.includes(dtypeOf(node.inputs[0]) ?? '')) return undefined;
  if (!shapes.every((shape) => shape !== undefined)) return undefined;
  const ranks = (shapes as Shape[]).map((shape) => shape.length);
  const { inputs, output } = parseEquation(new NodeAccess(node, 'load'), ranks);
  const [a, b] = inputs;
  const sizes = sizesOf(inputs, shapes as Shape[]);
  const distinct = inputs.every((labels) => new Set(labels).size === labels.length);
  if (!sizes || !distinct) return undefined;
  const shared = a.filter((label) => b.includes(label));
  const product = {
    inputs,
    batch: shared.filter((label) => output.includes(label)),
    inner: shared.filter((label) => !output.includes(label)),
    rows: a.filter((label) => !shared.includes(label)),
    columns: b.filter((label) => !shared.includes(label)),
    output,
    sizes,
  };
  // A label of one operand alone that the output lacks would have to be summed first.
  return [...product.rows, ...product.columns].every((label) => output.includes(label)) ? product : undefined;
}

/** Inserts the chain of nodes before the Einsum. */
class Chain {
  readonly #editor: GraphEditor;
  readonly #node: Node;
  readonly #sizes: ReadonlyMap<string, Dim>;

  constructor(editor: GraphEditor, node: Node, sizes: ReadonlyMap<string, Dim>) {
    this.#editor = editor;
    this.#node = node;
    this.#sizes = sizes;
  }

  shape(labels: readonly string[]): Dim[] {
    return labels.map((label) => this.#sizes.get(label) ?? null);
  }

  add(op: string, inputs: readonly Value[], shape: Shape, attributes: Record<string, Attribute> = {}): Value {
    const dtype = dtypeOf(inputs[0]) ?? 'float32';
    const value = makeValue(`${this.#node.name}_${op.toLowerCase()}`, { kind: 'tensor', dtype, shape });
    this.#editor.insert(this.#node, { op, version: 13, inputs, attributes }, [value]);
    return value;
  }

  transpose(x: Value, from: readonly string[], to: readonly string[]): Value {
    if (from.every((label, i) => label === to[i])) return x;
    const perm = to.map((label) => from.indexOf(label));
    return this.add('Transpose', [x], this.shape(to), { perm: ints(perm) });
  }

  reshape(x: Value, shape: readonly Dim[]): Value {
    const target = int64Vector(shape.map((dim) => (typeof dim === 'number' ? dim : -1)));
    return this.add('Reshape', [x, makeConstant('shape', target)], shape);
  }
}

/** One size for several axes; null where one of them is not known. */
function merged(dims: readonly Dim[]): Dim {
  if (dims.length === 1) return dims[0];
  return dims.every((dim) => typeof dim === 'number') ? sizeOf(dims as number[]) : null;
}

/** A shape that Reshape can name: it works out one size by itself, and none of 0. */
const nameable = (shape: readonly Dim[]): boolean =>
  shape.filter((dim) => typeof dim !== 'number').length <= 1 && !shape.includes(0);

function unpack(editor: GraphEditor, node: Node): boolean {
  const product = productOf(node);
  if (!product) return false;
  const { batch, rows, inner, columns, output, sizes } = product;
  const chain = new Chain(editor, node, sizes);
  const whole = [...batch, ...rows, ...columns];
  const [m, k, n] = [rows, inner, columns].map((labels) => merged(chain.shape(labels)));
  const heads = chain.shape(batch);
  // Rows of several axes need no merging where one matrix multiplies them all.
  const loose = batch.length === 0 && rows.length > 1 && inner.length === 1;
  const mergesLeft = !loose && (rows.length !== 1 || inner.length !== 1);
  const mergesRight = inner.length !== 1 || columns.length !== 1;
  const splits = (!loose && rows.length !== 1) || columns.length !== 1;
  const left = [...heads, m, k];
  const right = [...heads, k, n];
  if ((mergesLeft && !nameable(left)) || (mergesRight && !nameable(right))) return false;
  if (splits && !nameable(chain.shape(whole))) return false;
  const [a, b] = node.inputs as Value[];
  const [labelsA, labelsB] = product.inputs;
  let x = chain.transpose(a, labelsA, [...batch, ...rows, ...inner]);
  let w = chain.transpose(b, labelsB, [...batch, ...inner, ...columns]);
  if (mergesLeft) x = chain.reshape(x, left);
  if (mergesRight) w = chain.reshape(w, right);
  let y = chain.add('MatMul', [x, w], loose ? [...chain.shape(rows), n] : [...heads, m, n]);
  if (splits) y = chain.reshape(y, chain.shape(whole));
  const perm = output.map((label) => whole.indexOf(label));
  editor.fuse([node], node, { op: 'Transpose', version: 13, inputs: [y], attributes: { perm: ints(perm) } });
  return true;
}

function unpackAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = unpack(editor, node) || changed;
  return changed;
}

export const unpackEinsum: Pass = { name: 'unpack-einsum', run: (graph) => everyGraph(graph, unpackAll) };

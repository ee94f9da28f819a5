/** Removes nodes that change nothing and merges movements that follow each other. */

import type { Graph, Node, Value } from '../ir/graph.ts';
import { makeConstant } from '../ir/graph.ts';
import { type Shape, sameShape, sizeOf } from '../ir/shape.ts';
import { int64Vector, toNumbers } from '../ir/tensor.ts';
import { everyGraphInTurns, GraphEditor } from './editor.ts';
import { constantOf, dtypeOf, intAttribute, ints, intsAttribute, isOp, permOf, scalarOf, shapeOf } from './match.ts';
import { passInTurns } from './pass.ts';

/** Constants up to this many elements are searched for neutral elements. */
const SEARCHED = 1 << 16;

const views = ['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'] as const;

/** True where all dimensions are known, if only by symbol, and the same. */
function certainlySame(a: Shape | undefined, b: Shape | undefined): boolean {
  return a !== undefined && b !== undefined && !a.includes(null) && sameShape(a, b);
}

const keepsShape = (node: Node): boolean => certainlySame(shapeOf(node.inputs[0]), shapeOf(node.outputs[0]));

const keepsType = (node: Node): boolean => {
  const dtype = dtypeOf(node.inputs[0]);
  return dtype !== undefined && dtype === dtypeOf(node.outputs[0]);
};

function isInference(node: Node): boolean {
  if (node.outputs[1]) return false;
  if (node.version < 7) return intAttribute(node, 'is_test', 0) !== 0;
  return node.version < 12 || !node.inputs[2] || scalarOf(node.inputs[2]) === 0;
}

/** True where all of a constant's elements are `number`. */
function isAll(value: Value | null | undefined, number: number): boolean {
  const content = constantOf(value);
  if (!content || content.dtype === 'string' || sizeOf(content.dims) > SEARCHED) return false;
  return toNumbers(content).every((v) => v === number);
}

/** The input of arithmetic with a neutral constant, which the output equals. */
function neutral(node: Node): Value | undefined {
  const number = isOp(node, 'Add', 'Sub') ? 0 : 1;
  const [a, b] = node.inputs;
  const same = (x: Value | null | undefined): boolean => certainlySame(shapeOf(x), shapeOf(node.outputs[0]));
  if (a && isAll(b, number) && same(a)) return a;
  return b && isOp(node, 'Add', 'Mul') && isAll(a, number) && same(b) ? b : undefined;
}

function padsNothing(node: Node): boolean {
  if (node.version >= 11) return isAll(node.inputs[1], 0);
  return intsAttribute(node, node.version < 2 ? 'paddings' : 'pads')?.every((pad) => pad === 0) ?? false;
}

const stepsForward = (node: Node): boolean => node.version < 10 || !node.inputs[4] || isAll(node.inputs[4], 1);

/** The input that a node only passes on. */
function passedOn(node: Node): Value | undefined {
  const x = node.inputs[0] ?? undefined;
  const given = (holds: boolean): Value | undefined => (holds ? x : undefined);
  if (node.domain !== '' || !x) return undefined;
  switch (node.op) {
    case 'Identity':
      return x;
    case 'Dropout':
      return given(isInference(node));
    case 'Cast':
    case 'CastLike':
      return given(keepsType(node));
    case 'Reshape':
    case 'Flatten':
    case 'Squeeze':
    case 'Unsqueeze':
    case 'Expand':
      return given(keepsShape(node));
    case 'Slice':
      return given(stepsForward(node) && keepsShape(node));
    case 'Pad':
      return given(padsNothing(node));
    case 'Tile':
      return given(node.version >= 6 && isAll(node.inputs[1], 1));
    case 'Concat':
    case 'Sum':
    case 'Max':
    case 'Min':
    case 'Mean':
      return given(node.inputs.length === 1);
    case 'Transpose': {
      const rank = shapeOf(x)?.length;
      return given(rank !== undefined && permOf(node, rank).every((axis, i) => axis === i));
    }
    case 'Add':
    case 'Sub':
    case 'Mul':
    case 'Div':
      return neutral(node);
    default:
      return undefined;
  }
}

/** An output of the graph stays a value of its own that a node computes. */
function replaceable(editor: GraphEditor, output: Value, by: Value): boolean {
  return !editor.isOutput(output) || (by.producer !== undefined && !editor.isOutput(by));
}

/** A transpose of a transpose reads the first one's input. */
function mergeTransposes(editor: GraphEditor, node: Node): boolean {
  const inner = node.inputs[0]?.producer;
  const rank = shapeOf(node.inputs[0])?.length;
  const x = inner?.inputs[0];
  if (rank === undefined || !isOp(inner, 'Transpose') || !x) return false;
  const first = permOf(inner, rank);
  node.attributes.set('perm', ints(permOf(node, rank).map((axis) => first[axis])));
  editor.setInputs(node, [x]);
  return true;
}

/** The new shape that takes `from` to `to`: at most one -1, 0 where a symbol stays in its place. */
function targetOf(from: Shape, to: Shape): number[] | undefined {
  let open = 0;
  const target = to.map((dim, i) => {
    if (typeof dim === 'number') return dim;
    if (dim !== null && from[i] === dim) return 0;
    open++;
    return -1;
  });
  return open > 1 || to.includes(0) || from.includes(0) ? undefined : target;
}

/** A view of a view reads the first one's input, and a computed new shape that inference knows becomes a constant. */
function settledView(editor: GraphEditor, node: Node): Node | undefined {
  const inner = node.inputs[0]?.producer;
  const merges = isOp(inner, ...views);
  const computed = isOp(node, 'Reshape') && node.inputs[1] && !node.inputs[1].constant;
  const x = merges ? inner.inputs[0] : node.inputs[0];
  const [from, to] = [shapeOf(x), shapeOf(node.outputs[0])];
  if ((!merges && !computed) || !x || !from || !to) return undefined;
  const target = targetOf(from, to);
  if (!target) return undefined;
  const shape = makeConstant(`${node.name}_shape`, int64Vector(target));
  return editor.fuse([node], node, { op: 'Reshape', version: Math.max(node.version, 5), inputs: [x, shape] });
}

function cleanNode(editor: GraphEditor, node: Node, gone: Node[]): boolean {
  const settled = isOp(node, ...views) ? settledView(editor, node) : undefined;
  const merged = isOp(node, 'Transpose') && mergeTransposes(editor, node);
  const left = settled ?? node;
  const output = left.outputs[0];
  const x = passedOn(left);
  if (!output || !x || !replaceable(editor, output, x)) return settled !== undefined || merged;
  editor.replace(output, x);
  gone.push(left);
  return true;
}

function* clean(graph: Graph): Generator<void, boolean> {
  const editor = new GraphEditor(graph);
  const gone: Node[] = [];
  let changed = false;
  for (const node of [...graph.nodes]) {
    changed = cleanNode(editor, node, gone) || changed;
    yield;
  }
  editor.remove(gone);
  return changed;
}

export const cleanup = passInTurns('cleanup', (graph) => everyGraphInTurns(graph, clean));

/**
 * Moves Gather of one index up over the Transpose before it: of queries, keys and values that one product computed, each
 * is then a slice of it, and the Transpose that is left splits heads alone.
 */

import type { Graph, Node, Value } from '../ir/graph.ts';
import { tensorType } from '../ir/graph.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { dtypeOf, int, intAttribute, ints, isOp, permOf, scalarOf, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

/** The axis of a Gather that takes one index and drops the axis. */
function droppedAxis(node: Node, rank: number): number | undefined {
  const index = node.inputs[1];
  if (!isOp(node, 'Gather') || scalarOf(index) === undefined || shapeOf(index)?.length !== 0) return undefined;
  const axis = intAttribute(node, 'axis', 0);
  return axis < 0 ? axis + rank : axis;
}

function lift(editor: GraphEditor, turn: Node): boolean {
  const x = turn.inputs[0] as Value;
  const turned = turn.outputs[0] as Value;
  const [shape, dtype] = [shapeOf(x), dtypeOf(x)];
  const readers = editor.readersOf(turned);
  if (!shape || !dtype || readers.length === 0 || editor.isOutput(turned)) return false;
  const perm = permOf(turn, shape.length);
  const axes = readers.map((node) => droppedAxis(node, shape.length));
  if (readers.some((node, i) => axes[i] === undefined || node.inputs[0] !== turned)) return false;
  for (const [i, node] of [...readers].entries()) {
    const from = perm[axes[i] as number];
    const spec = { op: 'Gather', version: 13, inputs: [x, node.inputs[1]], attributes: { axis: int(from) } };
    const slice = editor.insert(node, spec).outputs[0] as Value;
    slice.type = tensorType(
      dtype,
      shape.filter((_, axis) => axis !== from),
    );
    const rest = perm.filter((axis) => axis !== from).map((axis) => (axis > from ? axis - 1 : axis));
    const attributes = { perm: ints(rest) };
    editor.fuse([node], node, { op: 'Transpose', version: 13, inputs: [slice], attributes });
  }
  return true;
}

function run(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) {
    if (isOp(node, 'Transpose')) changed = lift(editor, node) || changed;
  }
  return changed;
}

export const liftGather: Pass = { name: 'lift-gather', run: (graph) => everyGraph(graph, run) };

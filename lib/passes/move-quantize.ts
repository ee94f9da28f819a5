/** Moves QuantizeLinear up over what commutes with it, to where its bytes are made, and cancels it there. */

import { type Graph, makeValue, type Node, tensorType, type Value } from '../ir/graph.ts';
import { everyGraphInTurns, GraphEditor } from './editor.ts';
import { shapeOf } from './match.ts';
import { passInTurns } from './pass.ts';
import { bytesBehind, quantizes, sameQuantization } from './quantized-view.ts';

/** Operators that only move elements of their first input. */
const movements = ['Reshape', 'Transpose', 'Flatten', 'Squeeze', 'Unsqueeze', 'Slice', 'Gather', 'DepthToSpace'];

/** True where rounding the result is the same as rounding the first input, since rounding keeps order. */
function commutes(node: Node): boolean {
  if (node.domain !== '') return false;
  if (node.op === 'MaxPool') return node.version >= 12 && !node.outputs[1];
  return movements.includes(node.op);
}

/** y = Q(op(x)) becomes op(Q(x)). */
function pull(editor: GraphEditor, q: Node): boolean {
  const how = quantizes(q);
  const moved = q.inputs[0];
  const node = moved?.producer;
  const x = node?.inputs[0];
  if (!how || !node || !x || x.constant || !commutes(node) || editor.onlyReader(moved) !== q) return false;
  const bytes = makeValue(`${x.name}_quantized`, tensorType(how.dtype, shapeOf(x)));
  const attributes = Object.fromEntries(q.attributes);
  editor.insert(
    node,
    { op: q.op, domain: q.domain, version: q.version, inputs: [x, ...q.inputs.slice(1)], attributes },
    [bytes],
  );
  editor.fuse([node, q], q, {
    op: node.op,
    version: node.version,
    inputs: [bytes, ...node.inputs.slice(1)],
    attributes: Object.fromEntries(node.attributes),
  });
  return true;
}

/** Q(DQ(bytes)) of one scale is the bytes. */
function cancel(editor: GraphEditor, q: Node): boolean {
  const how = quantizes(q);
  const behind = bytesBehind(q.inputs[0]);
  const output = q.outputs[0] as Value;
  if (!how || !behind || !sameQuantization(how, behind.how) || editor.isOutput(output)) return false;
  editor.replace(output, behind.value);
  editor.remove([q]);
  return true;
}

function* move(graph: Graph): Generator<void, boolean> {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (let again = true; again; changed = changed || again) {
    again = false;
    for (const node of [...editor.graph.nodes]) {
      if (node.op === 'QuantizeLinear' && (cancel(editor, node) || pull(editor, node))) again = true;
      yield;
    }
  }
  return changed;
}

export const moveQuantize = passInTurns('move-quantize', (graph) => everyGraphInTurns(graph, move));

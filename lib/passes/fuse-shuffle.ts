/** Channels seen as a matrix, turned and seen as channels again are a shuffle: one move of whole planes. */

import type { Graph, Node } from '../ir/graph.ts';
import type { Shape } from '../ir/shape.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { int, isOp, permOf, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

const sameKnown = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((dim, i) => dim !== null && dim === b[i]);

/** Groups of the shuffle from `whole` over `matrix`, [N, groups, channels of each, ...]; undefined for other views. */
function groupsOf(whole: Shape, matrix: Shape): number | undefined {
  const [, groups, each, ...rest] = matrix;
  const known = typeof groups === 'number' && typeof each === 'number';
  return known && groups * each === whole[1] && sameKnown(rest, whole.slice(2)) ? groups : undefined;
}

function fuse(editor: GraphEditor, last: Node): boolean {
  const turn = isOp(last, 'Reshape') ? editor.privateProducer(last.inputs[0]) : undefined;
  const first = isOp(turn, 'Transpose') ? editor.privateProducer(turn.inputs[0]) : undefined;
  if (!turn || !isOp(first, 'Reshape')) return false;
  const [x] = first.inputs;
  const [whole, matrix, result] = [x, first.outputs[0], last.outputs[0]].map((value) => value && shapeOf(value));
  if (!x || !whole || !matrix || !result || whole.length < 3) return false;
  const groups = groupsOf(whole, matrix);
  const turned = permOf(turn, matrix.length).every((axis, i) => axis === (i === 1 ? 2 : i === 2 ? 1 : i));
  // As many elements in the same channels and positions: then the images are as many too.
  if (!groups || !turned || !sameKnown(result.slice(1), whole.slice(1))) return false;
  editor.fuse([first, turn, last], last, {
    op: 'ShuffleChannels',
    domain: 'filigree',
    version: 1,
    inputs: [x],
    attributes: { group: int(groups) },
  });
  return true;
}

function fuseAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = fuse(editor, node) || changed;
  return changed;
}

export const fuseShuffle: Pass = { name: 'fuse-shuffle', run: (graph) => everyGraph(graph, fuseAll) };

/** Zeros that Pad puts around a convolution's input become the convolution's own padding. */

import { type Graph, makeValue, type Node, type Value } from '../ir/graph.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import {
  floatAttribute,
  integersFrom,
  ints,
  intsAttribute,
  isOp,
  permOf,
  scalarOf,
  shapeOf,
  stringAttribute,
} from './match.ts';
import type { Pass } from './pass.ts';

/** Padding of every axis, where a node adds zeros and nothing else. */
function zerosAdded(node: Node | undefined, rank: number): readonly number[] | undefined {
  if (!isOp(node, 'Pad') || node.version < 2 || stringAttribute(node, 'mode', 'constant') !== 'constant')
    return undefined;
  const value = node.version < 11 ? floatAttribute(node, 'value', 0) : node.inputs[2] ? scalarOf(node.inputs[2]) : 0;
  const pads = integersFrom(node, 'pads', 1, 11);
  const plain = value === 0 && !node.inputs[3] && pads?.length === 2 * rank && pads.every((pad) => pad >= 0);
  return plain ? pads : undefined;
}

interface Padding {
  readonly nodes: readonly Node[];
  /** What is padded, and the Transpose between. */
  readonly x: Value;
  readonly perm: readonly number[] | undefined;
  /** Of the convolution's axes. */
  readonly pads: readonly number[];
}

/** The Pad that computes `x`, perhaps with a Transpose after it. */
function paddingOf(editor: GraphEditor, x: Value): Padding | undefined {
  const rank = shapeOf(x)?.length;
  const last = editor.privateProducer(x);
  if (rank === undefined || !last) return undefined;
  if (last.op !== 'Transpose' || last.domain !== '') {
    const pads = zerosAdded(last, rank);
    return pads && last.inputs[0] ? { nodes: [last], x: last.inputs[0], perm: undefined, pads } : undefined;
  }
  const pad: Node | undefined = editor.privateProducer(last.inputs[0]);
  const pads = zerosAdded(pad, rank);
  const padded = pad?.inputs[0];
  if (!pad || !padded || !pads) return undefined;
  const perm = permOf(last, rank);
  const turned = [...perm.map((axis) => pads[axis]), ...perm.map((axis) => pads[axis + rank])];
  return { nodes: [pad, last], x: padded, perm, pads: turned };
}

function foldInto(editor: GraphEditor, conv: Node): boolean {
  const x = conv.inputs[0];
  const auto = stringAttribute(conv, 'auto_pad', 'NOTSET');
  if (!isOp(conv, 'Conv') || !x || (auto !== 'NOTSET' && auto !== 'VALID')) return false;
  const found = paddingOf(editor, x);
  if (!found) return false;
  const rank = found.pads.length / 2;
  const spatial = rank - 2;
  // Zeros around the batch or the channels are something else.
  if ([0, 1, rank, rank + 1].some((axis) => found.pads[axis] !== 0)) return false;
  const own = intsAttribute(conv, 'pads') ?? new Array<number>(2 * spatial).fill(0);
  const pads = own.map((pad, i) => pad + found.pads[i < spatial ? i + 2 : i - spatial + rank + 2]);
  let input = found.x;
  if (found.perm) {
    input = makeValue(`${x.name}_unpadded`);
    const from = shapeOf(found.x);
    const type = found.x.type;
    if (from && type?.kind === 'tensor') input.type = { ...type, shape: found.perm.map((axis) => from[axis]) };
    const spec = { op: 'Transpose', version: 13, inputs: [found.x], attributes: { perm: ints(found.perm) } };
    editor.insert(conv, spec, [input]);
  }
  const { auto_pad: _, ...attributes } = Object.fromEntries(conv.attributes);
  editor.fuse([conv], conv, {
    op: 'Conv',
    version: conv.version,
    inputs: [input, ...conv.inputs.slice(1)],
    attributes: { ...attributes, pads: ints(pads) },
  });
  editor.remove([...found.nodes].reverse());
  return true;
}

function foldAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = foldInto(editor, node) || changed;
  return changed;
}

export const foldPad: Pass = { name: 'fold-pad', run: (graph) => everyGraph(graph, foldAll) };

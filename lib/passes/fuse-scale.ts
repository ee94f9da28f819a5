/** Batch normalisations, and scales and shifts after convolutions, that no weights took become one pass over the map. */

import { type Attribute, type Graph, makeConstant, type Node, type Value } from '../ir/graph.ts';
import { tensor } from '../ir/tensor.ts';
import { fusableActivation } from './activations.ts';
import { type Affine, batchNormAffine, constantAffine } from './affine.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { isFloat32, isOp, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';
import { sameDeclaredShape } from './shapes.ts';

const mapMakers = ['Conv', 'MaxPool', 'AveragePool', 'BatchNormalization'];

/** True where the value is a feature map, [N, C, ...], and not a matrix with features last. */
const isMap = (value: Value): boolean => {
  const node = value.producer;
  if (node?.domain === 'filigree') return node.op === 'Conv' || node.op === 'Scale';
  return isOp(node, ...mapMakers);
};

/** What a node does to every channel of `x`, its input. */
function affineOf(node: Node, x: Value, channels: number, rank: number): Affine | undefined {
  if (isOp(node, 'BatchNormalization')) {
    const affine = node.inputs[0] === x ? batchNormAffine(node) : undefined;
    return affine?.scale.length === channels ? affine : undefined;
  }
  const keepsShape = isOp(node, 'Mul', 'Add') && sameRank(node, x);
  return keepsShape ? constantAffine(node, x, channels, rank) : undefined;
}

const sameRank = (node: Node, x: Value): boolean => shapeOf(node.outputs[0])?.length === shapeOf(x)?.length;

function followedBy(a: Affine, b: Affine): Affine {
  return { scale: a.scale.map((s, c) => s * b.scale[c]), shift: a.shift.map((t, c) => t * b.scale[c] + b.shift[c]) };
}

/** The nodes that one pass replaces, so far. */
interface Run {
  readonly nodes: Node[];
  affine: Affine;
  residual?: Value;
  activation?: Record<string, Attribute>;
}

const outputOf = (run: Run): Value => run.nodes[run.nodes.length - 1].outputs[0] as Value;

/** Takes the next node into the run: first what scales and shifts, then a residual, last an activation. */
function grow(editor: GraphEditor, run: Run, channels: number, rank: number): boolean {
  const output = outputOf(run);
  const next = run.activation ? undefined : editor.onlyReader(output);
  if (!next) return false;
  const affine = run.residual ? undefined : affineOf(next, output, channels, rank);
  const activation = affine ? undefined : fusableActivation(next, output);
  if (affine) {
    run.affine = followedBy(run.affine, affine);
  } else if (activation) {
    run.activation = activation;
  } else {
    const other = isOp(next, 'Add') && !run.residual ? next.inputs.find((input) => input !== output) : undefined;
    if (!other || other.constant || !sameDeclaredShape(other, next.outputs[0] as Value, output)) return false;
    run.residual = other;
  }
  run.nodes.push(next);
  return true;
}

/** The factors of all channels, left out where they change nothing. */
function factors(name: string, values: Float64Array, neutral: number): Value | null {
  if (values.every((v) => v === neutral)) return null;
  return makeConstant(name, tensor('float32', [values.length], Float32Array.from(values)));
}

function fuseFrom(editor: GraphEditor, node: Node): boolean {
  for (const x of node.inputs) {
    const shape = shapeOf(x);
    const channels = shape?.[1];
    if (!x || !shape || x.constant || !isFloat32(x) || typeof channels !== 'number') continue;
    if (!isOp(node, 'BatchNormalization') && (shape.length < 3 || !isMap(x))) continue;
    const affine = affineOf(node, x, channels, shape.length);
    if (!affine) continue;
    const run: Run = { nodes: [node], affine };
    while (grow(editor, run, channels, shape.length));
    const last = run.nodes[run.nodes.length - 1];
    const scale = factors(`${node.name}_scale`, run.affine.scale, 1);
    const shift = factors(`${node.name}_shift`, run.affine.shift, 0);
    const inputs = [x, scale, shift, ...(run.residual ? [run.residual] : [])];
    const attributes = run.activation ?? {};
    editor.fuse(run.nodes, last, { op: 'Scale', domain: 'filigree', version: 1, inputs, attributes });
    return true;
  }
  return false;
}

function fuse(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) {
    if (graph.nodes.includes(node)) changed = fuseFrom(editor, node) || changed;
  }
  return changed;
}

export const fuseScale: Pass = { name: 'fuse-scale', run: (graph) => everyGraph(graph, fuse) };

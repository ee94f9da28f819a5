/**
 * Moves Transpose down over operators that it commutes with, so that it meets its inverse: graphs of other layouts are
 * exported with one before and one after each convolution.
 */

import { type Attribute, type Graph, makeConstant, makeValue, type Node, type Value } from '../ir/graph.ts';
import { type HostTensor, int64Vector } from '../ir/tensor.ts';
import { findOp } from '../ops/index.ts';
import { runNode } from '../ops/interpret.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { constantOf, int, intAttribute, integersFrom, ints, isOp, permOf, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

/** Constants up to this many elements are transposed. */
const LARGEST = 1 << 20;

interface Sunk {
  /** What the operator reads before the Transpose. */
  readonly inputs: (Value | null)[];
  readonly attributes: Record<string, Attribute>;
}

/** The Transpose that computes a value, and its permutation. */
function transposeOf(value: Value | null | undefined): { x: Value; perm: readonly number[] } | undefined {
  const node = value?.producer;
  const x = node?.inputs[0];
  const rank = shapeOf(x)?.length;
  return isOp(node, 'Transpose') && x && rank !== undefined ? { x, perm: permOf(node, rank) } : undefined;
}

const samePerm = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((axis, i) => axis === b[i]);

/** Where each axis comes from when the permutation is undone. */
function inverse(perm: readonly number[]): number[] {
  const back = new Array<number>(perm.length);
  perm.forEach((axis, i) => {
    back[axis] = i;
  });
  return back;
}

/** A constant that broadcasts against the transposed value, in the order before the Transpose. */
function turnedConstant(value: Value, perm: readonly number[]): Value | undefined {
  const content = constantOf(value);
  if (!content || content.dtype === 'string' || content.dims.length > perm.length) return undefined;
  const size = content.dims.reduce((a, b) => a * b, 1);
  if (size === 1) return content.dims.length <= 1 ? value : makeConstant(value.name, { ...content, dims: [] });
  if (size > LARGEST) return undefined;
  const dims = [...new Array<number>(perm.length - content.dims.length).fill(1), ...content.dims];
  const turn: Node = {
    name: value.name,
    op: 'Transpose',
    domain: '',
    version: 13,
    inputs: [value],
    outputs: [makeValue(value.name)],
    attributes: new Map([['perm', ints(inverse(perm))]]),
    captures: [],
  };
  const [turned] = runNode(turn, [{ ...content, dims }]);
  return makeConstant(`${value.name}_turned`, turned as HostTensor);
}

/** Elementwise: every operand is transposed alike, or constant; broadcasting must not enlarge. */
function sinkElementwise(node: Node, perm: readonly number[]): Sunk | undefined {
  const inputs: (Value | null)[] = [];
  const clip = isOp(node, 'Clip');
  for (const [i, input] of node.inputs.entries()) {
    if (!input || (clip && i > 0)) {
      inputs.push(input);
      continue;
    }
    const own = transposeOf(input);
    const turned = own && samePerm(own.perm, perm) ? own.x : turnedConstant(input, perm);
    if (!turned) return undefined;
    inputs.push(turned);
  }
  return { inputs, attributes: Object.fromEntries(node.attributes) };
}

function sinkConcat(node: Node, perm: readonly number[]): Sunk | undefined {
  const inputs = node.inputs.map((input) => {
    const own = transposeOf(input);
    return own && samePerm(own.perm, perm) ? own.x : undefined;
  });
  if (inputs.includes(undefined)) return undefined;
  const axis = intAttribute(node, 'axis', 0);
  const at = axis < 0 ? axis + perm.length : axis;
  return { inputs: inputs as Value[], attributes: { axis: int(perm[at]) } };
}

function sinkPad(node: Node, perm: readonly number[], x: Value): Sunk | undefined {
  const pads = integersFrom(node, 'pads', 1, 11);
  const rank = perm.length;
  if (!pads || pads.length !== 2 * rank || node.inputs[3] || node.version < 2) return undefined;
  const turned = new Array<number>(2 * rank);
  perm.forEach((axis, i) => {
    turned[axis] = pads[i];
    turned[axis + rank] = pads[i + rank];
  });
  const attributes = Object.fromEntries(node.attributes);
  if (node.version < 11) return { inputs: [x], attributes: { ...attributes, pads: ints(turned) } };
  return { inputs: [x, makeConstant('pads', int64Vector(turned)), ...node.inputs.slice(2)], attributes };
}

const reductions = ['ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL1', 'ReduceL2'];

/** Reductions that keep their axes. */
function sinkReduction(node: Node, perm: readonly number[], x: Value): Sunk | undefined {
  const since = node.op === 'ReduceSum' ? 13 : 18;
  const axes = integersFrom(node, 'axes', 1, since);
  if (!axes || axes.length === 0 || intAttribute(node, 'keepdims', 1) === 0) return undefined;
  const turned = axes.map((axis) => perm[axis < 0 ? axis + perm.length : axis]);
  const attributes = Object.fromEntries(node.attributes);
  if (node.version < since) return { inputs: [x], attributes: { ...attributes, axes: ints(turned) } };
  return { inputs: [x, makeConstant('axes', int64Vector(turned))], attributes };
}

/** Operators of one scale that are elementwise; their other inputs are parameters. */
function sinkQuantization(node: Node, x: Value): Sunk | undefined {
  const whole = node.inputs.slice(1).every((value) => !value || (shapeOf(value)?.length ?? 1) === 0);
  return whole ? { inputs: [x, ...node.inputs.slice(1)], attributes: Object.fromEntries(node.attributes) } : undefined;
}

function sunkForm(node: Node, perm: readonly number[], x: Value): Sunk | undefined {
  if (node.domain !== '' || node.outputs.length !== 1) return undefined;
  if (node.op === 'QuantizeLinear' || node.op === 'DequantizeLinear') return sinkQuantization(node, x);
  if (node.op === 'Concat') return sinkConcat(node, perm);
  if (node.op === 'Pad') return sinkPad(node, perm, x);
  if (reductions.includes(node.op)) return sinkReduction(node, perm, x);
  if (node.op === 'PRelu' || !findOp('', node.op)?.traits?.includes('elementwise')) return undefined;
  // Versions before 7 broadcast along a named axis.
  return node.version < 7 && node.inputs.length > 1 ? undefined : sinkElementwise(node, perm);
}

/** Op(Transpose(x)) becomes Transpose(Op(x)). */
function sink(editor: GraphEditor, node: Node): boolean {
  const first = node.inputs.map(transposeOf).find((found) => found !== undefined);
  const form = first && sunkForm(node, first.perm, first.x);
  if (!first || !form) return false;
  const inner = makeValue(`${node.name}_sunk`);
  const { op, version } = node;
  editor.insert(node, { op, version, inputs: form.inputs, attributes: form.attributes }, [inner]);
  const type = node.outputs[0]?.type;
  if (type?.kind === 'tensor') {
    const back = inverse(first.perm);
    const shape =
      type.shape && type.shape.length === back.length ? back.map((i) => type.shape?.[i] ?? null) : undefined;
    inner.type = { kind: 'tensor', dtype: type.dtype, shape };
  }
  editor.fuse([node], node, { op: 'Transpose', version: 13, inputs: [inner], attributes: { perm: ints(first.perm) } });
  return true;
}

function sinkAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = sink(editor, node) || changed;
  return changed;
}

export const sinkTranspose: Pass = { name: 'sink-transpose', run: (graph) => everyGraph(graph, sinkAll) };

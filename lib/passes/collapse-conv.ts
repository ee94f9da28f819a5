/**
 * A convolution whose kernel is as large as its input along the first spatial axes has one position there: those axes
 * join the channels, [N, C, H, W] seen as [N, C * H, 1, W], and the output is no larger than it has to be.
 */

import { type Attribute, type Graph, makeConstant, makeValue, type Node, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { int64Vector } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { constantOf, intAttribute, ints, intsAttribute, isOp, shapeOf, stringAttribute } from './match.ts';
import type { Pass } from './pass.ts';

/** How many spatial axes the kernel covers from the first on. */
function coveredAxes(node: Node, sizes: readonly unknown[], kernel: readonly number[]): number {
  const pads = intsAttribute(node, 'pads');
  const dilations = intsAttribute(node, 'dilations');
  const covered = (i: number): boolean =>
    sizes[i] === kernel[i] &&
    (dilations?.[i] ?? 1) === 1 &&
    (pads?.[i] ?? 0) === 0 &&
    (pads?.[i + kernel.length] ?? 0) === 0;
  let count = 0;
  while (count < kernel.length && covered(count)) count++;
  return count;
}

/** The first `count` entries of one value, the others as they were. */
function replaced(node: Node, name: string, count: number, value: number): Record<string, Attribute> {
  const given = intsAttribute(node, name);
  return given ? { [name]: ints(given.map((v, i) => (i < count ? value : v))) } : {};
}

function collapse(editor: GraphEditor, node: Node): boolean {
  const [x, w, ...rest] = node.inputs;
  const shape = shapeOf(x);
  const weights = constantOf(w);
  if (!isOp(node, 'Conv') || !x || !w || !shape || !weights || shape.length !== weights.dims.length) return false;
  const auto = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (intAttribute(node, 'group', 1) !== 1 || (auto !== 'NOTSET' && auto !== 'VALID')) return false;
  const [outputs, channels, ...kernel] = weights.dims;
  const count = coveredAxes(node, shape.slice(2), kernel);
  const joined = channels * sizeOf(kernel.slice(0, count));
  if (joined <= channels) return false;
  const ones = new Array<number>(count).fill(1);
  // A zero keeps the dimension of the input.
  const target = [0, joined, ...ones, ...kernel.slice(count).map(() => 0)];
  const view = makeValue(`${x.name}_joined`, {
    kind: 'tensor',
    dtype: weights.dtype,
    shape: [shape[0], joined, ...ones, ...shape.slice(2 + count)],
  });
  editor.insert(node, { op: 'Reshape', version: 13, inputs: [x, makeConstant('shape', int64Vector(target))] }, [view]);
  const dims = [outputs, joined, ...ones, ...kernel.slice(count)];
  const turned: Value = makeConstant(`${w.name}_joined`, { ...weights, dims });
  const attributes = {
    ...Object.fromEntries(node.attributes),
    ...replaced(node, 'kernel_shape', count, 1),
    ...replaced(node, 'strides', count, 1),
  };
  editor.fuse([node], node, { op: 'Conv', version: node.version, inputs: [view, turned, ...rest], attributes });
  return true;
}

function collapseAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = collapse(editor, node) || changed;
  return changed;
}

export const collapseConv: Pass = { name: 'collapse-conv', run: (graph) => everyGraph(graph, collapseAll) };

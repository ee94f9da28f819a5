/**
 * Takes away the outer taps of a convolution's kernel that meet nothing but padding: strongly dilated kernels reach
 * beyond a small input, and their borders would be larger than the input itself.
 */

import { type Attribute, type Graph, makeConstant, type Node } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { strided } from '../ops/movement.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { constantOf, ints, intsAttribute, isOp, shapeOf, stringAttribute } from './match.ts';
import type { Pass } from './pass.ts';

/** One axis: the taps to keep, and the padding that goes with them. */
interface Trim {
  readonly first: number;
  readonly taps: number;
  readonly before: number;
  readonly after: number;
}

/** What an axis of `size` elements needs of its kernel; undefined where that is all. */
function trimOf(size: number, taps: number, dilation: number, stride: number, before: number, after: number) {
  const reach = (taps - 1) * dilation + 1;
  const positions = Math.floor((size + before + after - reach) / stride) + 1;
  if (positions < 1) return undefined;
  // Tap k meets elements k * dilation - before + stride * position.
  const meets = (k: number): boolean => {
    const lowest = k * dilation - before;
    const highest = lowest + (positions - 1) * stride;
    if (highest < 0 || lowest >= size) return false;
    const inside = lowest >= 0 ? lowest : lowest + Math.ceil(-lowest / stride) * stride;
    return inside < size && inside <= highest;
  };
  let first = 0;
  while (first < taps && !meets(first)) first++;
  let last = taps - 1;
  while (last >= first && !meets(last)) last--;
  if (first > last || (first === 0 && last === taps - 1)) return undefined;
  const kept = last - first + 1;
  const rest = before - first * dilation;
  const keptReach = (kept - 1) * dilation + 1;
  const trim = {
    first,
    taps: kept,
    before: rest,
    after: Math.max(0, (positions - 1) * stride + keptReach - size - rest),
  };
  // Padding cannot say that the input's first or last elements are not wanted.
  const same = Math.floor((size + rest + trim.after - keptReach) / stride) + 1 === positions;
  return rest >= 0 && same ? trim : undefined;
}

function trimsOf(node: Node, sizes: readonly unknown[], kernel: readonly number[]): (Trim | undefined)[] | undefined {
  const rank = kernel.length;
  const pads = intsAttribute(node, 'pads') ?? new Array<number>(2 * rank).fill(0);
  const auto = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (auto !== 'NOTSET' || pads.length !== 2 * rank) return undefined;
  return kernel.map((taps, i) => {
    const size = sizes[i];
    if (typeof size !== 'number' || size === 0) return undefined;
    const dilation = intsAttribute(node, 'dilations')?.[i] ?? 1;
    const stride = intsAttribute(node, 'strides')?.[i] ?? 1;
    return trimOf(size, taps, dilation, stride, pads[i], pads[i + rank]);
  });
}

/** The weights' taps that are kept. */
function trimmed(weights: HostTensor, trims: readonly (Trim | undefined)[]): HostTensor {
  const [outputs, channels, ...kernel] = weights.dims;
  const dims = [outputs, channels, ...kernel.map((taps, i) => trims[i]?.taps ?? taps)];
  const strides = weights.dims.map((_, i) => sizeOf(weights.dims.slice(i + 1)));
  const offset = trims.reduce((sum, trim, i) => sum + (trim?.first ?? 0) * strides[i + 2], 0);
  return strided(weights, dims, strides, offset);
}

function trim(editor: GraphEditor, node: Node): boolean {
  const [x, w, ...rest] = node.inputs;
  const shape = shapeOf(x);
  const weights = constantOf(w, 'float32');
  if (!isOp(node, 'Conv') || !x || !w || !weights || shape?.length !== weights.dims.length) return false;
  const kernel = weights.dims.slice(2);
  const trims = trimsOf(node, shape.slice(2), kernel);
  if (!trims?.some((each) => each)) return false;
  const pads = intsAttribute(node, 'pads') ?? [];
  const rank = kernel.length;
  const attributes: Record<string, Attribute> = {
    ...Object.fromEntries(node.attributes),
    kernel_shape: ints(kernel.map((taps, i) => trims[i]?.taps ?? taps)),
    pads: ints(
      [...kernel, ...kernel].map((_, i) => {
        const each = trims[i % rank];
        return each ? (i < rank ? each.before : each.after) : (pads[i] ?? 0);
      }),
    ),
  };
  const kept = makeConstant(`${w.name}_trimmed`, trimmed(weights, trims));
  editor.fuse([node], node, { op: 'Conv', version: node.version, inputs: [x, kept, ...rest], attributes });
  return true;
}

function trimAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = trim(editor, node) || changed;
  return changed;
}

export const trimConv: Pass = { name: 'trim-conv', run: (graph) => everyGraph(graph, trimAll) };

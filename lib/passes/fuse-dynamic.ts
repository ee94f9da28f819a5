/**
 * Products of a dynamically quantized value with constant 8-bit weights become one layer, whose kernel makes bytes of
 * each row itself. Sparse weights stay with the float kernels, which skip their zeros.
 */

import type { Graph, Node, Value } from '../ir/graph.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { constantOf, dtypeOf, isOp, producedBy, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

/** Fewer nonzeros than this share are multiplied faster as floats. */
const DENSE = 0.05;
/** Elements looked at, spread over the weights. */
const SAMPLES = 4096;

/** Share of the weights that differ from their zero point. */
function density(weights: HostTensor, zero: HostTensor | undefined): number {
  const [data, columns] = [weights.data as Uint8Array, weights.dims[1]];
  const step = Math.max(1, Math.floor(data.length / SAMPLES));
  const zeros = zero?.data as Uint8Array | undefined;
  let looked = 0;
  let nonzero = 0;
  for (let i = 0; i < data.length; i += step + (step % columns === 0 ? 1 : 0)) {
    looked++;
    if (data[i] !== (zeros?.[zeros.length === 1 ? 0 : i % columns] ?? 0)) nonzero++;
  }
  return looked ? nonzero / looked : 1;
}

/** The float value behind DequantizeLinear(DynamicQuantizeLinear(x)). */
function dynamicSource(value: Value | null | undefined): Value | undefined {
  const back = producedBy(value, 'DequantizeLinear');
  const quantize = producedBy(back?.inputs[0], 'DynamicQuantizeLinear');
  if (!quantize || back?.inputs.some((input, i) => input && input !== quantize.outputs[i])) return undefined;
  return quantize.inputs[0] ?? undefined;
}

function fuse(editor: GraphEditor, node: Node): boolean {
  if (!isOp(node, 'MatMul')) return false;
  const x = dynamicSource(node.inputs[0]);
  const back = producedBy(node.inputs[1], 'DequantizeLinear');
  const [w, scale, zero] = back?.inputs ?? [];
  const weights = constantOf(w);
  const rank = shapeOf(x)?.length ?? 0;
  if (!x || !w || !scale || !weights || weights.dims.length !== 2 || rank < 2 || dtypeOf(x) !== 'float32') return false;
  if (!['int8', 'uint8'].includes(weights.dtype) || !constantOf(scale, 'float32')) return false;
  const zeros = zero ? constantOf(zero, weights.dtype) : undefined;
  if ((zero && !zeros) || density(weights, zeros) < DENSE) return false;
  const inputs = [x, w, null, null, scale, ...(zero ? [zero] : [])];
  editor.fuse([node], node, { op: 'DynamicLinear', domain: 'filigree', version: 1, inputs });
  return true;
}

function fuseAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = fuse(editor, node) || changed;
  return changed;
}

export const fuseDynamic: Pass = { name: 'fuse-dynamic', run: (graph) => everyGraph(graph, fuseAll) };

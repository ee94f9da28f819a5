/**
 * Local response normalisation as a convolution: sums of squares over neighbouring channels are a 1x1 convolution whose
 * weights are a band, which sparse kernels make the most of.
 */

import { type Graph, makeConstant, makeValue, type Node, type Value } from '../ir/graph.ts';
import { fromNumbers, tensor } from '../ir/tensor.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { dtypeOf, floatAttribute, intAttribute, isOp, shapeOf } from './match.ts';
import type { Pass } from './pass.ts';

/** More channels would make too large a matrix. */
const MAX_CHANNELS = 4096;

/** Weights [channels, channels, 1 ...]: `factor` for the `size` channels around each. */
function band(channels: number, size: number, factor: number, spatial: number): Value {
  const before = Math.floor((size - 1) / 2);
  const weights = new Float32Array(channels * channels);
  for (let c = 0; c < channels; c++) {
    const end = Math.min(channels, c - before + size);
    for (let k = Math.max(0, c - before); k < end; k++) weights[c * channels + k] = factor;
  }
  const dims = [channels, channels, ...new Array<number>(spatial).fill(1)];
  return makeConstant('band', tensor('float32', dims, weights));
}

function unpack(editor: GraphEditor, node: Node): boolean {
  const [x] = node.inputs;
  const shape = shapeOf(x);
  const channels = shape?.[1];
  if (!isOp(node, 'LRN') || !x || !shape || dtypeOf(x) !== 'float32' || typeof channels !== 'number') return false;
  const spatial = shape.length - 2;
  const size = intAttribute(node, 'size', 0);
  if (spatial < 1 || spatial > 3 || size < 1 || channels < 1 || channels > MAX_CHANNELS) return false;
  const bias = fromNumbers('float32', [channels], new Array<number>(channels).fill(floatAttribute(node, 'bias', 1)));
  const exponent = fromNumbers('float32', [], [-floatAttribute(node, 'beta', 0.75)]);
  const add = (op: string, version: number, inputs: readonly Value[]): Value => {
    const value = makeValue(`${node.name}_${op.toLowerCase()}`, { kind: 'tensor', dtype: 'float32', shape });
    editor.insert(node, { op, version, inputs }, [value]);
    return value;
  };
  const weights = band(channels, size, floatAttribute(node, 'alpha', 1e-4) / size, spatial);
  const sums = add('Conv', 11, [add('Mul', 14, [x, x]), weights, makeConstant('bias', bias)]);
  const divisor = add('Pow', 15, [sums, makeConstant('exponent', exponent)]);
  editor.fuse([node], node, { op: 'Mul', version: 14, inputs: [x, divisor] });
  return true;
}

function unpackAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = unpack(editor, node) || changed;
  return changed;
}

export const unpackResponse: Pass = { name: 'unpack-response', run: (graph) => everyGraph(graph, unpackAll) };

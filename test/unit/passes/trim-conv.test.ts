import { expect, test } from 'vitest';
import { trimConv } from '../../../lib/passes/trim-conv.ts';
import { attribute, floats, node, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

interface Case {
  readonly size: number[];
  readonly kernel: number[];
  readonly pads: number[];
  readonly dilations?: number[];
  readonly strides?: number[];
  /** The kernel that is left. */
  readonly left: number[];
}

test.each<Case>([
  { size: [7, 9], kernel: [3, 3], pads: [12, 12, 12, 12], dilations: [12, 12], left: [1, 1] },
  { size: [7, 9], kernel: [3, 3], pads: [8, 8, 8, 8], dilations: [8, 8], left: [1, 3] },
  { size: [7, 9], kernel: [3, 3], pads: [1, 1, 1, 1], left: [3, 3] },
  { size: [1, 9], kernel: [3, 3], pads: [1, 1, 1, 1], left: [1, 3] },
  { size: [2, 2], kernel: [5, 5], pads: [2, 2, 2, 2], left: [3, 3] },
  { size: [4], kernel: [3], pads: [6, 6], dilations: [6], strides: [2], left: [1] },
  { size: [4], kernel: [3], pads: [7, 0], dilations: [3], left: [2] },
  { size: [3, 3, 3], kernel: [3, 3, 3], pads: [4, 0, 4, 4, 0, 4], dilations: [4, 1, 4], left: [1, 3, 1] },
])('$size by $kernel, pads $pads', ({ size, kernel, pads, dilations, strides, left }) => {
  const weights = [4, 3, ...kernel];
  const count = weights.reduce((a, b) => a * b, 1);
  const attributes = [attribute.ints('pads', pads), attribute.ints('kernel_shape', kernel)];
  if (dilations) attributes.push(attribute.ints('dilations', dilations));
  if (strides) attributes.push(attribute.ints('strides', strides));
  const { graph } = rewrite(
    {
      nodes: [node('Conv', ['x', 'w', 'b'], ['y'], { attributes })],
      inputs: [port('x', 'float32', [2, 3, ...size])],
      outputs: [port('y', 'float32')],
      initializers: [floats('w', noise(count, 3), weights), floats('b', noise(4, 4))],
    },
    [trimConv],
  );
  expect(graph.nodes[0].inputs[1]?.constant).toMatchObject({ dims: [4, 3, ...left] });
});

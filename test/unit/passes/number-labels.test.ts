import { describe, expect, test } from 'vitest';
import type { HostTensor } from '../../../lib/ir/tensor.ts';
import { verifyGraph } from '../../../lib/ir/verify.ts';
import { loadModel } from '../../../lib/onnx/load.ts';
import { interpret } from '../../../lib/ops/interpret.ts';
import { numberStringLabels } from '../../../lib/passes/number-labels.ts';
import { attribute, model, node, opset, port } from '../../models/onnx-writer.ts';
import { t } from '../../ops/node.ts';

function linear(names: readonly string[], coefficients: number[], intercepts: number[]) {
  const attributes = [
    attribute.strings('classlabels_strings', names),
    attribute.floats('coefficients', coefficients),
    attribute.floats('intercepts', intercepts),
  ];
  const { graph } = loadModel(
    model({
      opsets: [opset('', 18), opset('ai.onnx.ml', 3)],
      nodes: [node('LinearClassifier', ['x'], ['label', 'scores'], { domain: 'ai.onnx.ml', attributes })],
      inputs: [port('x', 'float32', ['N', 2])],
      outputs: [port('label', 'string', ['N']), port('scores', 'float32', ['N', null])],
    }),
  );
  const feed = t('float32', [1, 2, -3, 1, 0.5, -4], [3, 2]);
  const want = interpret(graph, [feed]) as HostTensor[];
  numberStringLabels.run(graph);
  verifyGraph(graph);
  const got = interpret(graph, [feed]) as HostTensor[];
  expect(got.map(({ data }) => data)).toEqual(want.map(({ data }) => data));
  return graph.nodes.map(({ op }) => op);
}

describe('labels that are strings', () => {
  test('are named after they are numbered', () => {
    const three = [1, 0, 0, 1, -1, -1];
    expect(linear(['a', 'b', 'c'], three, [0, 0.5, 0])).toEqual(['LinearClassifier', 'LabelEncoder']);
    expect(linear(['no', 'yes'], [1, 1], [0])).toEqual(['LinearClassifier', 'LabelEncoder']);
  });

  test('stay where one model has answers of its own', () => {
    expect(linear(['a', 'b', 'c'], [1, 1], [0])).toEqual(['LinearClassifier']);
    expect(linear(['a'], [1, 1], [0])).toEqual(['LinearClassifier']);
  });
});

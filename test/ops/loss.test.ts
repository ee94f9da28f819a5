import { expect, test } from 'vitest';
import { makeValue } from '../../lib/ir/graph.ts';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { runNode } from '../../lib/ops/interpret.ts';
import { inferShapes } from './infer.ts';
import { evaluate, first, makeNode, t } from './node.ts';

const f = (values: number[], dims?: number[]) => t('float32', values, dims);
const numbers = (y: unknown) => Array.from(toNumbers(y as HostTensor), (v) => Math.round(v * 1e5) / 1e5);

test('NegativeLogLikelihoodLoss: reductions, weights, ignored labels', () => {
  const x = f([-1, -2, -3, -4, -5, -6], [2, 3]);
  const labels = t('int64', [2, 0]);
  const weights = f([1, 5, 3]);
  const loss = (inputs: HostTensor[], attributes: Record<string, string | number>) =>
    numbers(first('NegativeLogLikelihoodLoss', 13, inputs, attributes));
  expect(loss([x, labels], { reduction: 'none' })).toEqual([3, 4]);
  expect(loss([x, labels], { reduction: 'sum' })).toEqual([7]);
  expect(loss([x, labels], {})).toEqual([3.5]);
  expect(loss([x, labels, weights], {})).toEqual([(9 + 4) / 4]);
  expect(loss([x, labels, weights], { ignore_index: 0 })).toEqual([3]);
  expect(loss([x, t('int32', [-1, 0])], { ignore_index: -1, reduction: 'none' })).toEqual([0, 4]);
  expect(() => loss([x, t('int64', [3, 0])], {})).toThrow(/label is 3/);
  const map = f([-1, -2, -3, -4], [1, 2, 2]);
  expect(loss([map, t('int64', [1, 0], [1, 2])], { reduction: 'none' })).toEqual([3, 2]);
});

test('SoftmaxCrossEntropyLoss and its log-probabilities', () => {
  const x = f([0, Math.log(3), Math.log(4), 1000, 1000, 1000], [2, 3]);
  const [loss, logs] = evaluate('SoftmaxCrossEntropyLoss', 13, [x, t('int64', [1, 0])], { reduction: 'sum' }, 2);
  expect(numbers(loss)).toEqual([Math.round((Math.log(8 / 3) + Math.log(3)) * 1e5) / 1e5]);
  expect(numbers(logs).map((v) => Math.round(Math.exp(v) * 1e4))).toEqual([1250, 3750, 5000, 3333, 3333, 3333]);
  const types = [['float32', ['n', 'c', 'd']] as const, ['int64', ['n', 'd']] as const];
  expect(inferShapes('SoftmaxCrossEntropyLoss', 13, types, { reduction: 'none' }, 2)).toEqual([
    ['n', 'd'],
    ['n', 'c', 'd'],
  ]);
  expect(inferShapes('SoftmaxCrossEntropyLoss', 13, types, {}, 2)[0]).toEqual([]);
  expect(() => first('SoftmaxCrossEntropyLoss', 13, [x, t('int64', [1])])).toThrow(/labels are/);
});

function train(op: string, inputs: HostTensor[], attributes: Record<string, number | string>, outputs: number) {
  const node = makeNode(op, 1, inputs.length, {}, outputs);
  node.domain = 'ai.onnx.preview.training';
  node.outputs = Array.from({ length: outputs }, (_, i) => makeValue(`y${i}`));
  for (const [name, value] of Object.entries(attributes)) {
    node.attributes.set(name, typeof value === 'string' ? { type: 'string', value } : { type: 'float', value });
  }
  return runNode(node, inputs).map(numbers);
}

const rate = f([0.1], []);
const step = (n: number) => t('int64', [n], []);

test('Momentum over several tensors', () => {
  const attributes = { alpha: 0.5, beta: 0.25, norm_coefficient: 0, mode: 'standard' };
  const tensors = [f([1]), f([10]), f([2]), f([4]), f([8]), f([16])];
  // Velocities 0.5 * 8 + 2 and 0.5 * 16 + 4 at the first step, where the gradient counts fully.
  expect(train('Momentum', [rate, step(0), ...tensors], attributes, 4)).toEqual([[0.4], [8.8], [6], [12]]);
  expect(train('Momentum', [rate, step(1), ...tensors], attributes, 4)).toEqual([[0.55], [9.1], [4.5], [9]]);
  const nesterov = { ...attributes, mode: 'nesterov' };
  expect(train('Momentum', [rate, step(0), f([1]), f([2]), f([8])], nesterov, 2)).toEqual([[0.5], [6]]);
  expect(() => train('Momentum', [rate, step(0), ...tensors.slice(1)], attributes, 2)).toThrow(/groups of 3/);
});

test('Adagrad and Adam', () => {
  const adagrad = { decay_factor: 1, epsilon: 1, norm_coefficient: 1 };
  // Rate 0.05, gradient 1 + 2, squares 7 + 9.
  expect(train('Adagrad', [rate, step(1), f([1]), f([2]), f([7])], adagrad, 2)).toEqual([[0.97], [16]]);
  const adam = { alpha: 0.5, beta: 0.75, epsilon: 0, norm_coefficient: 0, norm_coefficient_post: 0.5 };
  const result = train('Adam', [rate, step(1), f([1]), f([2]), f([4]), f([4])], adam, 3);
  // Means 3 and squares 4; the rate is 0.1 * sqrt(0.25) / 0.5.
  expect(result).toEqual([[0.425], [3], [4]]);
});

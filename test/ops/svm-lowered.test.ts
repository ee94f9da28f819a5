import { describe, expect, test } from 'vitest';
import type { Attribute } from '../../lib/ir/graph.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';
import { t } from './node.ts';

const domain = 'ai.onnx.ml';
const floats = (value: readonly number[]): Attribute => ({ type: 'floats', value: value.map(Math.fround) });
const ints = (...value: number[]): Attribute => ({ type: 'ints', value });
const text = (value: string): Attribute => ({ type: 'string', value });
const noise = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 * seed));

const FEATURES = 4;
const functions = ['LINEAR', 'POLY', 'RBF', 'SIGMOID'];

function on(op: string, attributes: Record<string, Attribute>, outputs: number, rows = 9): LoweredCase {
  const x = t('float32', noise(rows * FEATURES, 7), [rows, FEATURES]);
  return { op, domain, version: 1, inputs: [x], attributes, outputs, bound: 2e-5 };
}

function classifier(kernel: string, perClass: number[], extra: Record<string, Attribute> = {}, rows = 9): LoweredCase {
  const classes = perClass.length;
  const pairs = (classes * (classes - 1)) / 2;
  const count = perClass.reduce((a, b) => a + b, 0);
  const attributes = {
    kernel_type: text(kernel),
    kernel_params: floats([0.4, 0.3, 3]),
    vectors_per_class: ints(...perClass),
    support_vectors: floats(noise(count * FEATURES, 3)),
    coefficients: floats(noise((classes - 1) * count, 5)),
    rho: floats(noise(pairs, 2)),
    classlabels_ints: ints(...perClass.map((_, i) => 3 * i + 1)),
    ...extra,
  };
  return on('SVMClassifier', attributes, 2, rows);
}

describe('support vector machines on kernels', () => {
  test.each(functions)('classifiers, %s', (kernel) => {
    for (const perClass of [
      [20, 15],
      [3, 4, 5],
      [1, 0, 2, 70],
    ]) {
      const pairs = (perClass.length * (perClass.length - 1)) / 2;
      const probable = { prob_a: floats(noise(pairs, 4).map((x) => x - 2)), prob_b: floats(noise(pairs, 6)) };
      for (const transform of ['NONE', 'LOGISTIC', 'SOFTMAX', 'SOFTMAX_ZERO']) {
        checkLowered(classifier(kernel, perClass, { post_transform: text(transform) }));
        checkLowered(classifier(kernel, perClass, { ...probable, post_transform: text(transform) }));
      }
    }
    checkLowered({ ...classifier(kernel, [5, 5]), outputs: 1 });
    checkLowered(classifier(kernel, [5, 5], {}, 1));
  });

  test('a classifier without support vectors', () => {
    const attributes = {
      coefficients: floats(noise(3 * FEATURES, 5)),
      rho: floats([0.25]),
      classlabels_ints: ints(4, 5, 6),
      post_transform: text('SOFTMAX'),
    };
    checkLowered(on('SVMClassifier', attributes, 2));
  });

  test.each(functions)('regressors, %s', (kernel) => {
    for (const count of [1, 16, 65]) {
      const attributes = {
        kernel_type: text(kernel),
        kernel_params: floats([0.4, 0.3, 2]),
        n_supports: { type: 'int', value: count } as const,
        support_vectors: floats(noise(count * FEATURES, 3)),
        coefficients: floats(noise(count, 5)),
        rho: floats([0.125]),
      };
      checkLowered(on('SVMRegressor', attributes, 1));
      checkLowered(on('SVMRegressor', { ...attributes, one_class: { type: 'int', value: 1 } }, 1));
      checkLowered(on('SVMRegressor', { ...attributes, post_transform: text('LOGISTIC') }, 1));
    }
  });

  test('attributes that do not fit', () => {
    const regressor = { n_supports: { type: 'int', value: 2 } as const, coefficients: floats([1, 2]) };
    expect(() => runLowered(on('SVMRegressor', regressor, 1))).toThrow('support vector');
    expect(() => runLowered(classifier('COSINE', [2, 2]))).toThrow('kernel_type');
    const short = { prob_a: floats([1]), prob_b: floats([1, 2, 3]) };
    expect(() => runLowered(classifier('RBF', [2, 2, 2], short))).toThrow('prob_a');
    expect(runLowered(classifier('RBF', [2], { classlabels_ints: ints(5), rho: floats([1]) })).reasons).toHaveLength(1);
  });
});

import { describe, expect, test } from 'vitest';
import type { Attribute } from '../../lib/ir/graph.ts';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';
import { t } from './node.ts';
import { Dice, type ForestOptions, forest, legacyForest, valuesFor } from './trees.ts';

const domain = 'ai.onnx.ml';
const small = { trees: 5, depth: 4, features: 3, targets: 3 } as const;

function rows(seed: number, count: number, features: number, dtype: HostTensor['dtype'] = 'float32'): HostTensor {
  const values = valuesFor(new Dice(seed + 100), count * features);
  return t(dtype, dtype.startsWith('float') ? values : values.map((x) => (Number.isFinite(x) ? Math.round(x) : 7)), [
    count,
    features,
  ]);
}

const text = (value: string): Attribute => ({ type: 'string', value });
const labels = (count: number): Attribute => ({
  type: 'ints',
  value: Array.from({ length: count }, (_, i) => 10 * i + 3),
});

function classifier(o: ForestOptions, x: HostTensor, attributes: Record<string, Attribute> = {}): LoweredCase {
  const all = { ...legacyForest('class', o), classlabels_int64s: labels(o.targets), ...attributes };
  return { op: 'TreeEnsembleClassifier', domain, version: 3, inputs: [x], attributes: all, outputs: 2 };
}

function regressor(o: ForestOptions, x: HostTensor, attributes: Record<string, Attribute> = {}): LoweredCase {
  const all = { ...legacyForest('target', o), n_targets: { type: 'int', value: o.targets } as const, ...attributes };
  return { op: 'TreeEnsembleRegressor', domain, version: 3, inputs: [x], attributes: all };
}

describe('tree ensembles on kernels', () => {
  test.each([1, 7, 8, 9, 31, 32, 33, 70])('%i rows', (count) => {
    for (const trees of [1, 7, 8, 9, 17]) {
      const o = { ...small, seed: count, trees, missing: true, votes: 'any' } as const;
      checkLowered(regressor(o, rows(count, count, 3)));
      checkLowered(regressor({ ...o, targets: 1, votes: 'one' }, rows(count, count, 3)));
    }
  });

  test('rows of no features go to the reference', () => {
    const o = { ...small, seed: 2, depth: 0, features: 0, missing: false };
    const { results, reasons } = runLowered(regressor(o, rows(2, 3, 0)));
    expect(reasons).toEqual(['rows of no features']);
    expect(results[0]).toMatchObject({ dims: [3, 3] });
  });

  test('many trees for one row are shared out', () => {
    const o = { ...small, seed: 4, trees: 600, depth: 7, targets: 2, votes: 'each' } as const;
    checkLowered(regressor(o, rows(4, 1, 3)), 2);
    checkLowered(regressor({ ...o, targets: 1, votes: 'one' }, rows(4, 3, 3)), 2);
  });

  test.each(['float32', 'float64', 'int32', 'int64'] as const)('rows of %s', (dtype) => {
    for (let seed = 1; seed <= 6; seed++) {
      const o = { ...small, seed, missing: seed % 2 === 0 };
      checkLowered({ ...regressor(o, rows(seed, 20, 3, dtype)), bound: 3e-6 });
    }
  });

  test.each(['SUM', 'AVERAGE', 'MIN', 'MAX'])('%s', (how) => {
    for (const votes of ['one', 'each', 'any'] as const) {
      const o = { ...small, seed: 9, votes, signed: true };
      const base: Attribute = { type: 'floats', value: [0.25, -1, 2] };
      checkLowered(regressor(o, rows(9, 12, 3), { aggregate_function: text(how), base_values: base }));
    }
  });

  test.each(['NONE', 'SOFTMAX', 'LOGISTIC', 'SOFTMAX_ZERO', 'PROBIT'])('%s of classes', (transform) => {
    const x = rows(3, 15, 3);
    checkLowered(classifier({ ...small, seed: 2, votes: 'each' }, x, { post_transform: text(transform) }));
    for (const signed of [false, true]) {
      for (const base of [[], [0.3], [0.3, -0.2]]) {
        for (const only of [0, 1]) {
          const o = { ...small, seed: 5, targets: 2, signed };
          const forestOf = legacyForest('class', o);
          const ids = forestOf.class_ids.value as number[];
          const attributes: Record<string, Attribute> = {
            class_ids: { type: 'ints', value: ids.map(() => only) },
            base_values: { type: 'floats', value: base },
            post_transform: text(transform),
          };
          checkLowered(classifier(o, x, attributes));
        }
      }
    }
  });

  test('a classifier of one label', () => {
    checkLowered(classifier({ ...small, seed: 8, targets: 1 }, rows(8, 9, 3)));
  });

  test('one output alone', () => {
    const c = classifier({ ...small, seed: 8 }, rows(8, 9, 3));
    checkLowered({ ...c, outputs: 1 });
  });

  test.each(['float32', 'float64', 'float16'] as const)('TreeEnsemble of %s, all modes', (dtype) => {
    for (let seed = 1; seed <= 12; seed++) {
      const o = { ...small, seed, trees: 9, missing: seed % 2 === 0 };
      const attributes = forest(dtype, o);
      checkLowered({ op: 'TreeEnsemble', domain, version: 5, inputs: [rows(seed, 40, 3, dtype)], attributes });
    }
  });

  test('splits and weights that are no float32 numbers', () => {
    const o = { ...small, seed: 3, targets: 1 };
    const { nodes_values, target_weights, ...rest } = legacyForest('target', o);
    const wide = (a: Attribute): Attribute => {
      const values = (a.value as number[]).map((x) => x + 1e-12);
      return { type: 'tensor', value: t('float64', values) };
    };
    const attributes = {
      ...{ ...rest, nodes_values_as_tensor: wide(nodes_values), target_weights_as_tensor: wide(target_weights) },
    };
    checkLowered({ ...regressor(o, rows(3, 30, 3)), attributes });
  });

  test('ensembles without a flat form run on the reference', () => {
    const o = { ...small, seed: 3 };
    const ints = (value: number[]): Attribute => ({ type: 'ints', value });
    const cycle = (x: number): LoweredCase =>
      regressor({ ...o, targets: 1 }, t('float32', [x], [1, 1]), {
        nodes_treeids: ints([0, 0, 0]),
        nodes_nodeids: ints([0, 1, 2]),
        nodes_featureids: ints([0, 0, 0]),
        nodes_modes: { type: 'strings', value: ['BRANCH_LEQ', 'BRANCH_LEQ', 'LEAF'] },
        nodes_values: { type: 'floats', value: [0, 0, 0] },
        nodes_truenodeids: ints([1, 1, 0]),
        nodes_falsenodeids: ints([2, 2, 0]),
        nodes_missing_value_tracks_true: ints([0, 0, 0]),
        target_treeids: ints([0]),
        target_nodeids: ints([2]),
        target_ids: ints([0]),
        target_weights: { type: 'floats', value: [0.5] },
      });
    expect(() => runLowered(cycle(-1))).toThrow('cycle');
    expect(runLowered(cycle(1)).reasons).toEqual(['the nodes of a tree form a cycle']);
    const narrow = runLowered({ ...regressor({ ...o, features: 1 }, t('float32', [], [0, 3])) });
    expect(narrow.reasons).toEqual(['no rows']);
    expect(() => runLowered(regressor(o, rows(3, 2, 2)))).toThrow('feature 2 of 2');
  });
});

import { describe, expect, test } from 'vitest';
import type { Attribute } from '../../lib/ir/graph.ts';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';
import { t } from './node.ts';
import { Dice, valuesFor } from './trees.ts';

const domain = 'ai.onnx.ml';
const floats = (...value: number[]): Attribute => ({ type: 'floats', value: value.map(Math.fround) });
const float = (value: number): Attribute => ({ type: 'float', value: Math.fround(value) });
const ints = (...value: number[]): Attribute => ({ type: 'ints', value });
const text = (value: string): Attribute => ({ type: 'string', value });
const texts = (...value: string[]): Attribute => ({ type: 'strings', value });
const list = (dtype: HostTensor['dtype'], ...values: number[]): Attribute => ({
  type: 'tensor',
  value: t(dtype, values),
});
const types = ['float32', 'float64', 'int32', 'int64'] as const;

function rows(dtype: HostTensor['dtype'], dims: readonly number[], odd = false): HostTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  const values = valuesFor(new Dice(count), count).map((x) => (odd || Number.isFinite(x) ? x : 1.5));
  return t(
    dtype,
    dtype.startsWith('float') ? values : values.map((x) => (Number.isFinite(x) ? Math.round(x) : 3)),
    dims,
  );
}

const on = (op: string, x: HostTensor, attributes: Record<string, Attribute>, more: Partial<LoweredCase> = {}) => ({
  ...{ op, domain, version: 3, inputs: [x], attributes, bound: 3e-6 },
  ...more,
});

describe.each(types)('columns of %s', (dtype) => {
  test.each([[1, 3], [7, 3], [2, 5, 3], [3]])('Scaler, Normalizer, Binarizer, Imputer on %j, %j', (...dims) => {
    const x = rows(dtype, dims);
    checkLowered(on('Scaler', x, { offset: floats(1, -2, 0.5), scale: floats(2, 3, 0.1) }));
    checkLowered(on('Scaler', x, { offset: floats(0.25), scale: floats(3) }));
    for (const norm of ['MAX', 'L1', 'L2']) checkLowered(on('Normalizer', x, { norm: text(norm) }));
    for (const threshold of [0, 0.5, -1]) checkLowered(on('Binarizer', x, { threshold: float(threshold) }));
    const whole = dtype.startsWith('int');
    const imputed: Record<string, Attribute> = whole
      ? { imputed_value_int64s: ints(7, 8, 9), replaced_value_int64: { type: 'int', value: 1 } }
      : { imputed_value_floats: floats(7, 8, 9), replaced_value_float: float(1.5) };
    checkLowered(on('Imputer', x, imputed));
  });

  test.each([1, 9, 40])('linear models of %i rows', (count) => {
    const x = rows(dtype, [count, 3]);
    const one = { coefficients: floats(1, -2, 0.5), intercepts: floats(0.25) };
    const three = { coefficients: floats(1, -2, 0.5, 0, 1, 1, -1, 0.3, 0.7), intercepts: floats(0.25, 0, -1) };
    for (const transform of ['NONE', 'SOFTMAX', 'LOGISTIC', 'SOFTMAX_ZERO']) {
      const post = { post_transform: text(transform) };
      checkLowered(on('LinearRegressor', x, { ...three, ...post, targets: { type: 'int', value: 3 } }));
      const classify = (attributes: Record<string, Attribute>) =>
        checkLowered(on('LinearClassifier', x, { ...attributes, ...post }, { outputs: 2 }));
      classify({ ...three, classlabels_ints: ints(5, 6, 7) });
      classify({ ...one, classlabels_ints: ints(5, 6) });
      classify({ ...one, classlabels_ints: ints(5) });
    }
    checkLowered(on('LinearRegressor', x, { coefficients: floats(1, 2, 3) }));
  });
});

test('a large offset leaves what the difference has', () => {
  checkLowered(on('Scaler', t('float64', [1700000000.25], [1, 1]), { offset: floats(1700000000), scale: floats(2) }));
});

test('rows of zeros and NaN', () => {
  const x = t('float32', [0, 0, 0, 0, -1, -2, 1, Number.NaN, 2], [3, 3]);
  for (const norm of ['MAX', 'L1', 'L2']) checkLowered(on('Normalizer', x, { norm: text(norm) }));
  checkLowered(on('Binarizer', x, { threshold: float(-1) }));
  checkLowered(on('Imputer', x, { imputed_value_floats: floats(5), replaced_value_float: float(Number.NaN) }));
  const wide = t('float64', [1, Number.NaN], [1, 2]);
  checkLowered(on('Imputer', wide, { imputed_value_floats: floats(5, 6), replaced_value_float: float(Number.NaN) }));
});

test('categories', () => {
  for (const dtype of types) checkLowered(on('OneHotEncoder', rows(dtype, [4, 2]), { cats_int64s: ints(-1, 0, 2) }));
  const strict = { cats_int64s: ints(1), zeros: { type: 'int', value: 0 } as const };
  expect(() => runLowered(on('OneHotEncoder', t('int64', [2]), strict))).toThrow('no category');
  expect(runLowered(on('OneHotEncoder', t('int64', [1]), strict)).reasons).toHaveLength(1);
});

test('features side by side', () => {
  const inputs = [rows('float32', [4, 3]), rows('int64', [4, 2]), rows('float64', [4, 1])];
  const on = (dims: Attribute) => ({
    op: 'FeatureVectorizer',
    domain,
    version: 3,
    inputs,
    attributes: { inputdimensions: dims },
  });
  checkLowered(on(ints(3, 2, 1)));
  checkLowered(on(ints(2, 4, 1)));
});

test('columns by their numbers', () => {
  for (const dtype of types) {
    const x = rows(dtype, [4, 3]);
    const pick = (...indices: number[]): LoweredCase => ({
      ...{ op: 'ArrayFeatureExtractor', domain, version: 3, inputs: [x, t('int64', indices)] },
    });
    checkLowered(pick(2, 0));
    checkLowered(pick(-1));
    expect(() => runLowered(pick(3))).toThrow();
  }
  checkLowered({
    op: 'ArrayFeatureExtractor',
    domain,
    version: 3,
    inputs: [t('int64', [4, 5, 6]), t('int64', [2, 2], [2, 1])],
  });
});

test('tables between numbers', () => {
  const table = (x: HostTensor, keys: Attribute, values: Attribute, extra: Record<string, Attribute> = {}) =>
    checkLowered(on('LabelEncoder', x, { keys_tensor: keys, values_tensor: values, ...extra }, { version: 4 }));
  table(t('int64', [3, 1, 2, 9, -4]), list('int64', 3, -4, 1), list('float32', 0.5, 1.5, 2.5));
  table(t('float32', [0.5, Number.NaN, -0, 2]), list('float32', 0.5, Number.NaN, 0), list('int64', 1, 2, 3));
  table(t('float64', [0.5, Number.NaN]), list('float64', 0.5, 0.25), list('float64', 4, 5));
  table(t('int32', [1, 2]), list('int32', 2, 2), list('int16', 7, 8), { default_tensor: list('int16', -3) });
  const old = { keys_int64s: ints(1, 1, 2), values_int64s: ints(5, 6, 7) };
  checkLowered(on('LabelEncoder', t('int64', [1, 2, 3]), old, { version: 2 }));
  const named = on(
    'LabelEncoder',
    t('int64', [1]),
    { keys_int64s: ints(1), values_strings: texts('a') },
    { version: 2 },
  );
  expect(runLowered(named).reasons).toHaveLength(1);
});

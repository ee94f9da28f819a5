import { expect, test } from 'vitest';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { inferNode, inferShapes } from './infer.ts';
import { evaluate, first, t } from './node.ts';

const f = (values: number[], dims?: number[]) => t('float32', values, dims);
const epsilon = { type: 'float', value: 0 } as const;
const numbers = (y: unknown) => Array.from(toNumbers(y as HostTensor), (v) => Math.round(v * 1e4) / 1e4);

test('BatchNormalization: given statistics, and those of the batch', () => {
  const x = f([1, 3, 5, 7], [2, 1, 2]);
  const parameters = [f([2]), f([1]), f([4]), f([9])];
  expect(numbers(first('BatchNormalization', 9, [x, ...parameters], { epsilon }))).toEqual([-1, 0.3333, 1.6667, 3]);
  const momentum = { type: 'float', value: 0.75 } as const;
  const trained = evaluate('BatchNormalization', 15, [x, ...parameters], { epsilon, momentum, training_mode: 1 }, 3);
  expect(numbers(trained[0])).toEqual([-1.6833, 0.1056, 1.8944, 3.6833]);
  // Mean 4 and variance 5 of the batch.
  expect(trained.slice(1, 3).map(numbers)).toEqual([[4], [8]]);
  // Before version 14 the extra outputs ask for training.
  const old = evaluate('BatchNormalization', 7, [x, ...parameters], { epsilon, momentum }, 5);
  expect(old.slice(1).map(numbers)).toEqual([[4], [8], [4], [5]]);
  expect(() => first('BatchNormalization', 15, [f([1, 2], [1, 2]), ...parameters])).toThrow(/expected 2 elements/);
});

test('BatchNormalization without spatial keeps statistics of every position', () => {
  const x = f([1, 2], [1, 1, 2]);
  const y = first('BatchNormalization', 7, [x, f([1, 1]), f([0, 0]), f([1, 0]), f([1, 4])], { epsilon, spatial: 0 });
  expect(numbers(y)).toEqual([0, 1]);
});

test('Instance and group normalization', () => {
  const x = f([1, 3, 2, 6], [1, 2, 2]);
  expect(numbers(first('InstanceNormalization', 6, [x, f([1, 2]), f([0, 1])], { epsilon }))).toEqual([-1, 1, -1, 3]);
  const group = (version: number, parameters: number[]) =>
    numbers(first('GroupNormalization', version, [x, f(parameters), f(parameters)], { epsilon, num_groups: 1 }));
  // Mean 3 and variance 3.5 over both channels.
  expect(group(21, [1, 2])).toEqual([-0.069, 1, 0.931, 5.2071]);
  expect(group(18, [1])).toEqual([-0.069, 1, 0.4655, 2.6036]);
  expect(() => group(21, [1])).toThrow(/expected \[2\]/);
});

test('Layer normalization with its statistics, and without the mean', () => {
  const x = f([1, 3, 2, 6], [2, 2]);
  const outputs = evaluate('LayerNormalization', 17, [x, f([1, 2]), f([1])], { epsilon }, 3) as HostTensor[];
  expect(outputs.map((y) => y.dims)).toEqual([
    [2, 2],
    [2, 1],
    [2, 1],
  ]);
  expect(outputs.map(numbers)).toEqual([
    [0, 3, 0, 3],
    [2, 4],
    [1, 0.5],
  ]);
  const rms = first('RMSNormalization', 23, [f([3, 4], [1, 2]), f([1, 10])], { epsilon });
  expect(numbers(rms)).toEqual([0.8485, 11.3137]);
  const simplified = evaluate('SimplifiedLayerNormalization', 17, [f([3, 4], [1, 2]), f([1, 10])], { epsilon }, 2);
  expect(simplified.map(numbers)).toEqual([[0.8485, 11.3137], [0.2828]]);
  expect(() => first('LayerNormalization', 17, [x, f([1, 2, 3])])).toThrow(/does not broadcast/);
});

test('half precision statistics are float32', () => {
  const types = inferNode(
    'LayerNormalization',
    17,
    [
      ['float16', ['n', 4]],
      ['float16', [4]],
    ],
    {},
    3,
  );
  expect(types).toMatchObject([
    { dtype: 'float16', shape: ['n', 4] },
    { dtype: 'float32', shape: ['n', 1] },
    { dtype: 'float32', shape: ['n', 1] },
  ]);
});

test('LpNormalization, MeanVarianceNormalization, LRN', () => {
  expect(numbers(first('LpNormalization', 22, [f([3, 0, 4, 0], [2, 2])], { axis: 0 }))).toEqual([0.6, 0, 0.8, 0]);
  expect(numbers(first('LpNormalization', 22, [f([3, -1], [1, 2])], { p: 1 }))).toEqual([0.75, -0.25]);
  const x = f([1, 3, 5, 7], [1, 2, 1, 2]);
  expect(numbers(first('MeanVarianceNormalization', 13, [x]))).toEqual([-1, 1, -1, 1]);
  expect(numbers(first('MeanVarianceNormalization', 13, [x], { axes: [1, -1] }))).toEqual([
    -1.3416, -0.4472, 0.4472, 1.3416,
  ]);
  const one = { type: 'float', value: 1 } as const;
  const response = first('LRN', 13, [f([1, 2, 3], [1, 3, 1, 1])], {
    size: 2,
    alpha: { type: 'float', value: 2 },
    beta: one,
  });
  expect(numbers(response)).toEqual([0.1667, 0.1429, 0.3]);
});

test('Dropout passes on at inference and drops reproducibly in training', () => {
  const x = f(new Array(1000).fill(3));
  const [y, mask] = evaluate('Dropout', 12, [x], {}, 2) as HostTensor[];
  expect(numbers(y).every((v) => v === 3)).toBe(true);
  expect([mask.dtype, numbers(mask).every((v) => v === 1)]).toEqual(['bool', true]);
  const train = (seed: number) =>
    (evaluate('Dropout', 13, [x, f([0.25], []), t('bool', [1], [])], { seed }, 2) as HostTensor[]).map(numbers);
  const [dropped, kept] = train(7);
  expect(dropped).toEqual(kept.map((keep) => keep * 4));
  const share = kept.reduce((a, b) => a + b) / kept.length;
  expect(Math.abs(share - 0.75)).toBeLessThan(0.06);
  expect(train(7)).toEqual(train(7));
  expect(train(8)).not.toEqual(train(7));
  expect(() => evaluate('Dropout', 13, [x, f([1], []), t('bool', [1], [])])).toThrow(/ratio is 1/);
});

test('inference keeps symbols and checks parameters', () => {
  const x = ['float32', ['n', 4, 'h']] as const;
  expect(inferShapes('InstanceNormalization', 22, [x, ['float32', [4]], ['float32', [4]]])).toEqual([['n', 4, 'h']]);
  expect(() => inferShapes('InstanceNormalization', 22, [x, ['float32', [3]], ['float32', [4]]])).toThrow(/scale is/);
  expect(() =>
    inferShapes('GroupNormalization', 21, [x, ['float32', [4]], ['float32', [4]]], { num_groups: 3 }),
  ).toThrow(/divisor/);
});

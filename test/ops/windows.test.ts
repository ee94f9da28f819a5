import { expect, test } from 'vitest';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { inferShapes } from './infer.ts';
import { evaluate, first, t } from './node.ts';

const run = (...args: Parameters<typeof first>) => {
  const y = first(...args);
  return [y.dims, Array.from(toNumbers(y))];
};
const ramp = (...dims: number[]) => {
  const count = dims.reduce((a, b) => a * b, 1);
  return t(
    'float32',
    Array.from({ length: count }, (_, i) => i + 1),
    dims,
  );
};

test('Conv of one, two and three axes', () => {
  const line = ramp(1, 1, 5);
  expect(run('Conv', 22, [line, t('float32', [1, 10], [1, 1, 2])], { strides: [2] })).toEqual([
    [1, 1, 2],
    [21, 43],
  ]);
  expect(run('Conv', 1, [line, t('float32', [1, 10], [1, 1, 2])], { dilations: [3], pads: [1, 0] })).toEqual([
    [1, 1, 3],
    [30, 41, 52],
  ]);
  const plane = ramp(1, 1, 3, 3);
  expect(run('Conv', 11, [plane, t('float32', [1, 1, 1, 1], [1, 1, 2, 2]), t('float32', [0.5])])).toEqual([
    [1, 1, 2, 2],
    [12.5, 16.5, 24.5, 28.5],
  ]);
  const cube = ramp(1, 1, 2, 2, 2);
  expect(run('Conv', 22, [cube, ramp(1, 1, 2, 2, 2)])).toEqual([[1, 1, 1, 1, 1], [204]]);
});

test('Conv deals channels to groups, and pads as auto_pad says', () => {
  const x = t('float64', [1, 2, 3, 4], [1, 2, 2]);
  const w = t('float64', [10, 100], [2, 1, 1]);
  expect(run('Conv', 22, [x, w], { group: 2 })).toEqual([
    [1, 2, 2],
    [10, 20, 300, 400],
  ]);
  const line = ramp(1, 1, 3);
  const pair = t('float32', [1, 10], [1, 1, 2]);
  expect(run('Conv', 22, [line, pair], { auto_pad: 'SAME_UPPER' })[1]).toEqual([21, 32, 3]);
  expect(run('Conv', 22, [line, pair], { auto_pad: 'SAME_LOWER' })[1]).toEqual([10, 21, 32]);
  expect(run('Conv', 22, [line, pair], { auto_pad: 'VALID' })[1]).toEqual([21, 32]);
  expect(() => first('Conv', 22, [x, w])).toThrow(/2 channels.*expects 1/);
  expect(() => first('Conv', 22, [line, ramp(1, 1, 4)])).toThrow(/spans 4.*has 3/);
});

test('Conv rounds float16 once', () => {
  // 2048 + 1 is no float16, 2048 + 1 + 1 is.
  const x = t('float16', [2048, 1, 1], [1, 3, 1]);
  expect(run('Conv', 22, [x, t('float16', [1, 1, 1], [1, 3, 1])])[1]).toEqual([2050]);
});

test('ConvTranspose with output padding and shape', () => {
  const x = ramp(1, 1, 2);
  const w = t('float32', [1, 10, 100], [1, 1, 3]);
  expect(run('ConvTranspose', 11, [x, w], { strides: [2] })[1]).toEqual([1, 10, 102, 20, 200]);
  expect(run('ConvTranspose', 11, [x, w], { strides: [2], pads: [1, 1], output_padding: [1] })[1]).toEqual([
    10, 102, 20, 200,
  ]);
  expect(run('ConvTranspose', 11, [x, w], { strides: [2], output_shape: [4] })[1]).toEqual([10, 102, 20, 200]);
  expect(run('ConvTranspose', 11, [x, w], { strides: [2], auto_pad: 'SAME_UPPER' })[1]).toEqual([1, 10, 102, 20]);
  expect(run('ConvTranspose', 11, [x, w], { strides: [2], output_shape: [7] })[1]).toEqual([1, 10, 102, 20, 200, 0, 0]);
});

test('DeformConv without offsets is Conv, and masks scale its samples', () => {
  const x = ramp(1, 1, 3, 3);
  const w = t('float32', [1, 1, 1, 1], [1, 1, 2, 2]);
  const zero = t('float32', new Array(32).fill(0), [1, 8, 2, 2]);
  expect(run('DeformConv', 19, [x, w, zero])[1]).toEqual([12, 16, 24, 28]);
  const half = t('float32', new Array(32).fill(0.5), [1, 8, 2, 2]);
  const mask = t('float32', new Array(16).fill(2), [1, 4, 2, 2]);
  // Half a step down and right: means of four neighbours, zeros outside.
  expect(run('DeformConv', 19, [x, w, half, null, mask])[1][0]).toBe(2 * (3 + 4 + 6 + 7));
  expect(() => first('DeformConv', 19, [x, w, t('float32', [0], [1, 1, 1, 1])])).toThrow(/offset/);
});

test('Col2Im sums overlapping blocks', () => {
  const columns = t('int64', [1n, 2n, 10n, 20n], [1, 2, 2]);
  const [dims, y] = run('Col2Im', 18, [columns, t('int64', [1, 3]), t('int64', [1, 2])]);
  expect([dims, y]).toEqual([
    [1, 1, 1, 3],
    [1, 12, 20],
  ]);
});

test('CausalConvWithState carries its last inputs', () => {
  const w = t('float32', [1, 10, 100], [1, 1, 3]);
  const all = evaluate('CausalConvWithState', 27, [ramp(1, 1, 4), w], {}, 2) as HostTensor[];
  expect(all.map((y) => Array.from(toNumbers(y)))).toEqual([
    [100, 210, 321, 432],
    [3, 4],
  ]);
  const next = evaluate('CausalConvWithState', 27, [t('float32', [5], [1, 1, 1]), w, null, all[1]], {}, 2);
  expect(next.map((y) => Array.from(toNumbers(y as HostTensor)))).toEqual([[543], [4, 5]]);
});

test('MaxPool: indices by rows and columns, dilations, ceil_mode', () => {
  const x = ramp(1, 1, 3, 3);
  const indices = (attributes: Record<string, number | number[]>) =>
    (evaluate('MaxPool', 12, [x], { kernel_shape: [2, 2], ...attributes }, 2) as HostTensor[]).map((y) => [
      ...toNumbers(y),
    ]);
  expect(indices({})).toEqual([
    [5, 6, 8, 9],
    [4, 5, 7, 8],
  ]);
  expect(indices({ storage_order: 1 })[1]).toEqual([4, 7, 5, 8]);
  expect(indices({ dilations: [2, 2] })).toEqual([[9], [8]]);
  expect(indices({ strides: [2, 2], ceil_mode: 1 })[0]).toEqual([5, 6, 8, 9]);
  expect(run('MaxPool', 12, [t('int8', [-5, -3, -9], [1, 1, 3])], { kernel_shape: [2], pads: [1, 0] })[1]).toEqual([
    -5, -3, -3,
  ]);
});

test('AveragePool counts the padding only where told, and nothing beyond it', () => {
  const x = ramp(1, 1, 6);
  const average = (attributes: Record<string, number | number[] | string>) =>
    run('AveragePool', 19, [x], { ceil_mode: 1, ...attributes })[1];
  expect(average({ kernel_shape: [4], strides: [3], pads: [1, 1], count_include_pad: 1 })).toEqual([1.5, 4.5, 3]);
  expect(average({ kernel_shape: [4], strides: [3], pads: [1, 1] })).toEqual([2, 4.5, 6]);
  // A window that would start behind the input is left out.
  expect(average({ kernel_shape: [2], strides: [3], pads: [0, 1] })).toEqual([1.5, 4.5]);
  expect(average({ kernel_shape: [3], strides: [2], auto_pad: 'VALID' })).toEqual([2, 4, 5.5]);
});

test('LpPool and the global pools', () => {
  const x = t('float32', [3, -4, 6, 8], [1, 1, 4]);
  expect(run('LpPool', 18, [x], { kernel_shape: [2], strides: [2] })[1]).toEqual([5, 10]);
  expect(run('LpPool', 18, [x], { kernel_shape: [2], strides: [2], p: 1 })[1]).toEqual([7, 14]);
  expect(run('LpPool', 1, [x], { kernel_shape: [4], p: { type: 'float', value: 1 } })[1]).toEqual([21]);
  expect(run('GlobalLpPool', 2, [x], { p: 1 })).toEqual([[1, 1, 1], [21]]);
  expect(run('GlobalMaxPool', 1, [x])).toEqual([[1, 1, 1], [8]]);
  expect(run('GlobalAveragePool', 1, [ramp(1, 2, 2, 2)])).toEqual([
    [1, 2, 1, 1],
    [2.5, 6.5],
  ]);
});

test('MaxUnpool and MaxRoiPool', () => {
  const x = t('float32', [1, 2], [1, 1, 2]);
  const unpool = { kernel_shape: [2], strides: [2] };
  expect(run('MaxUnpool', 11, [x, t('int64', [1, 2], [1, 1, 2])], unpool)[1]).toEqual([0, 1, 2, 0]);
  expect(() => first('MaxUnpool', 11, [x, t('int64', [1, 4], [1, 1, 2])], unpool)).toThrow(/index 4 is outside/);
  const rois = t('float32', [0, 0, 0, 3, 3, 0, 9, 9, 9, 9], [2, 5]);
  expect(run('MaxRoiPool', 1, [ramp(1, 1, 4, 4), rois], { pooled_shape: [2, 2] })).toEqual([
    [2, 1, 2, 2],
    [6, 8, 14, 16, 0, 0, 0, 0],
  ]);
});

test('Unknown sizes stay symbols where the window keeps them', () => {
  const x = ['float32', ['n', 3, 'h', 'w']] as const;
  const w = ['float32', [8, 3, 3, 3]] as const;
  expect(inferShapes('Conv', 22, [x, w], { pads: [1, 1, 1, 1] })).toEqual([['n', 8, 'h', 'w']]);
  expect(inferShapes('Conv', 22, [x, w])).toEqual([['n', 8, null, null]]);
  expect(inferShapes('Conv', 22, [x, w], { strides: [1, 2], auto_pad: 'SAME_UPPER' })).toEqual([['n', 8, 'h', null]]);
  expect(inferShapes('MaxPool', 22, [['float32', ['n', 3, 7, 'w']]], { kernel_shape: [3, 3] }, 2)).toEqual([
    ['n', 3, 5, null],
    ['n', 3, 5, null],
  ]);
  expect(inferShapes('GlobalMaxPool', 22, [x])).toEqual([['n', 3, 1, 1]]);
  expect(inferShapes('Conv', 22, [['float32', undefined], w])).toEqual([undefined]);
});

test('A huge kernel costs no more than the input', () => {
  const pads = [2 ** 30, 2 ** 30];
  const y = first('MaxPool', 12, [ramp(1, 1, 3)], { kernel_shape: [2 ** 31], pads: [...pads] });
  expect(Array.from(toNumbers(y))).toEqual([3, 3, 3, 3]);
});

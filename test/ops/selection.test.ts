import { expect, test } from 'vitest';
import { type HostTensor, toIntegers, toNumbers } from '../../lib/ir/tensor.ts';
import { entries, evaluate, first, t } from './node.ts';

const i64 = (...values: number[]) => t('int64', values);
const numbers = (...args: Parameters<typeof first>) => Array.from(toNumbers(first(...args)));
const matrix = t('float32', [1, 2, 3, 4, 5, 6], [2, 3]);

test('Gather, GatherElements, GatherND', () => {
  const words = t('string', ['a', 'b', 'c', 'd'], [2, 2]);
  const picked = first('Gather', 13, [words, t('int32', [-1, 0, 1], [1, 3])], { axis: 1 });
  expect([picked.dims, picked.data]).toEqual([
    [2, 1, 3],
    ['b', 'a', 'b', 'd', 'c', 'd'],
  ]);
  expect(() => first('Gather', 13, [words, i64(2)])).toThrow(/index 2 is outside \[-2, 1\]/);
  expect(numbers('GatherElements', 13, [matrix, t('int64', [2, -3, 0, 1], [2, 2])], { axis: 1 })).toEqual([3, 1, 4, 5]);
  expect(() => first('GatherElements', 13, [matrix, t('int64', [0, 0, 0], [3, 1])], { axis: 1 })).toThrow(/do not fit/);
  expect(numbers('GatherND', 13, [matrix, t('int64', [1, 0, 0, -1], [2, 2])])).toEqual([4, 3]);
  const batched = first('GatherND', 13, [matrix, t('int64', [2, 0], [2, 1])], { batch_dims: 1 });
  expect([batched.dims, entries(batched)]).toEqual([[2], [3, 4]]);
});

test('OneHot and Compress', () => {
  const hot = first('OneHot', 11, [t('float32', [1, -1, 5]), i64(3), t('string', ['-', 'x'])], { axis: 0 });
  expect([hot.dims, hot.data]).toEqual([
    [3, 3],
    ['-', '-', '-', 'x', '-', '-', '-', 'x', '-'],
  ]);
  expect(numbers('Compress', 11, [matrix, t('bool', [0, 1])], { axis: 1 })).toEqual([2, 5]);
  expect(numbers('Compress', 11, [matrix, t('bool', [0, 1, 0, 1])])).toEqual([2, 4]);
});

test('ScatterElements and ScatterND overwrite or combine', () => {
  const indices = t('int64', [1, 1], [1, 2]);
  const updates = t('float32', [10, 20], [1, 2]);
  const scatter = (version: number, reduction: string) =>
    numbers('ScatterElements', version, [matrix, indices, updates], { axis: 1, reduction });
  expect(scatter(18, 'none')).toEqual([1, 20, 3, 4, 5, 6]);
  expect(scatter(18, 'add')).toEqual([1, 32, 3, 4, 5, 6]);
  expect(scatter(18, 'mul')).toEqual([1, 400, 3, 4, 5, 6]);
  expect(scatter(18, 'max')).toEqual([1, 20, 3, 4, 5, 6]);
  expect(scatter(18, 'min')).toEqual([1, 2, 3, 4, 5, 6]);
  expect(() => scatter(16, 'max')).toThrow(/not one of version 16/);
  expect(() => scatter(18, 'toString')).toThrow(/reduction/);
  const nd = first('ScatterND', 18, [t('int4', [1, 2, 3, 4], [2, 2]), i64(1), t('int4', [-8, 7])]);
  expect(toIntegers(nd)).toEqual([1, 2, -8, 7]);
  expect(() => first('ScatterND', 18, [matrix, t('int64', [2], [1, 1]), t('float32', [1, 2, 3], [1, 3])])).toThrow(
    /index 2 is outside/,
  );
  expect(
    entries(first('ScatterND', 16, [i64(2 ** 60), t('int64', [0], [1, 1]), i64(1)], { reduction: 'add' })),
  ).toEqual([2n ** 60n + 1n]);
});

test('TensorScatter writes linearly or around', () => {
  const cache = t('float32', new Array(8).fill(0), [2, 4, 1]);
  const update = t('float32', [1, 2, 3, 4], [2, 2, 1]);
  expect(numbers('TensorScatter', 24, [cache, update, i64(0, 2)])).toEqual([1, 2, 0, 0, 0, 0, 3, 4]);
  expect(numbers('TensorScatter', 24, [cache, update, i64(3, 1)], { mode: 'circular' })).toEqual([
    2, 0, 0, 1, 0, 3, 4, 0,
  ]);
  expect(() => first('TensorScatter', 24, [cache, update, i64(3, 0)])).toThrow(/write_indices/);
});

test('reductions take axes from attribute or input, keep or drop them', () => {
  const sum = first('ReduceSum', 13, [matrix, i64(-1)], { keepdims: 0 });
  expect([sum.dims, entries(sum)]).toEqual([[2], [6, 15]]);
  expect(first('ReduceSum', 13, [matrix]).dims).toEqual([1, 1]);
  expect(numbers('ReduceMean', 11, [matrix], { axes: [0] })).toEqual([2.5, 3.5, 4.5]);
  expect(numbers('ReduceSumSquare', 18, [matrix], { noop_with_empty_axes: 1 })).toEqual([1, 4, 9, 16, 25, 36]);
  const middle = t('float32', [1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]);
  expect(numbers('ReduceProd', 18, [middle, i64(1)])).toEqual([3, 8, 35, 48]);
  expect(numbers('ReduceMax', 20, [middle, i64(0, 2)])).toEqual([6, 8]);
  expect(() => first('ReduceSum', 13, [matrix, i64(2)])).toThrow(/axis 2/);
});

test('reductions of integers are exact and wrap', () => {
  expect(entries(first('ReduceSum', 13, [t('int64', [2n ** 62n, 2n ** 62n, 1n])]))).toEqual([-(2n ** 63n) + 1n]);
  expect(entries(first('ReduceProd', 18, [t('int32', [65537, 65537, 3])]))).toEqual([393219]);
  expect(entries(first('ReduceMean', 18, [t('int64', [-3n, -4n])]))).toEqual([-3n]);
  expect(entries(first('ReduceMax', 20, [t('bool', [0, 1, 0])]))).toEqual([1]);
});

test('reductions of nothing and of extreme values', () => {
  const none = t('float32', [], [2, 0]);
  expect(numbers('ReduceMax', 20, [none, i64(1)])).toEqual([-Infinity, -Infinity]);
  expect(numbers('ReduceProd', 18, [none, i64(1)])).toEqual([1, 1]);
  expect(numbers('ReduceLogSumExp', 18, [none, i64(1)])).toEqual([-Infinity, -Infinity]);
  expect(numbers('ReduceMin', 18, [t('uint8', [], [0])])).toEqual([255]);
  expect(numbers('ReduceLogSumExp', 18, [t('float64', [1000, 1000])])[0]).toBeCloseTo(1000 + Math.LN2, 12);
  expect(numbers('ReduceMin', 18, [t('float32', [1, NaN])])).toEqual([NaN]);
});

test('Softmax works on an axis, before version 13 on all that follows', () => {
  const x = t('float32', [0, 0, 0, 0], [1, 2, 2]);
  expect(numbers('Softmax', 13, [x])).toEqual([0.5, 0.5, 0.5, 0.5]);
  expect(numbers('Softmax', 11, [x])).toEqual([0.25, 0.25, 0.25, 0.25]);
  expect(numbers('Hardmax', 13, [t('float32', [1, 3, 3, 2], [4])])).toEqual([0, 1, 0, 0]);
  expect(numbers('LogSoftmax', 13, [t('float32', [1000, 1000])], { axis: 0 })[0]).toBeCloseTo(-Math.LN2, 6);
});

test('CumSum and CumProd', () => {
  const x = i64(1, 2, 3);
  const axis = t('int32', [0], []);
  expect(numbers('CumSum', 14, [x, axis])).toEqual([1, 3, 6]);
  expect(numbers('CumSum', 14, [x, axis], { exclusive: 1, reverse: 1 })).toEqual([5, 3, 0]);
  expect(numbers('CumProd', 26, [x, axis], { exclusive: 1 })).toEqual([1, 1, 2]);
  expect(numbers('CumSum', 14, [matrix, axis])).toEqual([1, 2, 3, 5, 7, 9]);
  expect(entries(first('CumProd', 26, [t('int32', [65537, 65537]), axis]))).toEqual([65537, 131073]);
});

test('ArgMax picks the first or the last, and NaN', () => {
  const x = t('float32', [1, 5, 5, 2]);
  expect(numbers('ArgMax', 13, [x])).toEqual([1]);
  expect(numbers('ArgMax', 13, [x], { select_last_index: 1, keepdims: 0 })).toEqual([2]);
  expect(numbers('ArgMin', 13, [t('float32', [3, NaN, 1])])).toEqual([1]);
  expect(() => first('ArgMax', 13, [t('float32', [], [0])])).toThrow(/no elements/);
});

test('TopK sorts, breaks ties by index, and takes k from the attribute before version 10', () => {
  const x = t('float32', [3, 1, 3, 2, 9, 0, 4, 4], [2, 4]);
  const [values, indices] = evaluate('TopK', 11, [x, i64(3)], {}, 2) as HostTensor[];
  expect([entries(values), toIntegers(indices)]).toEqual([
    [3, 3, 2, 9, 4, 4],
    [0, 2, 3, 0, 2, 3],
  ]);
  expect(numbers('TopK', 11, [x, i64(1)], { axis: 0, largest: 0 })).toEqual([3, 0, 3, 2]);
  expect(numbers('TopK', 1, [x], { k: 1 })).toEqual([3, 9]);
  expect(() => first('TopK', 11, [x, i64(5)])).toThrow(/K is 5/);
});

test('NonZero and Unique', () => {
  const places = first('NonZero', 13, [t('float32', [1, 0, 2, NaN], [2, 2])]);
  expect([places.dims, toIntegers(places)]).toEqual([
    [2, 3],
    [0, 1, 1, 0, 0, 1],
  ]);
  const all = (...args: Parameters<typeof evaluate>) => evaluate(...args).map((y) => [...toNumbers(y as HostTensor)]);
  expect(all('Unique', 11, [t('float32', [2, 1, 1, 3, 4, 3])], { sorted: 0 }, 4)).toEqual([
    [2, 1, 3, 4],
    [0, 1, 3, 4],
    [0, 1, 1, 2, 3, 2],
    [1, 2, 2, 1],
  ]);
  expect(all('Unique', 11, [t('int64', [1, 0, 0, 1, 0, 0, 2, 3, 4], [3, 3])], { axis: 0 }, 4)).toEqual([
    [1, 0, 0, 2, 3, 4],
    [0, 2],
    [0, 0, 1],
    [2, 1],
  ]);
  expect(first('Unique', 11, [t('string', ['b', 'a', 'b'])]).data).toEqual(['a', 'b']);
});

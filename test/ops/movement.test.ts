import { expect, test } from 'vitest';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { entries, evaluate, first, t } from './node.ts';

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const i64 = (...values: number[]) => t('int64', values);
const entriesOf = (x: HostTensor) => [...toNumbers(x)];
const shown = (x: HostTensor) => ({ dims: x.dims, values: x.dtype === 'string' ? x.data : entriesOf(x) });

test('Reshape copies, infers and refuses', () => {
  const x = t('float32', range(12), [2, 6]);
  expect(first('Reshape', 25, [x, i64(0, -1, 3)]).dims).toEqual([2, 2, 3]);
  expect(first('Reshape', 4, [x], { shape: [3, 4] }).dims).toEqual([3, 4]);
  expect(first('Reshape', 14, [t('float32', [], [0, 3]), i64(3, 0)], { allowzero: 1 }).dims).toEqual([3, 0]);
  expect(() => first('Reshape', 14, [x, i64(5, -1)])).toThrow(/cannot reshape/);
  expect(() => first('Reshape', 14, [x, i64(-1, -1)])).toThrow(/more than one -1/);
  expect(() => first('Reshape', 14, [x, i64(2, 6, 0)])).toThrow(/copies dimension 2/);
});

test('Squeeze, Unsqueeze, Flatten, Shape, Size in old and new versions', () => {
  const x = t('uint4', range(6), [1, 2, 1, 3]);
  expect(first('Squeeze', 13, [x]).dims).toEqual([2, 3]);
  expect(first('Squeeze', 13, [x, i64(-2)]).dims).toEqual([1, 2, 3]);
  expect(first('Squeeze', 11, [x], { axes: [0] }).dims).toEqual([2, 1, 3]);
  expect(() => first('Squeeze', 13, [x, i64(1)])).toThrow(/cannot squeeze axis 1/);
  expect(first('Unsqueeze', 13, [x, i64(0, -1)]).dims).toEqual([1, 1, 2, 1, 3, 1]);
  expect(() => first('Unsqueeze', 13, [x, i64(0, 0)])).toThrow(/twice/);
  expect(first('Flatten', 13, [x], { axis: -1 }).dims).toEqual([2, 3]);
  expect(entries(first('Shape', 15, [x], { start: 1, end: -1 }))).toEqual([2n, 1n]);
  expect(entries(first('Size', 13, [x]))).toEqual([6n]);
});

test('Expand and Transpose move strings, packed and complex elements', () => {
  expect(shown(first('Expand', 13, [t('string', ['a', 'b'], [2, 1]), i64(1, 3)]))).toEqual({
    dims: [2, 3],
    values: ['a', 'a', 'a', 'b', 'b', 'b'],
  });
  expect(shown(first('Transpose', 21, [t('int4', [-8, 1, 2, 3, 4, 7], [2, 3])]))).toEqual({
    dims: [3, 2],
    values: [-8, 3, 1, 4, 2, 7],
  });
  expect(entries(first('Transpose', 13, [t('complex64', range(8), [2, 2])]))).toEqual([0, 1, 4, 5, 2, 3, 6, 7]);
  expect(() => first('Transpose', 13, [t('float32', range(4), [2, 2])], { perm: [0, 0] })).toThrow(/permutation/);
});

test('DepthToSpace and SpaceToDepth undo each other in both modes', () => {
  const x = t('float32', range(48), [1, 8, 2, 3]);
  for (const mode of ['DCR', 'CRD']) {
    const wide = first('DepthToSpace', 13, [x], { blocksize: 2, mode });
    expect(wide.dims).toEqual([1, 2, 4, 6]);
    expect(entries(first('SpaceToDepth', 28, [wide], { blocksize: 2, mode }))).toEqual(range(48));
  }
  const dcr = first('DepthToSpace', 13, [x], { blocksize: 2 });
  expect(entriesOf(dcr).slice(0, 6)).toEqual([0, 12, 1, 13, 2, 14]);
});

test('Slice clamps, steps backwards and takes its lists from attributes before version 10', () => {
  const x = t('float32', range(10), [2, 5]);
  expect(entriesOf(first('Slice', 13, [x, i64(0, 20), i64(2, -20), i64(0, 1), i64(1, -2)]))).toEqual([
    4, 2, 0, 9, 7, 5,
  ]);
  expect(first('Slice', 13, [x, i64(3), i64(1), i64(1)]).dims).toEqual([2, 0]);
  expect(entriesOf(first('Slice', 9, [x], { starts: [1], ends: [3], axes: [1] }))).toEqual([1, 2, 6, 7]);
  expect(() => first('Slice', 13, [x, i64(0), i64(1), i64(0), i64(0)])).toThrow(/step is 0/);
  expect(() => first('Slice', 13, [x, i64(0), i64(1), i64(2)])).toThrow(/axis 2/);
});

test('Split by sizes, evenly, and unevenly from version 18 on', () => {
  const x = t('float32', range(7));
  const sizes = (outputs: unknown[]) => outputs.map((y) => (y as HostTensor).dims[0]);
  expect(sizes(evaluate('Split', 13, [x, i64(2, 5)], {}, 2))).toEqual([2, 5]);
  expect(sizes(evaluate('Split', 18, [x], { num_outputs: 3 }, 3))).toEqual([3, 3, 1]);
  expect(sizes(evaluate('Split', 2, [x], { split: [3, 4] }, 2))).toEqual([3, 4]);
  expect(() => evaluate('Split', 13, [x], {}, 2)).toThrow(/equal parts/);
  expect(() => evaluate('Split', 13, [x, i64(2, 4)], {}, 2)).toThrow(/do not split/);
});

test('Concat and Tile', () => {
  const [a, b] = [t('string', ['a', 'b'], [2, 1]), t('string', ['c', 'd', 'e', 'f'], [2, 2])];
  expect(first('Concat', 13, [a, b], { axis: -1 }).data).toEqual(['a', 'c', 'd', 'b', 'e', 'f']);
  expect(() => first('Concat', 13, [a, b], { axis: 0 })).toThrow(/cannot join/);
  const empty = t('float32', [], [0, 3, 0]);
  const full = t('float32', range(6), [1, 3, 2]);
  for (const parts of [
    [empty, full],
    [full, empty],
  ]) {
    expect(shown(first('Concat', 13, parts, { axis: 2 }))).toEqual({ dims: [1, 3, 2], values: range(6) });
  }
  expect(first('Concat', 13, [empty, t('float32', [], [0, 3, 4])], { axis: 2 }).dims).toEqual([0, 3, 4]);
  expect(entriesOf(first('Tile', 13, [t('int2', [-2, 1], [1, 2]), i64(2, 2)]))).toEqual([-2, 1, -2, 1, -2, 1, -2, 1]);
  expect(() => first('Tile', 13, [a, i64(2)])).toThrow(/repeats/);
});

test('Pad in every mode, with negative pads, axes and old attributes', () => {
  const x = t('float32', [1, 2, 3]);
  const pad = (mode: string, ...pads: number[]) => entriesOf(first('Pad', 25, [x, i64(...pads)], { mode }));
  expect(pad('constant', 1, 1)).toEqual([0, 1, 2, 3, 0]);
  expect(pad('reflect', 5, 3)).toEqual([2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2]);
  expect(pad('edge', 2, 1)).toEqual([1, 1, 1, 2, 3, 3]);
  expect(pad('wrap', 4, 2)).toEqual([3, 1, 2, 3, 1, 2, 3, 1, 2]);
  expect(pad('constant', -1, 1)).toEqual([2, 3, 0]);
  expect(pad('edge', -1, 2)).toEqual([2, 3, 3, 3]);
  expect(() => pad('constant', -2, -2)).toThrow(/less than nothing/);
  const words = t('string', ['a', 'b'], [1, 2]);
  const padded = first('Pad', 18, [words, i64(1, 0), t('string', ['-'], []), i64(-1)]);
  expect(padded.data).toEqual(['-', 'a', 'b']);
  expect(entriesOf(first('Pad', 2, [x], { pads: [0, 2], value: { type: 'float', value: 7 } }))).toEqual([
    1, 2, 3, 7, 7,
  ]);
});

test('CenterCropPad shifts to the left on odd differences', () => {
  const x = t('float32', [1, 2, 3, 4]);
  expect(entriesOf(first('CenterCropPad', 18, [x, i64(1)]))).toEqual([2]);
  expect(entriesOf(first('CenterCropPad', 18, [x, i64(7)]))).toEqual([0, 1, 2, 3, 4, 0, 0]);
});

test('ReverseSequence and Trilu', () => {
  const x = t('float32', range(8), [2, 4]);
  const reversed = first('ReverseSequence', 10, [x, i64(1, 3)], { time_axis: 1, batch_axis: 0 });
  expect(entriesOf(reversed)).toEqual([0, 1, 2, 3, 6, 5, 4, 7]);
  expect(() => first('ReverseSequence', 10, [x, i64(9, 9)], { time_axis: 1, batch_axis: 0 })).toThrow(/sequence_lens/);
  const square = t(
    'int64',
    range(9).map((v) => v + 1),
    [3, 3],
  );
  expect(entriesOf(first('Trilu', 14, [square, t('int64', [1], [])]))).toEqual([0, 2, 3, 0, 0, 6, 0, 0, 0]);
  expect(entriesOf(first('Trilu', 14, [square], { upper: 0 }))).toEqual([1, 0, 0, 4, 5, 0, 7, 8, 9]);
});

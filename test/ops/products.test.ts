import { expect, test } from 'vitest';
import { toNumbers } from '../../lib/ir/tensor.ts';
import { inferShapes } from './infer.ts';
import { entries, first, t } from './node.ts';

const f = (values: number[], dims?: number[]) => t('float32', values, dims);
const run = (...args: Parameters<typeof first>) => {
  const y = first(...args);
  return [y.dims, Array.from(toNumbers(y))];
};

test('MatMul of vectors, matrices and stacks', () => {
  const a = f([1, 2, 3, 4], [2, 2]);
  expect(run('MatMul', 13, [f([1, 2]), f([3, 4])])).toEqual([[], [11]]);
  expect(run('MatMul', 13, [a, f([1, 10])])).toEqual([[2], [21, 43]]);
  expect(run('MatMul', 13, [f([1, 10]), a])).toEqual([[2], [31, 42]]);
  const stack = f([1, 2, 3, 4, 5, 6], [3, 1, 2]);
  expect(run('MatMul', 13, [stack, a])).toEqual([
    [3, 1, 2],
    [7, 10, 15, 22, 23, 34],
  ]);
  expect(run('MatMul', 13, [f([], [2, 0]), f([], [0, 1])])).toEqual([
    [2, 1],
    [0, 0],
  ]);
  expect(() => first('MatMul', 13, [a, f([1, 2, 3])])).toThrow(/inner sizes/);
  expect(
    inferShapes('MatMul', 13, [
      ['float32', ['n', 1, 'm', 4]],
      ['float32', [3, 4, 'k']],
    ]),
  ).toEqual([['n', 3, 'm', 'k']]);
});

test('integer products wrap exactly', () => {
  const big = 2n ** 40n + 1n;
  expect(entries(first('MatMul', 13, [t('int64', [big, 1]), t('int64', [big, -1])]))).toEqual([
    BigInt.asIntN(64, big * big - 1n),
  ]);
  expect(entries(first('MatMul', 13, [t('uint64', [2n ** 63n]), t('uint64', [3])]))).toEqual([2n ** 63n]);
  const odd = 2 ** 31 - 1;
  expect(entries(first('MatMul', 13, [t('int32', [odd, 7]), t('int32', [odd, 1])]))).toEqual([8]);
  expect(entries(first('MatMul', 13, [t('uint32', [2 ** 32 - 1]), t('uint32', [2])]))).toEqual([2 ** 32 - 2]);
});

test('Gemm transposes, scales and broadcasts', () => {
  const a = f([1, 2, 3, 4, 5, 6], [2, 3]);
  const b = f([1, 0, 0, 1, 1, 1], [3, 2]);
  const scaled = { alpha: { type: 'float', value: 2 }, beta: { type: 'float', value: 0.5 } } as const;
  expect(run('Gemm', 13, [a, b])).toEqual([
    [2, 2],
    [4, 5, 10, 11],
  ]);
  expect(run('Gemm', 13, [a, b, f([2, 4], [2, 1])], scaled)[1]).toEqual([9, 11, 22, 24]);
  expect(run('Gemm', 13, [a, a, f([10])], { transB: 1 })[1]).toEqual([24, 42, 42, 87]);
  expect(run('Gemm', 13, [b, b], { transA: 1 })[1]).toEqual([2, 1, 1, 2]);
  const i = t('int32', [3, 5], [1, 2]);
  expect(entries(first('Gemm', 13, [i, t('int32', [1, 1], [2, 1]), t('int32', [7])], { beta: scaled.beta }))).toEqual([
    11,
  ]);
  expect(() => first('Gemm', 13, [a, b, f([1, 2], [1, 1, 2])])).toThrow(/addend/);
});

test('Einsum: products, diagonals, ellipses, implicit outputs', () => {
  const a = f([1, 2, 3, 4], [2, 2]);
  const einsum = (equation: string, ...operands: ReturnType<typeof f>[]) => run('Einsum', 12, operands, { equation });
  expect(einsum('ij,jk->ik', a, a)).toEqual([
    [2, 2],
    [7, 10, 15, 22],
  ]);
  expect(einsum('ii->i', a)).toEqual([[2], [1, 4]]);
  expect(einsum('ii', a)).toEqual([[], [5]]);
  expect(einsum('ba', a)[1]).toEqual([1, 3, 2, 4]);
  expect(einsum('...->...', a)[1]).toEqual([1, 2, 3, 4]);
  expect(einsum('i...->...', a)).toEqual([[2], [4, 6]]);
  expect(einsum('...ij,...jk->...ik', f([1, 1], [2, 1, 1]), f([3, 5], [1, 2]))).toEqual([
    [2, 1, 2],
    [3, 5, 3, 5],
  ]);
  expect(einsum('i,j,k->kij', f([1, 2]), f([3]), f([5, 7]))).toEqual([
    [2, 2, 1],
    [15, 30, 21, 42],
  ]);
  expect(einsum(' i , i -> ', f([1, 2]), f([3, 4]))).toEqual([[], [11]]);
  expect(einsum('ij,ij->j', f([1, 2], [1, 2]), a)[1]).toEqual([4, 12]);
  expect(() => einsum('ij,jk->il', a, a)).toThrow(/"l"/);
  expect(() => einsum('ij', f([1]))).toThrow(/names 2 axes/);
  expect(() => einsum('i,i', f([1, 2]), f([1, 2, 3]))).toThrow(/axis "i"/);
  expect(entries(first('Einsum', 12, [t('int64', [2n ** 60n]), t('int64', [17])], { equation: 'i,i' }))).toEqual([
    2n ** 60n,
  ]);
  const known = [['float32', ['n', 2]] as const, ['float32', [2, 'm']] as const];
  expect(inferShapes('Einsum', 12, known, { equation: 'ij,jk->ki' })).toEqual([['m', 'n']]);
});

test('Det', () => {
  expect(run('Det', 22, [f([0, 1, 2, 3, 1, 0, 0, 1], [2, 2, 2])])).toEqual([[2], [-2, 1]]);
  expect(run('Det', 22, [f([2, 4, 1, 2], [2, 2])])).toEqual([[], [0]]);
  expect(() => first('Det', 22, [f([1, 2], [1, 2])])).toThrow(/square/);
});

test('MatMulInteger and QLinearMatMul', () => {
  const a = t('uint8', [11, 7, 3, 10, 6, 2], [2, 3]);
  const b = t('int8', [1, 4, 2, -5, 3, 6], [3, 2]);
  expect(run('MatMulInteger', 10, [a, b])[1]).toEqual([34, 27, 28, 22]);
  const perRow = t('uint8', [1, 2]);
  const perColumn = t('int8', [1, -1]);
  expect(run('MatMulInteger', 10, [a, b, perRow, perColumn])[1]).toEqual([
    10 * 0 + 6 * 1 + 2 * 2,
    10 * 5 + 6 * -4 + 2 * 7,
    8 * 0 + 4 * 1 + 0 * 2,
    8 * 5 + 4 * -4 + 0 * 7,
  ]);
  const s = (v: number) => f([v], []);
  const zero = t('uint8', [0], []);
  const run8 = (scale: number, zeroY: number) =>
    run('QLinearMatMul', 10, [a, s(0.5), zero, b, f([1, 2]), t('int8', [0, 0]), s(scale), t('int8', [zeroY], [])])[1];
  // 17, 27, 14, 22 in real numbers.
  expect(run8(1, 0)).toEqual([17, 27, 14, 22]);
  expect(run8(4, 3)).toEqual([7, 10, 7, 9]);
  expect(run8(0.125, 0)).toEqual([127, 127, 112, 127]);
});

test('QLinearMatMul of float8', () => {
  const x = t('float8e4m3fn', [1, 2, 3, 4], [2, 2]);
  const one = t('float16', [1], []);
  const zero = t('float8e4m3fn', [0], []);
  expect(run('QLinearMatMul', 21, [x, one, zero, x, one, zero, t('float16', [0.5], []), zero])[1]).toEqual([
    14, 20, 30, 44,
  ]);
});

test('ConvInteger and QLinearConv', () => {
  const x = t('uint8', [2, 3, 4, 5], [1, 1, 4]);
  const w = t('uint8', [3, 4, 7, 7], [2, 1, 2]);
  const zeroX = t('uint8', [1], []);
  expect(run('ConvInteger', 10, [x, w, zeroX, t('uint8', [2, 6])], { pads: [1, 0] })).toEqual([
    [1, 2, 4],
    // Padding is the zero point, so it adds nothing.
    [2, 5, 8, 11, 1, 3, 5, 7],
  ]);
  const y = run('QLinearConv', 10, [
    x,
    f([0.5], []),
    zeroX,
    w,
    f([1, 2]),
    t('uint8', [2, 6]),
    f([0.5], []),
    t('int8', [-1], []),
    t('int32', [1, -2]),
  ]);
  expect(y).toEqual([
    [1, 2, 3],
    [5, 8, 11, 1, 5, 9],
  ]);
});

import { expect, test } from 'vitest';
import { foldConstants } from '../../../lib/passes/fold-constants.ts';
import { fuseAttention } from '../../../lib/passes/fuse-attention.ts';
import { unpackProduct } from '../../../lib/passes/unpack-product.ts';
import { attribute, floats, node, opset, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

type Parts = Parameters<typeof rewrite>[0];

interface Product {
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly op?: string;
  readonly ints?: Readonly<Record<string, number>>;
  readonly alpha?: number;
  /** The second operand is a constant. */
  readonly constant?: boolean;
}

function parts({ a, b, op = 'FusedMatMul', ints = {}, alpha = 1, constant }: Product): Parts {
  const attributes = [
    attribute.float('alpha', alpha),
    ...Object.entries(ints).map(([name, value]) => attribute.int(name, value)),
  ];
  const size = b.reduce((product, dim) => product * dim, 1);
  return {
    opsets: [opset('', 17), opset('com.microsoft', 1)],
    nodes: [node(op, ['a', 'b'], ['y'], { domain: 'com.microsoft', attributes })],
    initializers: constant ? [floats('b', noise(size, 2), [...b])] : [],
    inputs: [port('a', 'float32', a), ...(constant ? [] : [port('b', 'float32', b)])],
    outputs: [port('y')],
  };
}

const opsOf = (product: Product): string[] => rewrite(parts(product), [unpackProduct, foldConstants]).ops;

test('transposed and scaled products', () => {
  expect(opsOf({ a: [2, 3, 4], b: [2, 5, 4], ints: { transB: 1 }, alpha: 0.5 })).toEqual([
    'Transpose',
    'MatMul',
    'Mul',
  ]);
  expect(opsOf({ a: [2, 4, 3], b: [4, 5], ints: { transA: 1 } })).toEqual(['Transpose', 'MatMul']);
  expect(opsOf({ a: [3, 2, 4], b: [5, 2, 4], ints: { transBatchA: 1, transBatchB: 1, transB: 1 }, alpha: 1 })).toEqual([
    'Transpose',
    'Transpose',
    'MatMul',
  ]);
  expect(opsOf({ a: [4], b: [5, 4], ints: { transA: 1, transB: 1 }, alpha: 2 })).toEqual([
    'Transpose',
    'MatMul',
    'Mul',
  ]);
  expect(opsOf({ a: [2, 3], b: [3, 2], op: 'TransposeMatMul' })).toEqual(['MatMul']);
});

test('the scale of constant weights is folded into them', () => {
  expect(opsOf({ a: [2, 3], b: [5, 3], ints: { transB: 1 }, alpha: 3, constant: true })).toEqual(['MatMul']);
});

test('scaled products of queries and keys become attention', () => {
  const attributes = [attribute.float('alpha', 0.25), attribute.int('transB', 1)];
  const qkv = ['q', 'k', 'v'].map((name) => port(name, 'float32', [2, 3, 5, 4]));
  const nodes = [
    node('FusedMatMul', ['q', 'k'], ['s'], { domain: 'com.microsoft', attributes }),
    node('Softmax', ['s'], ['p'], { attributes: [attribute.int('axis', -1)] }),
    node('MatMul', ['p', 'v'], ['y']),
  ];
  const opsets = [opset('', 17), opset('com.microsoft', 1)];
  const { ops } = rewrite({ opsets, nodes, inputs: qkv, outputs: [port('y')] }, [unpackProduct, fuseAttention]);
  expect(ops).toEqual(['filigree.Attention']);
});

test.each([
  [{ transB: 1 }, [3, 4], [5, 4], [5], false, ['Transpose', 'MatMul', 'Mul', 'Mul', 'Add']],
  [{ transA: 1 }, [4, 3], [4, 5], [3, 1], true, ['Transpose', 'MatMul', 'Mul', 'Mul', 'Add']],
  [{}, [3, 4], [4, 5], undefined, false, ['MatMul', 'Mul', 'Identity']],
  [{}, [3, 4], [4, 5], [3, 5], true, ['MatMul', 'Mul', 'Mul', 'Add']],
  [{}, [3, 4], [4, 5], [], true, ['MatMul', 'Mul', 'Mul', 'Add']],
] as const)('Gemm %j of %j and %j, addend %j', (ints, a, b, c, constant, want) => {
  const attributes = [
    attribute.float('alpha', 0.5),
    attribute.float('beta', 2),
    ...Object.entries(ints).map(([name, value]) => attribute.int(name, value)),
  ];
  const size = b.reduce((product, dim) => product * dim, 1);
  const { ops } = rewrite(
    {
      nodes: [node('Gemm', c ? ['a', 'b', 'c'] : ['a', 'b'], ['y'], { attributes })],
      initializers: constant ? [floats('b', noise(size, 2), [...b])] : [],
      inputs: [
        port('a', 'float32', a),
        ...(constant ? [] : [port('b', 'float32', b)]),
        ...(c ? [port('c', 'float32', c)] : []),
      ],
      outputs: [port('y', 'float32')],
    },
    [unpackProduct],
  );
  expect(ops).toEqual(want);
});

import { describe, expect, test } from 'vitest';
import { foldConstants } from '../../../lib/passes/fold-constants.ts';
import { unpackEinsum } from '../../../lib/passes/unpack-einsum.ts';
import { attribute, node, port } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

function einsum(equation: string, a: number[], b: number[]) {
  return rewrite(
    {
      nodes: [node('Einsum', ['a', 'b'], ['y'], { attributes: [attribute.string('equation', equation)] })],
      inputs: [port('a', 'float32', a), port('b', 'float32', b)],
      outputs: [port('y', 'float32')],
    },
    [unpackEinsum, foldConstants],
  ).ops;
}

describe('products of two operands', () => {
  test.each([
    ['ij,jk->ik', [2, 3], [3, 4]],
    ['ij,jk', [2, 3], [3, 4]],
    ['ij,jk->ki', [2, 3], [3, 4]],
    ['bhid,bhjd->bhij', [2, 3, 4, 5], [2, 3, 6, 5]],
    ['bqhd,bkhd->bhqk', [2, 4, 3, 5], [2, 6, 3, 5]],
    ['bhqk,bkhd->bqhd', [2, 3, 4, 6], [2, 6, 3, 5]],
    ['bqhd,hde->bqe', [2, 4, 3, 5], [3, 5, 7]],
    ['bqe,ehd->bqhd', [2, 4, 7], [7, 3, 5]],
    ['...ij,...jk->...ik', [2, 3, 4], [2, 4, 5]],
    ['i,j->ij', [3], [4]],
    ['i,i->', [5], [5]],
    ['bi,bi->b', [2, 5], [2, 5]],
    ['bi,bi->bi', [2, 5], [2, 5]],
    ['bd,bde->be', [2, 3], [2, 3, 4]],
    ['abc,cb->a', [2, 3, 4], [4, 3]],
  ])('%s', (equation, a, b) => {
    const ops = einsum(equation, a, b);
    expect(ops).toContain('MatMul');
    expect(ops).not.toContain('Einsum');
  });
});

test.each([
  ['ii,ij->ij', [3, 3], [3, 4]],
  ['ij,jk->k', [2, 3], [3, 4]],
  ['ij,jk->ik', [2, 1], [3, 4]],
])('%s stays', (equation, a, b) => {
  expect(einsum(equation, a, b)).toEqual(['Einsum']);
});

/** Comparisons and logic of two inputs; the result is bool. */

import type { DTypeKind } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { binaryOperands, inferBinary, legacyAttributes } from './binary.ts';
import { zip } from './broadcast.ts';
import { comparables, expectSame, numberKinds, numberSink } from './elements.ts';
import { type BinaryName, lowerBinary } from './lower-elementwise.ts';
import { defineOp, type OpDefinition } from './op.ts';

const bool: readonly DTypeKind[] = ['bool'];

function predicate(
  name: BinaryName,
  since: readonly number[],
  kinds: readonly DTypeKind[],
  holds: (x: number, y: number) => boolean,
): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: since[0] < 7 ? legacyAttributes : undefined,
    traits: ['elementwise'],
    compares: kinds !== bool,
    infer: (ctx) => {
      expectSame(ctx, 2, kinds);
      return [tensorType('bool', inferBinary(ctx))];
    },
    reference: (ctx) => {
      const { a, b, bDims, dims } = binaryOperands(ctx);
      const sink = numberSink('bool', dims);
      const [x, y] = [
        { values: comparables(a), dims: a.dims },
        { values: comparables(b), dims: bDims },
      ];
      zip(dims, x, y, (p, q) => Number(holds(p, q)), sink.values);
      return [sink.finish()];
    },
    lower: lowerBinary(name),
  });
}

export const comparisonOps: readonly OpDefinition[] = [
  predicate('Equal', [1, 7, 11, 13, 19], ['float', 'int', 'uint', 'bool', 'string'], (x, y) => x === y),
  predicate('Greater', [1, 7, 9, 13], numberKinds, (x, y) => x > y),
  predicate('GreaterOrEqual', [12, 16], numberKinds, (x, y) => x >= y),
  predicate('Less', [1, 7, 9, 13], numberKinds, (x, y) => x < y),
  predicate('LessOrEqual', [12, 16], numberKinds, (x, y) => x <= y),
  predicate('And', [1, 7], bool, (x, y) => x !== 0 && y !== 0),
  predicate('Or', [1, 7], bool, (x, y) => x !== 0 || y !== 0),
  predicate('Xor', [1, 7], bool, (x, y) => (x !== 0) !== (y !== 0)),
];

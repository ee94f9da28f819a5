/** Bit operations of two integer inputs. */

import { dtypeInfo } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { type Arithmetic, computeBinary, inferBinary } from './binary.ts';
import { expectSame, integerKinds } from './elements.ts';
import { type BinaryName, lowerBinary } from './lower-elementwise.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

function bitwise(
  name: string,
  since: readonly number[],
  make: (ctx: ReferenceContext) => Arithmetic,
  native: BinaryName | ((ctx: NodeReader) => BinaryName),
): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: name === 'BitShift' ? { direction: 'string' } : undefined,
    traits: ['elementwise'],
    infer: (ctx) => [tensorType(expectSame(ctx, 2, integerKinds), inferBinary(ctx))],
    reference: (ctx) => [computeBinary(ctx, make(ctx))],
    lower: lowerBinary(native),
  });
}

/** Shifts by a negative amount or by all bits leave what sign extension leaves. */
function shift(ctx: ReferenceContext): Arithmetic {
  const direction = ctx.string('direction');
  if (direction !== 'LEFT' && direction !== 'RIGHT') {
    throw ctx.error(`direction is "${direction}", expected "LEFT" or "RIGHT"`);
  }
  const left = direction === 'LEFT';
  const { bits } = dtypeInfo(ctx.tensor(0).dtype);
  const width = BigInt(bits);
  // Scaling by a power of two is exact in double, so storing the product wraps it as the shift would.
  const integer = (x: number, y: number): number => {
    if (y < 0 || y >= bits) return !left && x < 0 ? -1 : 0;
    return left ? x * 2 ** y : Math.floor(x / 2 ** y);
  };
  return {
    float: integer,
    integer,
    big: (x, y) => {
      if (y < 0n || y >= width) return !left && x < 0n ? -1n : 0n;
      return left ? x << y : x >> y;
    },
  };
}

const on = (f: (x: number, y: number) => number, big: Arithmetic['big']) => (): Arithmetic => ({ float: f, big });

export const binaryIntegerOps: readonly OpDefinition[] = [
  bitwise(
    'BitwiseAnd',
    [18],
    on(
      (x, y) => x & y,
      (x, y) => x & y,
    ),
    'And',
  ),
  bitwise(
    'BitwiseOr',
    [18],
    on(
      (x, y) => x | y,
      (x, y) => x | y,
    ),
    'Or',
  ),
  bitwise(
    'BitwiseXor',
    [18],
    on(
      (x, y) => x ^ y,
      (x, y) => x ^ y,
    ),
    'Xor',
  ),
  bitwise('BitShift', [11, 28], shift, (ctx) => (ctx.string('direction') === 'LEFT' ? 'ShiftLeft' : 'ShiftRight')),
];

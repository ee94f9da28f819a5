/** Arithmetic of two inputs: Add, Sub, Mul, Div, Mod, Pow. */

import { isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText } from '../ir/shape.ts';
import { type HostTensor, toBigInts } from '../ir/tensor.ts';
import { broadcastDims, broadcastInfer, zip } from './broadcast.ts';
import {
  bigOf,
  bigSink,
  expectKind,
  expectSame,
  isInteger,
  numberKinds,
  numberSink,
  numbersOf,
  truncated,
} from './elements.ts';
import { lowerBinary, lowerPow } from './lower-elementwise.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { scaleByImage } from './scale-lower.ts';

/** What versions 1 to 6 say about broadcasting. */
export const legacyAttributes: NonNullable<OpDefinition['attributes']> = {
  axis: 'int',
  broadcast: 'int',
};

/**
 * Before version 7 the second shape is aligned with the first at `axis` (its end when omitted), and only where
 * `broadcast` is set. Returns the second shape in today's terms.
 */
export function alignSecond<T extends Dim>(ctx: NodeReader, a: readonly T[], b: readonly T[]): readonly (T | 1)[] {
  if (ctx.version >= 7) return b;
  if (ctx.int('broadcast', 0) === 0) {
    if (a.length !== b.length) {
      throw ctx.error(`the shapes ${shapeText(a)} and ${shapeText(b)} differ and "broadcast" is not set`);
    }
    return b;
  }
  if (b.length > a.length) throw ctx.error(`the shape ${shapeText(b)} does not fit into ${shapeText(a)}`);
  if (!ctx.hasAttribute('axis')) return b;
  const given = ctx.int('axis');
  const axis = given < 0 ? given + a.length : given;
  const trailing = a.length - axis - b.length;
  if (axis < 0 || trailing < 0)
    throw ctx.error(`the shape ${shapeText(b)} does not fit into ${shapeText(a)} at axis ${given}`);
  return [...b, ...new Array<1>(trailing).fill(1)];
}

/** Broadcast shape of inputs 0 and 1, or undefined where a rank is unknown. */
export function inferBinary(ctx: InferContext): Shape | undefined {
  const [a, b] = [ctx.shape(0), ctx.shape(1)];
  if (!a || !b) return undefined;
  return broadcastInfer(ctx, [a, alignSecond(ctx, a, b)]);
}

/** Operands and output shape of a node of two inputs. */
export function binaryOperands(ctx: ReferenceContext): {
  a: HostTensor;
  b: HostTensor;
  bDims: number[];
  dims: number[];
} {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  const bDims = [...alignSecond(ctx, a.dims, b.dims)];
  return { a, b, bDims, dims: broadcastDims(ctx, [a.dims, bDims]) };
}

/** Functions of two elements, by kind of element. Integer results are wrapped to the type. */
export interface Arithmetic {
  readonly float: (x: number, y: number) => number;
  /** On integers of up to 32 bits; the float function when omitted. */
  readonly integer?: (x: number, y: number) => number;
  readonly big: (x: bigint, y: bigint) => bigint;
}

/** Computes over broadcast inputs 0 and 1 of one type. */
export function computeBinary(ctx: ReferenceContext, f: Arithmetic): HostTensor {
  const { a, b, bDims, dims } = binaryOperands(ctx);
  if (isBig(a.dtype)) {
    const sink = bigSink(a.dtype, dims);
    zip<bigint, bigint, bigint>(
      dims,
      { values: toBigInts(a), dims: a.dims },
      { values: toBigInts(b), dims: bDims },
      f.big,
      sink.values,
    );
    return sink.finish();
  }
  const sink = numberSink(a.dtype, dims);
  const scalar = (isInteger(a.dtype) && f.integer) || f.float;
  zip(dims, { values: numbersOf(a), dims: a.dims }, { values: numbersOf(b), dims: bDims }, scalar, sink.values);
  return sink.finish();
}

function arithmetic(
  name: 'Add' | 'Sub' | 'Mul' | 'Div' | 'Mod',
  since: readonly number[],
  make: (ctx: NodeReader) => Arithmetic,
  affine?: OpDefinition['affine'],
): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: name === 'Mod' ? { fmod: 'int' } : legacyAttributes,
    traits: ['elementwise'],
    affine,
    infer: (ctx) => [tensorType(expectSame(ctx, 2, numberKinds), inferBinary(ctx))],
    reference: (ctx) => [computeBinary(ctx, make(ctx))],
    lower: (ctx) =>
      name === 'Mul' && scaleByImage(ctx)
        ? undefined
        : lowerBinary(name === 'Mod' && ctx.int('fmod', 0) !== 0 ? 'Fmod' : name)(ctx),
  });
}

const zeroDivisor = (ctx: NodeReader) => ctx.error('integer division by zero');

const divide = (ctx: NodeReader): Arithmetic => ({
  float: (x, y) => x / y,
  integer: (x, y) => {
    if (y === 0) throw zeroDivisor(ctx);
    return Math.trunc(x / y);
  },
  big: (x, y) => {
    if (y === 0n) throw zeroDivisor(ctx);
    return x / y;
  },
});

/** x - floor(x / y) * y with the special cases of the standard. */
function floorMod(x: number, y: number): number {
  const rest = x % y;
  if (rest === 0) return Math.sign(y) < 0 ? -0 : 0;
  return rest < 0 !== y < 0 ? rest + y : rest;
}

const modulo = (ctx: NodeReader): Arithmetic => {
  const truncated = ctx.int('fmod', 0) !== 0;
  const number = truncated ? (x: number, y: number) => x % y : floorMod;
  return {
    float: number,
    integer: (x, y) => {
      if (y === 0) throw zeroDivisor(ctx);
      return number(x, y);
    },
    big: (x, y) => {
      if (y === 0n) throw zeroDivisor(ctx);
      const rest = x % y;
      return !truncated && rest !== 0n && rest < 0n !== y < 0n ? rest + y : rest;
    },
  };
};

/** C's pow: unlike JavaScript's, 1 to any power is 1, and (-1) to an infinite power is 1. */
function cPow(x: number, y: number): number {
  if (x === 1 || (x === -1 && (y === Number.POSITIVE_INFINITY || y === Number.NEGATIVE_INFINITY))) return 1;
  return x ** y;
}

/** Integer power, wrapped to `bits`; negative exponents truncate towards zero like integer division. */
function bigPow(ctx: NodeReader, x: bigint, y: bigint, bits: number): bigint {
  if (y < 0n) {
    if (x === 0n) throw zeroDivisor(ctx);
    if (x === 1n) return 1n;
    if (x === -1n) return y % 2n === 0n ? 1n : -1n;
    return 0n;
  }
  let result = 1n;
  let base = x;
  for (let e = y; e > 0n; e >>= 1n) {
    if (e & 1n) result = BigInt.asIntN(bits, result * base);
    base = BigInt.asIntN(bits, base * base);
  }
  return result;
}

function power(ctx: ReferenceContext): HostTensor {
  const { a, b, bDims, dims } = binaryOperands(ctx);
  if (isInteger(a.dtype) && isInteger(b.dtype)) {
    const sink = bigSink(a.dtype, dims);
    const pow = (x: bigint, y: bigint) => bigPow(ctx, x, y, 64);
    zip<bigint, bigint, bigint>(
      dims,
      { values: toBigInts(a), dims: a.dims },
      { values: toBigInts(b), dims: bDims },
      pow,
      sink.values,
    );
    return sink.finish();
  }
  const [x, y] = [
    { values: numbersOf(a), dims: a.dims },
    { values: numbersOf(b), dims: bDims },
  ];
  if (!isBig(a.dtype)) {
    const sink = numberSink(a.dtype, dims);
    const { dtype } = a;
    zip(dims, x, y, isInteger(dtype) ? (p: number, q: number) => truncated(dtype, cPow(p, q)) : cPow, sink.values);
    return sink.finish();
  }
  const sink = bigSink(a.dtype, dims);
  const { dtype } = a;
  zip<number, number, bigint>(dims, x, y, (p, q) => bigOf(cPow(p, q), dtype), sink.values);
  return sink.finish();
}

export const binaryOps: readonly OpDefinition[] = [
  arithmetic(
    'Add',
    [1, 6, 7, 13, 14],
    () => ({ float: (x, y) => x + y, big: (x, y) => x + y }),
    () => true,
  ),
  arithmetic(
    'Sub',
    [1, 6, 7, 13, 14],
    () => ({ float: (x, y) => x - y, big: (x, y) => x - y }),
    () => true,
  ),
  arithmetic(
    'Mul',
    [1, 6, 7, 13, 14],
    () => ({ float: (x, y) => x * y, integer: Math.imul, big: (x, y) => x * y }),
    ([a, b]) => !(a && b),
  ),
  arithmetic('Div', [1, 6, 7, 13, 14], divide),
  arithmetic('Mod', [10, 13, 28], modulo),
  defineOp({
    name: 'Pow',
    since: [1, 7, 12, 13, 15],
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: legacyAttributes,
    traits: ['elementwise'],
    infer: (ctx) => {
      expectKind(ctx, 1, numberKinds);
      return [tensorType(expectKind(ctx, 0, numberKinds), inferBinary(ctx))];
    },
    reference: (ctx) => [power(ctx)],
    lower: lowerPow,
  }),
];

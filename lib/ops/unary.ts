/** Elementwise operators of one input. */

import { type DType, type DTypeKind, isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromBigInts, type HostTensor, toBigInts } from '../ir/tensor.ts';
import { expectKind, floatKinds, integerKinds, numberKinds, numberSink, numbersOf } from './elements.ts';
import { lowerUnary } from './lower-elementwise.ts';
import { defineOp, type NodeReader, type OpDefinition } from './op.ts';
import { erf, roundHalfEven, sigmoid } from './special-functions.ts';

/** A function of one number, made from the node's attributes. */
export type ScalarOf = (ctx: NodeReader) => (x: number) => number;

/** What an elementwise operator of one input has besides its function. */
export interface UnaryOptions {
  readonly attributes?: OpDefinition['attributes'];
  /** Exact function on 64-bit integers, where the operator takes them. */
  readonly big?: (x: bigint) => bigint;
  /** Output type where it is not the input's. */
  readonly output?: DType;
  /** Input types; floats when omitted, all numbers when `big` is given. */
  readonly kinds?: readonly DTypeKind[];
  readonly lower?: OpDefinition['lower'];
}

/** Defines an elementwise operator of one input. */
export function unary(
  name: string,
  since: readonly number[],
  scalar: ScalarOf,
  options: UnaryOptions = {},
): OpDefinition {
  const kinds = options.kinds ?? (options.big ? numberKinds : floatKinds);
  return defineOp({
    name,
    since,
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: options.attributes,
    traits: ['elementwise'],
    infer: (ctx) => [tensorType(options.output ?? expectKind(ctx, 0, kinds), ctx.shape(0))],
    reference: (ctx) => [applyUnary(ctx.tensor(0), scalar(ctx), options)],
    lower: options.lower,
  });
}

function applyUnary(x: HostTensor, f: (x: number) => number, options: UnaryOptions): HostTensor {
  if (isBig(x.dtype) && options.big) return fromBigInts(x.dtype, x.dims, Array.from(toBigInts(x), options.big));
  const source = numbersOf(x);
  const sink = numberSink(options.output ?? x.dtype, x.dims);
  const count = sizeOf(x.dims);
  for (let i = 0; i < count; i++) sink.values[i] = f(source[i]);
  return sink.finish();
}

const bigAbs = (x: bigint): bigint => (x < 0n ? -x : x);
const bigSign = (x: bigint): bigint => (x > 0n ? 1n : x < 0n ? -1n : 0n);

const isInf: ScalarOf = (ctx) => {
  const [positive, negative] = [ctx.int('detect_positive', 1) !== 0, ctx.int('detect_negative', 1) !== 0];
  return (x) => Number((positive && x === Number.POSITIVE_INFINITY) || (negative && x === Number.NEGATIVE_INFINITY));
};

export const unaryOps: readonly OpDefinition[] = [
  unary('Abs', [1, 6, 13], () => Math.abs, { big: bigAbs, lower: lowerUnary('Abs') }),
  unary('Neg', [1, 6, 13], () => (x) => -x, { big: (x) => -x, lower: lowerUnary('Neg') }),
  unary('Sign', [9, 13], () => Math.sign, { big: bigSign, lower: lowerUnary('Sign') }),
  unary('Ceil', [1, 6, 13], () => Math.ceil, { lower: lowerUnary('Ceil') }),
  unary('Floor', [1, 6, 13], () => Math.floor, { lower: lowerUnary('Floor') }),
  unary('Round', [11, 22], () => roundHalfEven, { lower: lowerUnary('Round') }),
  unary('Sqrt', [1, 6, 13], () => Math.sqrt, { lower: lowerUnary('Sqrt') }),
  unary('Reciprocal', [1, 6, 13], () => (x) => 1 / x, { lower: lowerUnary('Reciprocal') }),
  unary('Exp', [1, 6, 13], () => Math.exp, { lower: lowerUnary('Exp') }),
  unary('Log', [1, 6, 13], () => Math.log, { lower: lowerUnary('Log') }),
  unary('Erf', [9, 13], () => erf, { kinds: numberKinds, lower: lowerUnary('Erf') }),
  unary('Sin', [7, 22], () => Math.sin, { lower: lowerUnary('Sin') }),
  unary('Cos', [7, 22], () => Math.cos, { lower: lowerUnary('Cos') }),
  unary('Tan', [7, 22], () => Math.tan, { lower: lowerUnary('Tan') }),
  unary('Asin', [7, 22], () => Math.asin, { lower: lowerUnary('Asin') }),
  unary('Acos', [7, 22], () => Math.acos, { lower: lowerUnary('Acos') }),
  unary('Atan', [7, 22], () => Math.atan, { lower: lowerUnary('Atan') }),
  unary('Sinh', [9, 22], () => Math.sinh, { lower: lowerUnary('Sinh') }),
  unary('Cosh', [9, 22], () => Math.cosh, { lower: lowerUnary('Cosh') }),
  unary('Tanh', [1, 6, 13], () => Math.tanh, { lower: lowerUnary('Tanh') }),
  unary('Asinh', [9, 22], () => Math.asinh, { lower: lowerUnary('Asinh') }),
  unary('Acosh', [9, 22], () => Math.acosh, { lower: lowerUnary('Acosh') }),
  unary('Atanh', [9, 22], () => Math.atanh, { lower: lowerUnary('Atanh') }),
  unary('Sigmoid', [1, 6, 13], () => sigmoid, { lower: lowerUnary('Sigmoid') }),
  unary('Not', [1], () => (x) => Number(x === 0), { kinds: ['bool'], lower: lowerUnary('Not') }),
  unary('BitwiseNot', [18], () => (x) => ~x, { kinds: integerKinds, big: (x) => ~x, lower: lowerUnary('Not') }),
  unary('IsNaN', [9, 13, 20], () => (x) => Number(Number.isNaN(x)), { output: 'bool', lower: lowerUnary('IsNaN') }),
  unary('IsInf', [10, 20], isInf, {
    output: 'bool',
    attributes: { detect_positive: 'int', detect_negative: 'int' },
    lower: lowerUnary('IsInf', (ctx) => ({
      alpha: ctx.int('detect_negative', 1),
      beta: ctx.int('detect_positive', 1),
    })),
  }),
];

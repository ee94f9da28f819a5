/** Elementwise operators of one input. */

import { type DType, isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { fromBigInts, fromNumbers, type HostTensor, toBigInts, toNumbers } from '../ir/tensor.ts';
import { defineOp, type NodeReader, type OpDefinition } from './op.ts';

/** A function of one number, made from the node's attributes. */
type Scalar = (ctx: NodeReader, dtype: DType) => (x: number) => number;

interface UnaryOptions {
  readonly attributes?: OpDefinition['attributes'];
  /** Exact function on 64-bit integers, where the operator takes them. */
  readonly big?: (x: bigint) => bigint;
  /** Output type where it is not the input's. */
  readonly output?: DType;
}

function unary(name: string, since: readonly number[], scalar: Scalar, options: UnaryOptions = {}): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: options.attributes,
    traits: ['elementwise'],
    infer: (ctx) => [tensorType(options.output ?? ctx.dtype(0), ctx.shape(0))],
    reference: (ctx) => [applyUnary(ctx.tensor(0), scalar(ctx, ctx.tensor(0).dtype), options)],
  });
}

function applyUnary(x: HostTensor, f: (x: number) => number, options: UnaryOptions): HostTensor {
  if (isBig(x.dtype) && options.big) return fromBigInts(x.dtype, x.dims, Array.from(toBigInts(x), options.big));
  return fromNumbers(options.output ?? x.dtype, x.dims, toNumbers(x).map(f));
}

const bigAbs = (x: bigint): bigint => (x < 0n ? -x : x);

export const unaryOps: readonly OpDefinition[] = [
  unary('Abs', [1, 6, 13], () => Math.abs, { big: bigAbs }),
  unary('Neg', [1, 6, 13], () => (x) => -x, { big: (x) => -x }),
  unary('Relu', [1, 6, 13, 14], () => (x) => Math.max(x, 0), { big: (x) => (x < 0n ? 0n : x) }),
  unary('Sigmoid', [1, 6, 13], () => (x) => 1 / (1 + Math.exp(-x))),
  unary('Tanh', [1, 6, 13], () => Math.tanh),
];

/** CumSum and CumProd. */

import { dtypeInfo, isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { sizeBetween, sizeOf } from '../ir/shape.ts';
import { type HostTensor, toBigInts } from '../ir/tensor.ts';
import { bigSink, expectKind, isInteger, numberKinds, numberSink, numbersOf } from './elements.ts';
import { keepsBeside } from './keeps-rows.ts';
import type { LowerContext } from './lower.ts';
import { kernelFor, noKernel } from './lower-elementwise.ts';
import { defineOp, normalizeAxis, type OpDefinition, type ReferenceContext } from './op.ts';

/** Runs along one axis: `out[i]` is `step` over the elements up to i, or before it when exclusive. */
function scan<T>(
  ctx: ReferenceContext,
  dims: readonly number[],
  x: ArrayLike<T>,
  out: { [i: number]: T },
  start: T,
  step: (held: T, x: T) => T,
): void {
  const [given] = ctx.integers(1);
  const axis = normalizeAxis(ctx, given, dims.length);
  const [exclusive, reverse] = [ctx.int('exclusive', 0) !== 0, ctx.int('reverse', 0) !== 0];
  const count = dims[axis];
  const stride = sizeBetween(dims, axis + 1, dims.length);
  const total = sizeOf(dims);
  for (let block = 0; block < total; block += count * stride) {
    for (let k = 0; k < stride; k++) {
      let held = start;
      for (let i = 0; i < count; i++) {
        const at = block + k + (reverse ? count - 1 - i : i) * stride;
        const next = step(held, x[at]);
        out[at] = exclusive ? held : next;
        held = next;
      }
    }
  }
}

function cumulative(
  name: string,
  since: readonly number[],
  start: 0 | 1,
  step: (held: number, x: number) => number,
  bigStep: (held: bigint, x: bigint) => bigint,
): OpDefinition {
  const compute = (ctx: ReferenceContext): HostTensor => {
    const x = ctx.tensor(0);
    // 32-bit sums and products too may leave what doubles hold exactly, before they wrap.
    if (isBig(x.dtype) || (isInteger(x.dtype) && dtypeInfo(x.dtype).bits === 32)) {
      const sink = bigSink(x.dtype, x.dims);
      scan<bigint>(ctx, x.dims, toBigInts(x), sink.values, BigInt(start), (held, v) =>
        BigInt.asIntN(65, bigStep(held, v)),
      );
      return sink.finish();
    }
    const sink = numberSink(x.dtype, x.dims);
    scan<number>(ctx, x.dims, numbersOf(x), sink.values, start, step);
    return sink.finish();
  };
  return defineOp({
    name,
    since,
    inputs: [2, 2],
    outputs: [1, 1],
    attributes: { exclusive: 'int', reverse: 'int' },
    infer: (ctx) => [tensorType(expectKind(ctx, 0, numberKinds), ctx.shape(0))],
    keepsRows: keepsBeside((_, { numbers }) => numbers(1)?.[0]),
    reference: (ctx) => [compute(ctx)],
    lower: name === 'CumSum' ? lowerCumSum : undefined,
  });
}

function lowerCumSum(ctx: LowerContext): string | undefined {
  const kernel = kernelFor(ctx, 'cumsum', ctx.dtype(0));
  const given = ctx.integers(1)?.[0];
  if (!kernel) return noKernel(ctx.dtype(0));
  if (given === undefined) return 'an axis that is not known';
  const dims = ctx.dims(0);
  const axis = normalizeAxis(ctx, given, dims.length);
  ctx.step(kernel, [ctx.input(0), ctx.output(0)], {
    exclusive: ctx.int('exclusive', 0) !== 0,
    reverse: ctx.int('reverse', 0) !== 0,
    outer: sizeBetween(dims, 0, axis),
    axis: dims[axis],
    inner: sizeBetween(dims, axis + 1, dims.length),
  });
  return undefined;
}

export const cumulativeOps: readonly OpDefinition[] = [
  cumulative(
    'CumSum',
    [11, 14],
    0,
    (held, x) => held + x,
    (held, x) => held + x,
  ),
  cumulative(
    'CumProd',
    [26],
    1,
    (held, x) => held * x,
    (held, x) => held * x,
  ),
];

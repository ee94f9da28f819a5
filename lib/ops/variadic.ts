/** Elementwise operators of any number of inputs. */

import { isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { allocate, type HostTensor, toBigInts } from '../ir/tensor.ts';
import { broadcastDims, broadcastInfer, zip } from './broadcast.ts';
import { bigSink, expectSame, numberKinds, numberSink, numbersOf } from './elements.ts';
import { lowerVariadic } from './lower-elementwise.ts';
import { defineOp, type OpDefinition, type ReferenceContext } from './op.ts';

interface Fold {
  readonly step: (x: number, y: number) => number;
  readonly big: (x: bigint, y: bigint) => bigint;
  /** Applied to the result of the steps, with the number of inputs. */
  readonly last?: (x: number, count: number) => number;
}

function fold(ctx: ReferenceContext, f: Fold): HostTensor {
  const inputs = Array.from({ length: ctx.inputCount }, (_, i) => ctx.tensor(i));
  const { dtype } = inputs[0];
  const dims = broadcastDims(
    ctx,
    inputs.map((t) => t.dims),
  );
  if (isBig(dtype)) {
    const sink = bigSink(dtype, dims);
    const held = { values: sink.values, dims };
    inputs.forEach((t, k) => {
      const step = k === 0 ? (_: bigint, y: bigint) => y : f.big;
      zip<bigint, bigint, bigint>(dims, held, { values: toBigInts(t), dims: t.dims }, step, sink.values);
    });
    return sink.finish();
  }
  const held = allocate('float64', sizeOf(dims)) as Float64Array;
  const accumulator = { values: held, dims };
  inputs.forEach((t, k) => {
    const step = k === 0 ? (_: number, y: number) => y : f.step;
    zip(dims, accumulator, { values: numbersOf(t), dims: t.dims }, step, held);
  });
  const sink = numberSink(dtype, dims);
  const { last } = f;
  for (let i = 0; i < held.length; i++) sink.values[i] = last ? last(held[i], inputs.length) : held[i];
  return sink.finish();
}

function variadic(name: string, since: readonly number[], f: Fold, lower: OpDefinition['lower']): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [1, Number.POSITIVE_INFINITY],
    outputs: [1, 1],
    traits: ['elementwise'],
    infer: (ctx) => {
      const shapes = Array.from({ length: ctx.inputCount }, (_, i) => ctx.shape(i));
      return [tensorType(expectSame(ctx, ctx.inputCount, numberKinds), broadcastInfer(ctx, shapes))];
    },
    reference: (ctx) => [fold(ctx, f)],
    lower,
  });
}

function bigMax(x: bigint, y: bigint): bigint {
  if (x > y) return x;
  return y;
}

function bigMin(x: bigint, y: bigint): bigint {
  if (x < y) return x;
  return y;
}

const add: Fold = { step: (x, y) => x + y, big: (x, y) => x + y };

export const variadicOps: readonly OpDefinition[] = [
  variadic('Max', [1, 6, 8, 12, 13], { step: Math.max, big: bigMax }, lowerVariadic('Max')),
  variadic('Min', [1, 6, 8, 12, 13], { step: Math.min, big: bigMin }, lowerVariadic('Min')),
  variadic('Sum', [1, 6, 8, 13], add, lowerVariadic('Add')),
  variadic(
    'Mean',
    [1, 6, 8, 13],
    { ...add, last: (x, count) => x / count },
    lowerVariadic('Add', (count) => 1 / count),
  ),
];

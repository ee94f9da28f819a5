/** Softmax, LogSoftmax, Hardmax. */

import { tensorType } from '../ir/graph.ts';
import { sizeBetween, sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { expectKind, floatKinds, numberSink, numbersOf } from './elements.ts';
import { lowerSoftmax } from './lower-reduce.ts';
import { defineOp, type NodeReader, normalizeAxis, type OpDefinition, sparesRows } from './op.ts';

/** Lines to normalise: `count` elements, `stride` apart. */
interface Lines {
  readonly count: number;
  readonly stride: number;
}

/** From version 13 on a line is one axis; before, everything from `axis` on is one line. */
function linesOf(ctx: NodeReader, dims: readonly number[]): Lines {
  const old = ctx.version < 13;
  const given = ctx.int('axis', old ? 1 : -1);
  if (old && given === dims.length) return { count: 1, stride: 1 };
  const axis = dims.length === 0 ? 0 : normalizeAxis(ctx, given, dims.length);
  if (old) return { count: sizeBetween(dims, axis, dims.length), stride: 1 };
  return { count: dims.length === 0 ? 1 : dims[axis], stride: sizeBetween(dims, axis + 1, dims.length) };
}

/** Fills one line of the output: `at` is its first element, the others follow at `stride`. */
type LineFunction = (
  x: ArrayLike<number>,
  out: { [i: number]: number },
  at: number,
  count: number,
  stride: number,
) => void;

function lineMax(x: ArrayLike<number>, at: number, count: number, stride: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) max = Math.max(max, x[at + i * stride]);
  return max;
}

function lineSum(x: ArrayLike<number>, at: number, count: number, stride: number, max: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.exp(x[at + i * stride] - max);
  return sum;
}

const softmaxLine: LineFunction = (x, out, at, count, stride) => {
  const max = lineMax(x, at, count, stride);
  const sum = lineSum(x, at, count, stride, max);
  for (let i = 0; i < count; i++) out[at + i * stride] = Math.exp(x[at + i * stride] - max) / sum;
};

const logSoftmaxLine: LineFunction = (x, out, at, count, stride) => {
  const max = lineMax(x, at, count, stride);
  const log = Math.log(lineSum(x, at, count, stride, max));
  for (let i = 0; i < count; i++) out[at + i * stride] = x[at + i * stride] - max - log;
};

/** One at the first largest element. */
const hardmaxLine: LineFunction = (x, out, at, count, stride) => {
  let best = 0;
  for (let i = 1; i < count; i++) if (x[at + i * stride] > x[at + best * stride]) best = i;
  for (let i = 0; i < count; i++) out[at + i * stride] = Number(i === best);
};

function normalised(ctx: NodeReader, t: HostTensor, line: LineFunction): HostTensor {
  const { count, stride } = linesOf(ctx, t.dims);
  const x = numbersOf(t);
  const sink = numberSink(t.dtype, t.dims);
  const total = sizeOf(t.dims);
  for (let block = 0; block < total; block += count * stride) {
    for (let k = 0; k < stride; k++) line(x, sink.values, block + k, count, stride);
  }
  return sink.finish();
}

function softmax(name: 'Softmax' | 'LogSoftmax' | 'Hardmax', line: LineFunction): OpDefinition {
  return defineOp({
    name,
    since: [1, 11, 13],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { axis: 'int' },
    infer: (ctx) => [tensorType(expectKind(ctx, 0, floatKinds), ctx.shape(0))],
    reference: (ctx) => [normalised(ctx, ctx.tensor(0), line)],
    keepsRows: (node, { ranks }) => sparesRows(node.int('axis', node.version < 13 ? 1 : -1), ranks[0]),
    lower: (ctx) => {
      if (name === 'Hardmax') return 'the operator has no kernel';
      const { count, stride } = linesOf(ctx, ctx.dims(0));
      return lowerSoftmax(ctx, name === 'LogSoftmax', count, stride);
    },
  });
}

export const softmaxOps: readonly OpDefinition[] = [
  softmax('Softmax', softmaxLine),
  softmax('LogSoftmax', logSoftmaxLine),
  softmax('Hardmax', hardmaxLine),
];

/** CausalConvWithState: a depthwise causal convolution that carries its last inputs from step to step. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { checkBias } from './conv.ts';
import { expectSame, floatKinds } from './elements.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

function unequal(a: Dim, b: Dim): boolean {
  return typeof a === 'number' && typeof b === 'number' && a !== b;
}

/** Checks the operands and gives the shape of the state. */
function stateShape(
  ctx: NodeReader,
  x: Shape,
  weight: Shape,
  bias: Shape | undefined,
  past: Shape | undefined,
): [Dim, Dim, Dim] {
  if (x.length !== 3) throw ctx.error(`input 0 is ${shapeText(x)}, expected [batch, channels, length]`);
  if (weight.length !== 3 || unequal(weight[0], x[1]) || unequal(weight[1], 1) || weight[2] === 0) {
    throw ctx.error(`the weight is ${shapeText(weight)}, expected [${x[1] ?? '?'}, 1, kernel]`);
  }
  checkBias(ctx, bias, x[1]);
  const state: [Dim, Dim, Dim] = [x[0], x[1], typeof weight[2] === 'number' ? weight[2] - 1 : null];
  if (past && (past.length !== 3 || past.some((dim, i) => unequal(dim, state[i])))) {
    throw ctx.error(`the past state is ${shapeText(past)}, expected ${shapeText(state)}`);
  }
  return state;
}

function activation(ctx: NodeReader): (x: number) => number {
  const name = ctx.string('activation', 'none');
  if (name === 'none') return (x) => x;
  if (name === 'silu' || name === 'swish') return (x) => x / (1 + Math.exp(-x));
  throw ctx.error(`"activation" is "${name}", expected silu, swish or none`);
}

function causalInfer(ctx: InferContext): ValueType[] {
  const [x, weight, past] = [ctx.shape(0), ctx.shape(1), ctx.shape(3)];
  activation(ctx);
  const state = x && weight ? stateShape(ctx, x, weight, ctx.shape(2), past) : past;
  const dtype = expectSame(ctx, 4, floatKinds);
  return [tensorType(dtype, x), tensorType(dtype, state)];
}

function causalReference(ctx: ReferenceContext): HostTensor[] {
  const [xt, wt] = [ctx.tensor(0), ctx.tensor(1)];
  const [bt, pt] = [ctx.optional(2), ctx.optional(3)];
  const state = stateShape(ctx, xt.dims, wt.dims, bt?.dims, pt?.dims) as number[];
  const act = activation(ctx);
  const [batch, channels, length] = xt.dims;
  const held = state[2];
  const [x, weight] = [toNumbers(xt), toNumbers(wt)];
  const bias = bt && toNumbers(bt);
  const past = pt && toNumbers(pt);
  const y = new Float64Array(x.length);
  const present = new Float64Array(batch * channels * held);
  const line = new Float64Array(held + length);
  for (let row = 0; row < batch * channels; row++) {
    const c = row % channels;
    line.fill(0);
    if (past) line.set(past.subarray(row * held, (row + 1) * held));
    line.set(x.subarray(row * length, (row + 1) * length), held);
    for (let t = 0; t < length; t++) {
      let sum = bias ? bias[c] : 0;
      for (let k = 0; k <= held; k++) sum += weight[c * (held + 1) + k] * line[t + k];
      y[row * length + t] = act(sum);
    }
    present.set(line.subarray(length), row * held);
  }
  return [fromNumbers(xt.dtype, xt.dims, y), fromNumbers(xt.dtype, state, present)];
}

export const causalConvOps: readonly OpDefinition[] = [
  defineOp({
    name: 'CausalConvWithState',
    since: [27],
    inputs: [2, 4],
    outputs: [1, 2],
    attributes: { activation: 'string' },
    infer: causalInfer,
    reference: causalReference,
  }),
];

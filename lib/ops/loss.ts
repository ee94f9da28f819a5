/** Losses over class scores: SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeBetween } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { expectKind, expectKinds, floatKinds, integerKinds, numbersOf } from './elements.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

type Reduction = 'none' | 'mean' | 'sum';

function reductionOf(ctx: NodeReader): Reduction {
  const reduction = ctx.string('reduction', 'mean');
  if (reduction === 'none' || reduction === 'mean' || reduction === 'sum') return reduction;
  throw ctx.error(`"reduction" is "${reduction}", expected none, mean or sum`);
}

function unequal(a: Dim | undefined, b: Dim | undefined): boolean {
  return typeof a === 'number' && typeof b === 'number' && a !== b;
}

/** Checks scores [N, C, ...], labels [N, ...] and weights [C]. */
function checkLoss(ctx: NodeReader, scores: Shape | undefined, labels: Shape | undefined, weights: Shape | undefined) {
  if (scores && scores.length < 2) throw ctx.error(`input 0 is ${shapeText(scores)}, expected batch and classes`);
  if (scores && labels) {
    const want = [scores[0], ...scores.slice(2)];
    if (labels.length !== want.length || labels.some((dim, i) => unequal(dim, want[i]))) {
      throw ctx.error(`the labels are ${shapeText(labels)}, expected ${shapeText(want)}`);
    }
  }
  if (weights && (weights.length !== 1 || unequal(weights[0], scores?.[1]))) {
    throw ctx.error(`the weights are ${shapeText(weights)}, expected [${scores?.[1] ?? '?'}]`);
  }
}

function lossInfer(ctx: InferContext): ValueType[] {
  const [scores, labels] = [ctx.shape(0), ctx.shape(1)];
  checkLoss(ctx, scores, labels, ctx.shape(2));
  const dtype = expectKind(ctx, 0, floatKinds);
  expectKinds(ctx, [1], integerKinds);
  expectKinds(ctx, [2], floatKinds);
  const shape = reductionOf(ctx) === 'none' ? (labels ?? (scores && [scores[0], ...scores.slice(2)])) : [];
  return [tensorType(dtype, shape), tensorType(dtype, scores)];
}

/** Minus the weighted log-probability of every label, reduced. */
function likelihoodLoss(ctx: ReferenceContext, logs: Float64Array): HostTensor {
  const scores = ctx.tensor(0);
  const labels = ctx.tensor(1);
  const classes = scores.dims[1];
  const inner = sizeBetween(scores.dims, 2, scores.dims.length);
  const ignored = ctx.hasAttribute('ignore_index') ? ctx.int('ignore_index') : undefined;
  const given = ctx.optional(2);
  const weights = given && numbersOf(given);
  const targets = ctx.integers(1);
  const loss = new Float64Array(targets.length);
  let total = 0;
  let weight = 0;
  targets.forEach((label, i) => {
    if (label === ignored) return;
    if (label < 0 || label >= classes) throw ctx.error(`a label is ${label}, but there are ${classes} classes`);
    const w = weights ? weights[label] : 1;
    loss[i] = -w * logs[(Math.floor(i / inner) * classes + label) * inner + (i % inner)];
    total += loss[i];
    weight += w;
  });
  const reduction = reductionOf(ctx);
  if (reduction === 'none') return fromNumbers(scores.dtype, labels.dims, loss);
  return fromNumbers(scores.dtype, [], [reduction === 'mean' ? total / weight : total]);
}

/** Logarithm of the softmax over axis 1. */
function logSoftmax(scores: HostTensor): Float64Array {
  const x = toNumbers(scores);
  const [batch, classes] = scores.dims;
  const inner = sizeBetween(scores.dims, 2, scores.dims.length);
  const y = new Float64Array(x.length);
  for (let n = 0; n < batch; n++) {
    for (let j = 0; j < inner; j++) {
      const from = n * classes * inner + j;
      let most = Number.NEGATIVE_INFINITY;
      for (let c = 0; c < classes; c++) most = Math.max(most, x[from + c * inner]);
      let sum = 0;
      for (let c = 0; c < classes; c++) sum += Math.exp(x[from + c * inner] - most);
      const shift = most + Math.log(sum);
      for (let c = 0; c < classes; c++) y[from + c * inner] = x[from + c * inner] - shift;
    }
  }
  return y;
}

function negativeLogLikelihood(ctx: ReferenceContext): HostTensor[] {
  checkLoss(ctx, ctx.tensor(0).dims, ctx.tensor(1).dims, ctx.optional(2)?.dims);
  return [likelihoodLoss(ctx, toNumbers(ctx.tensor(0)))];
}

function softmaxCrossEntropy(ctx: ReferenceContext): HostTensor[] {
  const scores = ctx.tensor(0);
  checkLoss(ctx, scores.dims, ctx.tensor(1).dims, ctx.optional(2)?.dims);
  const logs = logSoftmax(scores);
  return [likelihoodLoss(ctx, logs), fromNumbers(scores.dtype, scores.dims, logs)];
}

const attributes = { ignore_index: 'int', reduction: 'string' } as const;

export const lossOps: readonly OpDefinition[] = [
  defineOp({
    name: 'NegativeLogLikelihoodLoss',
    since: [12, 13, 22],
    inputs: [2, 3],
    outputs: [1, 1],
    attributes,
    infer: (ctx) => lossInfer(ctx).slice(0, 1),
    reference: negativeLogLikelihood,
  }),
  defineOp({
    name: 'SoftmaxCrossEntropyLoss',
    since: [12, 13],
    inputs: [2, 3],
    outputs: [1, 2],
    attributes,
    infer: lossInfer,
    reference: softmaxCrossEntropy,
  }),
];

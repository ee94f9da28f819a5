/** Linear models of ai.onnx.ml; support vector machines are beside. */

import { tensorType } from '../ir/graph.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { lowerLinearClassifier, lowerLinearRegressor } from './ml-linear-lower.ts';
import {
  argMax,
  batchOf,
  inferClassifier,
  labelTensor,
  logistic,
  matrixDims,
  postTransform,
  readLabels,
  rowsOfMatrix,
  transformScores,
} from './ml-scores.ts';
import { svmOps } from './ml-svm.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** Scores [examples, count] of linear models whose coefficients are contiguous per model. */
function linearScores(ctx: NodeReader, x: HostTensor, count: number): Float64Array {
  const [examples, features] = matrixDims(ctx, x.dims);
  const coefficients = ctx.floats('coefficients');
  const intercepts = ctx.floats('intercepts', []);
  if (coefficients.length !== count * features) {
    throw ctx.error(`${coefficients.length} coefficients, expected ${count} times ${features} features`);
  }
  if (intercepts.length !== 0 && intercepts.length !== count) {
    throw ctx.error(`${intercepts.length} intercepts, expected ${count}`);
  }
  const values = toNumbers(x);
  const out = new Float64Array(examples * count);
  for (let n = 0; n < examples; n++) {
    for (let c = 0; c < count; c++) {
      let sum = intercepts[c] ?? 0;
      for (let f = 0; f < features; f++) sum += values[n * features + f] * coefficients[c * features + f];
      out[n * count + c] = sum;
    }
  }
  return out;
}

/** Number of models: as many as intercepts, or as the coefficients make for the features. */
function modelCount(ctx: NodeReader, features: number): number {
  const intercepts = ctx.floats('intercepts', []).length;
  return intercepts || Math.max(1, Math.floor(ctx.floats('coefficients').length / Math.max(features, 1)));
}

function classify(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const [examples, features] = matrixDims(ctx, x.dims);
  const count = modelCount(ctx, features);
  const labels = readLabels(ctx, 'classlabels_ints');
  const transform = postTransform(ctx);
  const scores = linearScores(ctx, x, count);
  const two = labels.names.length === 2;
  const columns = count === 1 && two ? 2 : count;
  if (count > 1 && labels.names.length < count) throw ctx.error(`${labels.names.length} labels for ${count} classes`);
  const [negative, positive] = two ? labels.names : labels.strings ? ['0', '1'] : [0n, 1n];
  const out = new Float64Array(examples * columns);
  const chosen: (string | bigint)[] = [];
  for (let n = 0; n < examples; n++) {
    const row = scores.subarray(n * count, (n + 1) * count);
    chosen.push(count === 1 ? (row[0] > 0 ? positive : negative) : labels.names[argMax(row)]);
    if (count === 1 && columns === 2) {
      out.set(transform === 'LOGISTIC' ? [logistic(-row[0]), logistic(row[0])] : [1 - row[0], row[0]], 2 * n);
      continue;
    }
    transformScores(row, transform);
    out.set(row, n * columns);
  }
  return [labelTensor(labels, chosen), fromNumbers('float32', [examples, columns], out)];
}

function regress(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const [examples] = matrixDims(ctx, x.dims);
  const targets = ctx.int('targets', 1);
  if (!(targets > 0)) throw ctx.error(`targets is ${targets}, expected a positive number`);
  const transform = postTransform(ctx);
  const out = linearScores(ctx, x, targets);
  for (let n = 0; n < examples; n++) transformScores(out.subarray(n * targets, (n + 1) * targets), transform);
  return [fromNumbers('float32', [examples, targets], out)];
}

export const mlLinearOps: readonly OpDefinition[] = [
  defineOp({
    name: 'LinearClassifier',
    domain: 'ai.onnx.ml',
    since: [1],
    inputs: [1, 1],
    outputs: [1, 2],
    attributes: {
      classlabels_ints: 'ints',
      classlabels_strings: 'strings',
      coefficients: 'floats',
      intercepts: 'floats',
      multi_class: 'int',
      post_transform: 'string',
    },
    infer: (ctx) => {
      const labels = readLabels(ctx, 'classlabels_ints');
      const features = ctx.shape(0)?.at(-1);
      const count = typeof features === 'number' ? modelCount(ctx, features) : null;
      return inferClassifier(ctx, labels, count === 1 && labels.names.length === 2 ? 2 : count);
    },
    reference: classify,
    lower: (ctx) => lowerLinearClassifier(ctx, modelCount(ctx, ctx.dims(0).at(-1) ?? 0), postTransform(ctx)),
    keepsRows: rowsOfMatrix,
  }),
  defineOp({
    name: 'LinearRegressor',
    domain: 'ai.onnx.ml',
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { coefficients: 'floats', intercepts: 'floats', post_transform: 'string', targets: 'int' },
    infer: (ctx) => [tensorType('float32', [batchOf(ctx), ctx.int('targets', 1)])],
    reference: regress,
    lower: (ctx) => lowerLinearRegressor(ctx, postTransform(ctx)),
    keepsRows: rowsOfMatrix,
  }),
  ...svmOps,
];

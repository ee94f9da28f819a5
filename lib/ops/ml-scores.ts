/** Labels and score transforms shared by the classifiers and regressors of ai.onnx.ml. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';
import type { InferContext, NodeReader, OpDefinition } from './op.ts';

export const postTransforms = ['NONE', 'SOFTMAX', 'LOGISTIC', 'SOFTMAX_ZERO', 'PROBIT'] as const;

/** What happens to scores at the end. */
export type PostTransform = (typeof postTransforms)[number];

/** The transform of the attribute, a name or its position. */
export function postTransform(ctx: NodeReader, numbered = false): PostTransform {
  const name = numbered ? postTransforms[ctx.int('post_transform', 0)] : ctx.string('post_transform', 'NONE');
  const found = postTransforms.find((transform) => transform === name);
  if (!found) throw ctx.error(`post_transform is "${name}", expected one of ${postTransforms.join(', ')}`);
  return found;
}

/** 1 / (1 + e^-x), exact at both ends. */
export function logistic(x: number): number {
  const v = 1 / (1 + Math.exp(-Math.abs(x)));
  return x < 0 ? 1 - v : v;
}

/** The inverse of the normal distribution function, by the closed approximation that the operators define. */
function probit(x: number): number {
  const y = 2 * x - 1;
  const log = Math.log((1 - y) * (1 + y));
  const v = 2 / (Math.PI * 0.147) + 0.5 * log;
  return Math.SQRT2 * Math.sign(y || 1) * Math.sqrt(-v + Math.sqrt(v * v - log / 0.147));
}

function softmax(scores: Float64Array): void {
  const max = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    scores[i] = Math.exp(scores[i] - max);
    sum += scores[i];
  }
  for (let i = 0; i < scores.length; i++) scores[i] /= sum;
}

/** Softmax in which scores of (almost) zero stay small. */
function softmaxZero(scores: Float64Array): void {
  const max = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    scores[i] = Math.abs(scores[i]) > 1e-7 ? Math.exp(scores[i] - max) : scores[i] * Math.exp(-max);
    sum += scores[i];
  }
  for (let i = 0; i < scores.length; i++) scores[i] = sum === 0 ? 0.5 : scores[i] / sum;
}

/** Transforms the scores of one example in place. */
export function transformScores(scores: Float64Array, transform: PostTransform): void {
  if (transform === 'SOFTMAX') softmax(scores);
  else if (transform === 'SOFTMAX_ZERO') softmaxZero(scores);
  else if (transform !== 'NONE') {
    const f = transform === 'LOGISTIC' ? logistic : probit;
    for (let i = 0; i < scores.length; i++) scores[i] = f(scores[i]);
  }
}

/** Position of the greatest score, the first of equal ones. */
export function argMax(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}

/** The class labels of a classifier. */
export interface Labels {
  readonly names: readonly string[] | readonly bigint[];
  readonly strings: boolean;
}

/** Labels from the attributes `classlabels_strings` or `ints`. */
export function readLabels(ctx: NodeReader, ints: string): Labels {
  const strings = ctx.strings('classlabels_strings', []);
  if (strings.length) return { names: strings, strings: true };
  return { names: ctx.ints(ints, []).map(BigInt), strings: false };
}

/** A label for each example. */
export function labelTensor(labels: Labels, chosen: readonly (string | bigint)[]): HostTensor {
  const data = labels.strings ? (chosen as string[]) : BigInt64Array.from(chosen as bigint[]);
  return tensor(labels.strings ? 'string' : 'int64', [chosen.length], data);
}

/** Output types of a classifier: labels [N] and scores [N, columns]. */
export function inferClassifier(ctx: InferContext, labels: Labels, columns: number | null): ValueType[] {
  const batch = batchOf(ctx);
  return [tensorType(labels.strings ? 'string' : 'int64', [batch]), tensorType('float32', [batch, columns])];
}

/** Number of examples: the first dimension of a matrix, 1 for a vector. */
export function batchOf(ctx: InferContext) {
  const x = ctx.shape(0);
  if (!x) return null;
  return x.length < 2 ? 1 : x[0];
}

/** Examples and features of a matrix or a single vector. */
export function matrixDims(ctx: NodeReader, dims: readonly number[]): readonly [number, number] {
  if (dims.length === 1) return [1, dims[0]];
  if (dims.length !== 2) throw ctx.error(`the input has rank ${dims.length}, expected [examples, features]`);
  return [dims[0], dims[1]];
}

/** Every row of a matrix is a matter of its own. */
export const rowsOfMatrix: NonNullable<OpDefinition['keepsRows']> = (_, { ranks }) => ranks[0] === 2;

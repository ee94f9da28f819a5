/** Support vector machines of ai.onnx.ml. */

import { tensorType } from '../ir/graph.ts';
import { fromNumbers, type HostValue, toNumbers } from '../ir/tensor.ts';
import type { LowerContext } from './lower.ts';
import {
  argMax,
  batchOf,
  inferClassifier,
  type Labels,
  labelTensor,
  logistic,
  matrixDims,
  type PostTransform,
  postTransform,
  readLabels,
  rowsOfMatrix,
  transformScores,
} from './ml-scores.ts';
import { lowerSvmClassifier, lowerSvmRegressor } from './ml-svm-lower.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

type Vector = ArrayLike<number>;

/** Similarity of `x` and the vector of `size` numbers at `at`. */
type Kernel = (x: Vector, vectors: Vector, at: number, size: number) => number;

function dot(x: Vector, vectors: Vector, at: number, size: number): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += x[i] * vectors[at + i];
  return sum;
}

function kernelOf(ctx: NodeReader): Kernel {
  const type = ctx.string('kernel_type', 'LINEAR');
  const [gamma = 0, coef0 = 0, degree = 0] = ctx.floats('kernel_params', []);
  if (type === 'LINEAR') return dot;
  if (type === 'POLY') return (...args) => (gamma * dot(...args) + coef0) ** degree;
  if (type === 'SIGMOID') return (...args) => Math.tanh(gamma * dot(...args) + coef0);
  if (type !== 'RBF') throw ctx.error(`kernel_type is "${type}", expected LINEAR, POLY, RBF or SIGMOID`);
  return (x, vectors, at, size) => {
    let sum = 0;
    for (let i = 0; i < size; i++) sum += (x[i] - vectors[at + i]) ** 2;
    return Math.exp(-gamma * sum);
  };
}

interface Machine {
  readonly kernel: Kernel;
  readonly perClass: readonly number[];
  readonly starts: readonly number[];
  readonly vectors: readonly number[];
  readonly coefficients: readonly number[];
  readonly rho: readonly number[];
  readonly count: number;
  readonly features: number;
}

function machineOf(ctx: NodeReader, features: number, classes: number): Machine {
  const perClass = ctx.ints('vectors_per_class', []);
  const starts: number[] = [];
  let count = 0;
  for (const size of perClass) {
    starts.push(count);
    count += size;
  }
  const vectors = ctx.floats('support_vectors', []);
  const coefficients = ctx.floats('coefficients');
  const rho = ctx.floats('rho', []);
  const pairs = (classes * (classes - 1)) / 2;
  const fits = count
    ? perClass.length === classes &&
      vectors.length === count * features &&
      coefficients.length >= (classes - 1) * count &&
      rho.length >= pairs
    : coefficients.length === classes * features && rho.length >= 1;
  if (!fits) {
    throw ctx.error(
      `${classes} classes, ${features} features, ${count} support vectors of ${vectors.length} numbers, ` +
        `${coefficients.length} coefficients and ${rho.length} rho do not fit together`,
    );
  }
  return { kernel: kernelOf(ctx), perClass, starts, vectors, coefficients, rho, count, features };
}

/** Decisions of all pairs of classes, and the votes of the classes. */
function decide(m: Machine, x: Vector, classes: number): { scores: Float64Array; votes: Float64Array } {
  const similar = Array.from({ length: m.count }, (_, j) => m.kernel(x, m.vectors, j * m.features, m.features));
  const votes = new Float64Array(classes);
  const scores = new Float64Array((classes * (classes - 1)) / 2);
  let pair = 0;
  for (let i = 0; i < classes; i++) {
    for (let j = i + 1; j < classes; j++) {
      let sum = m.rho[pair];
      for (let v = 0; v < m.perClass[i]; v++) {
        const at = m.starts[i] + v;
        sum += m.coefficients[(j - 1) * m.count + at] * similar[at];
      }
      for (let v = 0; v < m.perClass[j]; v++) {
        const at = m.starts[j] + v;
        sum += m.coefficients[i * m.count + at] * similar[at];
      }
      scores[pair++] = sum;
      votes[sum > 0 ? i : j]++;
    }
  }
  return { scores, votes };
}

/** Class probabilities that agree best with the pairwise ones `r[i * k + j]` (Wu, Lin and Weng's second method). */
function couple(k: number, r: Float64Array): Float64Array {
  const q = new Float64Array(k * k);
  for (let t = 0; t < k; t++) {
    for (let j = 0; j < k; j++) {
      if (j === t) continue;
      q[t * k + t] += r[j * k + t] ** 2;
      q[t * k + j] = -r[j * k + t] * r[t * k + j];
    }
  }
  const p = new Float64Array(k).fill(1 / k);
  const qp = new Float64Array(k);
  for (let round = 0; round < Math.max(100, k); round++) {
    let pqp = 0;
    for (let t = 0; t < k; t++) {
      qp[t] = 0;
      for (let j = 0; j < k; j++) qp[t] += q[t * k + j] * p[j];
      pqp += p[t] * qp[t];
    }
    const error = qp.reduce((most, value) => Math.max(most, Math.abs(value - pqp)), 0);
    if (error < 0.005 / k) break;
    for (let t = 0; t < k; t++) {
      const diff = (pqp - qp[t]) / q[t * k + t];
      p[t] += diff;
      pqp = (pqp + diff * (diff * q[t * k + t] + 2 * qp[t])) / (1 + diff) ** 2;
      for (let j = 0; j < k; j++) {
        qp[j] = (qp[j] + diff * q[t * k + j]) / (1 + diff);
        p[j] /= 1 + diff;
      }
    }
  }
  return p;
}

/** Probabilities of the classes from the decisions of all pairs. */
function probabilities(ctx: NodeReader, scores: Float64Array, classes: number): Float64Array {
  const [a, b] = [ctx.floats('prob_a'), ctx.floats('prob_b')];
  const r = new Float64Array(classes * classes);
  let pair = 0;
  for (let i = 0; i < classes; i++) {
    for (let j = i + 1; j < classes; j++) {
      const p = 1 - logistic(scores[pair] * a[pair] + b[pair]);
      r[i * classes + j] = Math.min(Math.max(p, 1e-7), 1 - 1e-7);
      r[j * classes + i] = 1 - r[i * classes + j];
      pair++;
    }
  }
  return couple(classes, r);
}

/** Scores as they are put out; a lone score that decides between two classes gets its opposite beside it. */
function written(scores: Float64Array, transform: PostTransform, second: boolean): Float64Array {
  if (scores.length !== 1 || !second || transform === 'PROBIT') {
    const out = scores.slice();
    transformScores(out, transform);
    return out;
  }
  const out = Float64Array.of(-scores[0], scores[0]);
  transformScores(out, transform);
  return out;
}

/** The label of one example; `best` is the class with most votes (or score), `weight` how much it has. */
function labelOf(labels: Labels, best: number, weight: number, alone: boolean): string | bigint {
  if (!alone || labels.names.length !== 1) return labels.names[best] ?? BigInt(best);
  const [no, yes] = labels.strings ? ['0', '1'] : [0n, 1n];
  return weight > 0 ? yes : no;
}

/** True where the decisions of pairs become probabilities of classes. */
function hasProbabilities(ctx: NodeReader, m: Machine, classes: number): boolean {
  const pairs = (classes * (classes - 1)) / 2;
  const [a, b] = [ctx.floats('prob_a', []).length, ctx.floats('prob_b', []).length];
  if (m.count > 0 && a > 0 && (a < pairs || b < pairs)) throw ctx.error(`prob_a and prob_b need ${pairs} numbers each`);
  return m.count > 0 && a > 0;
}

function lowerClassifier(ctx: LowerContext): string | undefined {
  const labels = readLabels(ctx, 'classlabels_ints').names.filter((name): name is bigint => typeof name === 'bigint');
  const m = machineOf(ctx, matrixDims(ctx, ctx.dims(0))[1], Math.max(labels.length, 1));
  hasProbabilities(ctx, m, labels.length);
  return lowerSvmClassifier(ctx, m, labels, postTransform(ctx));
}

function classify(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const [examples, features] = matrixDims(ctx, x.dims);
  const labels = readLabels(ctx, 'classlabels_ints');
  const classes = Math.max(labels.names.length, 1);
  const m = machineOf(ctx, features, classes);
  const proba = hasProbabilities(ctx, m, classes);
  const transform = postTransform(ctx);
  const alone = m.rho.length === 1;
  const values = toNumbers(x);
  const rows: Float64Array[] = [];
  const chosen: (string | bigint)[] = [];
  for (let n = 0; n < examples; n++) {
    const row = values.subarray(n * features, (n + 1) * features);
    let scores: Float64Array;
    let decisive: Float64Array;
    if (m.count) {
      const { scores: decisions, votes } = decide(m, row, classes);
      scores = proba ? probabilities(ctx, decisions, classes) : decisions;
      decisive = votes;
    } else {
      const score = (c: number): number => m.rho[0] + dot(row, m.coefficients, c * features, features);
      scores = Float64Array.from({ length: classes }, (_, c) => score(c));
      decisive = scores;
    }
    const best = argMax(decisive);
    chosen.push(labelOf(labels, best, decisive[best], alone));
    rows.push(written(scores, transform, alone && labels.names.length === 2));
  }
  const columns = rows[0]?.length ?? scoreColumns(ctx, labels);
  const out = new Float64Array(examples * columns);
  rows.forEach((row, n) => {
    out.set(row, n * columns);
  });
  return [labelTensor(labels, chosen), fromNumbers('float32', [examples, columns], out)];
}

/** Number of score columns: probabilities or linear scores per class, else one a pair (two for a lone pair). */
function scoreColumns(ctx: NodeReader, labels: Labels): number {
  const classes = Math.max(labels.names.length, 1);
  const machines = ctx.ints('vectors_per_class', []).length > 0;
  if (!machines || ctx.floats('prob_a', []).length) return classes;
  const pairs = (classes * (classes - 1)) / 2;
  return pairs === 1 && ctx.string('post_transform', 'NONE') !== 'PROBIT' ? 2 : pairs;
}

/** Support vectors of a regressor whose attributes fit together. */
function supportsOf(ctx: NodeReader, features: number): number {
  const count = ctx.int('n_supports', 0);
  const [coefficients, vectors] = [ctx.floats('coefficients').length, ctx.floats('support_vectors', []).length];
  const fits = count ? vectors === count * features && coefficients >= count : coefficients === features;
  if (!fits) throw ctx.error(`${vectors} support vector numbers and ${coefficients} coefficients`);
  return count;
}

function lowerRegressor(ctx: LowerContext): string | undefined {
  // Refuses a function that is none.
  kernelOf(ctx);
  return lowerSvmRegressor(ctx, supportsOf(ctx, matrixDims(ctx, ctx.dims(0))[1]), postTransform(ctx));
}

function regress(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const [examples, features] = matrixDims(ctx, x.dims);
  const count = supportsOf(ctx, features);
  const coefficients = ctx.floats('coefficients');
  const vectors = ctx.floats('support_vectors', []);
  const [rho = 0] = ctx.floats('rho', []);
  const kernel = kernelOf(ctx);
  const transform = postTransform(ctx);
  const oneClass = ctx.int('one_class', 0) !== 0;
  const values = toNumbers(x);
  const out = new Float64Array(examples);
  for (let n = 0; n < examples; n++) {
    const row = values.subarray(n * features, (n + 1) * features);
    let sum = rho;
    for (let j = 0; j < count; j++) sum += coefficients[j] * kernel(row, vectors, j * features, features);
    if (!count) sum += dot(row, coefficients, 0, features);
    out[n] = oneClass ? (sum > 0 ? 1 : -1) : sum;
    if (!oneClass) transformScores(out.subarray(n, n + 1), transform);
  }
  return [fromNumbers('float32', [examples, 1], out)];
}

const shared = {
  coefficients: 'floats',
  kernel_params: 'floats',
  kernel_type: 'string',
  post_transform: 'string',
  rho: 'floats',
  support_vectors: 'floats',
} as const;

export const svmOps: readonly OpDefinition[] = [
  defineOp({
    name: 'SVMClassifier',
    domain: 'ai.onnx.ml',
    since: [1],
    inputs: [1, 1],
    outputs: [1, 2],
    attributes: {
      ...shared,
      classlabels_ints: 'ints',
      classlabels_strings: 'strings',
      prob_a: 'floats',
      prob_b: 'floats',
      vectors_per_class: 'ints',
    },
    infer: (ctx) => {
      const labels = readLabels(ctx, 'classlabels_ints');
      return inferClassifier(ctx, labels, scoreColumns(ctx, labels));
    },
    reference: classify,
    lower: lowerClassifier,
    keepsRows: rowsOfMatrix,
  }),
  defineOp({
    name: 'SVMRegressor',
    domain: 'ai.onnx.ml',
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { ...shared, n_supports: 'int', one_class: 'int' },
    infer: (ctx) => [tensorType('float32', [batchOf(ctx), 1])],
    reference: regress,
    lower: lowerRegressor,
    keepsRows: rowsOfMatrix,
  }),
];

/** Native support vector machines: similarities to the vectors, a product with the coefficients, votes. */

import { fromNumbers, tensor } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { signStep } from './ml-encoders-lower.ts';
import { floatRows, modelsStep, rowsReason } from './ml-linear-lower.ts';
import { matrixDims, type PostTransform } from './ml-scores.ts';
import { scoresStep } from './ml-scores-lower.ts';

/** Numbers of the kernels' functions, as native/kernels/svm.cc has them. */
const kinds: readonly string[] = ['LINEAR', 'POLY', 'RBF', 'SIGMOID'];

/** Columns that the kernel reads together. */
const COLUMNS = 64;
const MAX_CLASSES = 2 ** 12;

interface Rows {
  readonly operand: Operand;
  readonly rows: number;
  readonly features: number;
}

/** Emits the similarities [rows, count] of rows and `count` support vectors. */
function similarityStep(ctx: LowerContext, { operand, rows, features }: Rows, count: number): Operand {
  const padded = Math.ceil(count / COLUMNS) * COLUMNS;
  const vectors = ctx.literal('support vectors', () => {
    const given = ctx.floats('support_vectors');
    const turned = new Float32Array(features * padded);
    for (let v = 0; v < count; v++) {
      for (let f = 0; f < features; f++) turned[f * padded + v] = given[v * features + f];
    }
    return tensor('float32', [features, padded], turned);
  });
  const [gamma = 0, offset = 0, degree = 0] = ctx.floats('kernel_params', []);
  const y = ctx.scratch('float32', [rows, count]);
  const kind = kinds.indexOf(ctx.string('kernel_type', 'LINEAR'));
  ctx.step('similarity.f32', [operand, vectors, y], { rows, features, count, padded, kind, gamma, offset, degree });
  return y;
}

function rowsOf(ctx: LowerContext): Rows {
  const [rows, features] = matrixDims(ctx, ctx.dims(0));
  return { operand: floatRows(ctx), rows, features };
}

/** What a classifier has besides its support vectors. */
export interface PairwiseMachine {
  readonly perClass: readonly number[];
  readonly starts: readonly number[];
  readonly coefficients: readonly number[];
  readonly rho: readonly number[];
  /** Support vectors; 0 for a linear machine, which has coefficients for each class. */
  readonly count: number;
}

/** Coefficients [pairs, count] of the decisions between two classes each. */
function pairCoefficients(m: PairwiseMachine, classes: number): number[] {
  const rows: number[] = [];
  for (let i = 0; i < classes; i++) {
    for (let j = i + 1; j < classes; j++) {
      const row = new Array<number>(m.count).fill(0);
      for (let v = 0; v < m.perClass[i]; v++)
        row[m.starts[i] + v] = m.coefficients[(j - 1) * m.count + m.starts[i] + v];
      for (let v = 0; v < m.perClass[j]; v++) row[m.starts[j] + v] = m.coefficients[i * m.count + m.starts[j] + v];
      for (const value of row) rows.push(value);
    }
  }
  return rows;
}

/** The label with most votes, and probabilities where the machine has them and somebody reads the scores. */
function votesStep(
  ctx: LowerContext,
  decisions: Operand,
  labels: readonly bigint[],
  { rows, probable }: { readonly rows: number; readonly probable: boolean },
): Operand | null {
  const classes = labels.length;
  const numbers = (name: string): Operand =>
    ctx.literal(name, () => fromNumbers('float64', [ctx.floats(name).length], ctx.floats(name)));
  const names = ctx.literal('labels', () => tensor('int64', [classes], BigInt64Array.from(labels)));
  const probabilities = probable ? ctx.scratch('float32', [rows, classes]) : null;
  const parameters = probable ? [numbers('prob_a'), numbers('prob_b')] : [null, null];
  const chosen = ctx.wants(0) ? ctx.output(0) : null;
  if (chosen || probable) {
    ctx.step('svm.votes', [decisions, names, ...parameters, chosen, probabilities], { rows, classes });
  }
  return probabilities;
}

/** Lowers a classifier of at least two integer labels. */
export function lowerSvmClassifier(
  ctx: LowerContext,
  m: PairwiseMachine,
  labels: readonly bigint[],
  transform: PostTransform,
): string | undefined {
  const reason = rowsReason(ctx);
  if (reason) return reason;
  const classes = labels.length;
  if (classes < 2 || classes > MAX_CLASSES) return `${classes} integer labels`;
  const x = rowsOf(ctx);
  const { rows, features } = x;
  if (m.count === 0) {
    const rho = new Array<number>(classes).fill(m.rho[0]);
    const operand = modelsStep(ctx, x.operand, { rows, features, count: classes }, [m.coefficients, rho]);
    scoresStep(ctx, { operand, parts: 1, rows, columns: classes }, { transform, base: [], labels });
    return undefined;
  }
  const pairs = (classes * (classes - 1)) / 2;
  const similar = similarityStep(ctx, x, m.count);
  const sizes = { rows, features: m.count, count: pairs };
  const decisions = modelsStep(ctx, similar, sizes, [pairCoefficients(m, classes), m.rho.slice(0, pairs)]);
  const probable = ctx.wants(1) && ctx.floats('prob_a', []).length > 0;
  const probabilities = votesStep(ctx, decisions, labels, { rows, probable });
  if (!ctx.wants(1)) return undefined;
  const lone = !probable && pairs === 1 && m.rho.length === 1 && transform !== 'PROBIT';
  const pair = lone ? ({ threshold: 0, first: [0, -1], second: [0, 1] } as const) : undefined;
  const operand = probabilities ?? decisions;
  const columns = probable ? classes : pairs;
  scoresStep(ctx, { operand, parts: 1, rows, columns }, { transform, base: [], pair, scores: 1 });
  return undefined;
}

/** Lowers a regressor of `count` support vectors, or of a linear machine where there are none. */
export function lowerSvmRegressor(ctx: LowerContext, count: number, transform: PostTransform): string | undefined {
  const reason = rowsReason(ctx);
  if (reason) return reason;
  const [rho = 0] = ctx.floats('rho', []);
  const x = rowsOf(ctx);
  const { rows, features } = x;
  const operand = count ? similarityStep(ctx, x, count) : x.operand;
  const sizes = { rows, features: count || features, count: 1 };
  const sums = modelsStep(ctx, operand, sizes, [ctx.floats('coefficients').slice(0, sizes.features), [rho]]);
  if (ctx.int('one_class', 0) !== 0) signStep(ctx, sums, ctx.output(0));
  else scoresStep(ctx, { operand: sums, parts: 1, rows, columns: 1 }, { transform, base: [] });
  return undefined;
}

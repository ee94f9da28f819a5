/** Native end of classifiers and regressors: base values, the label, transformed scores. */

import { fromNumbers, tensor } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { intoFloatOutput } from './lower-floats.ts';
import { type PostTransform, postTransforms } from './ml-scores.ts';

/** Numbers of the ways to join weights, as native/kernels/trees.cc has them. */
export const aggregateCodes = { SUM: 0, AVERAGE: 0, MIN: 1, MAX: 2 } as const;

export type Aggregate = keyof typeof aggregateCodes;

/** Two scores made of one sum: `base + factor * sum` each; with `single` the sum is the only score. */
export interface PairScores {
  /** The sum speaks for the second label above it. */
  readonly threshold: number;
  readonly first: readonly [base: number, factor: number];
  readonly second: readonly [base: number, factor: number];
  readonly single?: boolean;
}

/** What becomes of sums. */
export interface Ending {
  readonly transform: PostTransform;
  /** A number a column; empty for none. */
  readonly base: readonly number[];
  /** One sum decides between two labels. */
  readonly pair?: PairScores | undefined;
  readonly aggregate?: Aggregate;
  readonly divisor?: number;
  /** The labels of a classifier, whose outputs are the label and the scores; a regressor has the scores alone. */
  readonly labels?: readonly bigint[];
  /** Number of the output that has the scores, where the label is made elsewhere. */
  readonly scores?: number;
}

/** `parts` shares of sums [rows, columns], of float32 or float64. */
export interface Sums {
  readonly operand: Operand;
  readonly parts: number;
  readonly rows: number;
  readonly columns: number;
}

/** Emits the outputs of the node. */
export function scoresStep(ctx: LowerContext, sums: Sums, ending: Ending): void {
  const { labels, pair, base } = ending;
  const given = base.some((value) => value !== 0);
  const baseOperand = given ? ctx.literal('base', () => fromNumbers('float64', [base.length], base)) : null;
  const chosen = labels && ctx.wants(0) ? ctx.output(0) : null;
  const names =
    chosen && ctx.literal('labels', () => tensor('int64', [labels?.length ?? 0], BigInt64Array.from(labels ?? [])));
  const params = {
    ...{ parts: sums.parts, rows: sums.rows, columns: sums.columns },
    aggregate: aggregateCodes[ending.aggregate ?? 'SUM'],
    transform: postTransforms.indexOf(ending.transform),
    pair: pair ? (pair.single ? 1 : 2) : 0,
    ...{ divisor: ending.divisor ?? 1, threshold: pair?.threshold ?? 0 },
    ...{ first: pair?.first[0] ?? 0, first_factor: pair?.first[1] ?? 0 },
    ...{ second: pair?.second[0] ?? 0, second_factor: pair?.second[1] ?? 0 },
  };
  const at = ending.scores ?? (labels ? 1 : 0);
  const narrow = sums.operand.dtype === 'float32' ? 'scores.f32' : 'scores.f64.f32';
  const emit = (kernel: string, scores: Operand | null): void =>
    ctx.step(kernel, [sums.operand, baseOperand, names, scores, chosen], params);
  if (!ctx.wants(at)) emit(narrow, null);
  else if (ctx.outputDtype(at) === 'float64') emit('scores.f64', ctx.output(at));
  else intoFloatOutput(ctx, at, (scores) => emit(narrow, scores));
}

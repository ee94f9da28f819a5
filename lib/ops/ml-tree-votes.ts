/** How the weights of a tree classifier decide. */

import { toNumbers } from '../ir/tensor.ts';
import type { Labels, PostTransform } from './ml-scores.ts';
import { postTransform } from './ml-scores.ts';
import type { PairScores } from './ml-scores-lower.ts';
import type { Ensemble } from './ml-tree-nodes.ts';
import type { NodeReader } from './op.ts';

export interface Voting {
  readonly names: readonly (string | bigint)[];
  readonly base: readonly number[];
  /** The one class of two that all weights speak of; undefined where they speak of several. */
  readonly only: number | undefined;
  readonly positive: boolean;
  readonly transform: PostTransform;
}

/** The two answers of a classifier with one label. */
function single(name: string | bigint): readonly (string | bigint)[] {
  return typeof name === 'string' ? ['', name] : [0n, name];
}

/** A list of numbers given as floats or, for doubles, as a tensor. */
export function numbersAttribute(ctx: NodeReader, name: string): readonly number[] {
  const wide = ctx.tensorAttribute(`${name}_as_tensor`);
  return wide ? Array.from(toNumbers(wide)) : ctx.floats(name, []);
}

export function votingOf(ctx: NodeReader, labels: Labels, trees: Ensemble): Voting {
  const weights = trees.leaves.flat();
  const [first] = weights;
  const alone = labels.names.length <= 2 && first && weights.every(({ target }) => target === first.target);
  return {
    names: labels.names.length === 1 ? single(labels.names[0]) : labels.names,
    base: numbersAttribute(ctx, 'base_values'),
    only: alone ? first.target : undefined,
    positive: weights.every(({ weight }) => weight >= 0),
    transform: postTransform(ctx),
  };
}

/** How a sum that all weights add to becomes a label and two scores. */
export function binaryEnding(v: Voting, only: number): { base: number; pair: PairScores; transform: PostTransform } {
  const both = v.base.length === 2;
  const base = v.base[both ? only : 0] ?? 0;
  const threshold = v.positive ? 0.5 : 0;
  if (only === 1) {
    return { base, transform: v.transform, pair: { threshold, first: [both ? v.base[0] : 0, 0], second: [0, 1] } };
  }
  if (both) return { base, transform: v.transform, pair: { threshold, first: [0, 1], second: [0, 0] } };
  const complement = v.positive && v.transform !== 'LOGISTIC' ? 1 : 0;
  const transform = v.transform === 'LOGISTIC' || v.transform === 'PROBIT' ? v.transform : 'NONE';
  return { base, transform, pair: { threshold, first: [complement, -1], second: [0, 1] } };
}

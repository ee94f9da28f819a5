/** Cases by number: what a seed, a list of models and a number make. */

import type { Origin } from './corpus.ts';
import { type Mutant, mutate } from './mutate.ts';
import { Random } from './random.ts';

export interface FuzzCase extends Mutant {
  /** Decides everything about the case but its models. */
  readonly seed: string;
  /** Name of the model that was changed. */
  readonly origin: string;
}

/**
 * What is changed, and what looked at: model files that are to run or to be refused, model files that are to give what
 * the references give, or the native plans of models as they are.
 */
export type Subject = 'models' | 'answers' | 'plans';

/** Case `index` of a run. */
export function caseOf(origins: readonly Origin[], subject: Subject, seed: string, index: number): FuzzCase {
  const own = `${seed}:${index}`;
  const random = new Random(own, subject === 'answers');
  const origin = random.pick(origins);
  if (subject === 'plans') return { seed: own, origin: origin.name, bytes: origin.bytes(), changes: [] };
  const donor = random.pick(origins);
  return { seed: own, origin: origin.name, ...mutate(random, origin.bytes(), donor.bytes()) };
}

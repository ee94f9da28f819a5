/** One case of the engine: a model as it is, run on plans that were changed on their way to the decoder. */

import { native } from '../../lib/runtime/native.ts';
import { mutatePlan } from './mutate-plan.ts';
import { Random } from './random.ts';
import { type Outcome, runCase } from './run-case.ts';

const MAX_ARENA = 2 ** 26;

/**
 * Runs the model with changed plans. The engine has to refuse them, or to run them within their buffers and stop when
 * told to: what the model computes then is nobody's concern, so only the end of the process is a defect.
 */
export async function runOnChangedPlans(bytes: Uint8Array, seed: string, origin: string): Promise<Outcome> {
  const addon = native();
  const random = new Random(`${seed} plans`);
  const { plan } = addon;
  let refused = false;
  let changed = 0;
  addon.plan = (isa, numbers, constants, options) => {
    // Plans after the first are reached only where those before them are right.
    if (changed > 0 && random.chance(0.5)) return plan(isa, numbers, constants, options);
    changed++;
    const mutant = mutatePlan(random, numbers, addon.kernels(isa).length);
    try {
      return plan(isa, mutant, constants, { ...options, maxArenaBytes: MAX_ARENA });
    } catch (error) {
      refused = true;
      throw error;
    }
  };
  try {
    const { result } = await runCase(bytes, seed, origin);
    return { result: refused ? 'refused' : changed === 0 ? 'no plan' : result === 'defect' ? 'odd results' : result };
  } finally {
    addon.plan = plan;
  }
}

/** The process that cases run in: child.js SUBJECT SEED PATH... Takes work and tells outcomes by messages. */

import './limits.ts';
import { readFileSync } from 'node:fs';
import { caseOf, type Subject } from './cases.ts';
import { gatherOrigins } from './corpus.ts';
import type { SavedCase } from './findings.ts';
import { compareAnswers } from './run-answers.ts';
import { type Outcome, runCase } from './run-case.ts';
import { runOnChangedPlans } from './run-plans.ts';

const [subject, seed, ...paths] = process.argv.slice(2) as [Subject, string, ...string[]];
const origins = gatherOrigins(paths);

const runs = { models: runCase, answers: compareAnswers, plans: runOnChangedPlans } as const;

/** What the parent asks: a case by number, or one that was saved. */
export type Job = number | SavedCase;

async function work(job: Job): Promise<Outcome> {
  const saved = typeof job === 'object';
  const { seed: own, origin, ...rest } = saved ? job : caseOf(origins, subject, seed, job);
  const bytes = 'bytes' in rest ? rest.bytes : new Uint8Array(readFileSync(rest.model));
  return runs[subject](bytes, own, origin);
}

process.on('message', (job: Job) => {
  work(job).then((outcome) => process.send?.(outcome));
});

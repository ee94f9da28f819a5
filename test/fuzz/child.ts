/** The process that cases run in: child.js SEED PATH... or child.js --replay. Takes work and tells outcomes by messages. */

import './limits.ts';
import { readFileSync } from 'node:fs';
import { caseOf } from './cases.ts';
import { gatherOrigins } from './corpus.ts';
import type { SavedCase } from './findings.ts';
import { type Outcome, runCase } from './run-case.ts';

const [seed, ...paths] = process.argv.slice(2) as [string, ...string[]];
const origins = gatherOrigins(paths);

/** What the parent asks: a case by number, or one that was saved. */
export type Job = number | SavedCase;

async function work(job: Job): Promise<Outcome> {
  if (typeof job !== 'number') return runCase(new Uint8Array(readFileSync(job.model)), job.seed, job.origin);
  const { bytes, seed: own, origin } = caseOf(origins, seed, job);
  return runCase(bytes, own, origin);
}

process.on('message', (job: Job) => {
  work(job).then((outcome) => process.send?.(outcome));
});

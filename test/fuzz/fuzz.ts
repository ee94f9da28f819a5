/** A run of the fuzzer. */

import { caseOf, type Subject } from './cases.ts';
import type { Job } from './child.ts';
import { gatherOrigins } from './corpus.ts';
import { Findings } from './findings.ts';
import { type Limits, WatchedChild } from './watch.ts';

export interface FuzzOptions {
  readonly subject: Subject;
  readonly seed: string;
  /** Files and folders of models, besides the built-in ones. */
  readonly paths: readonly string[];
  /** The compiled child.js. */
  readonly child: string;
  /** Where findings go. */
  readonly folder: string;
  readonly limits: Limits;
  /** True while case number `index` is to run. */
  wants(index: number): boolean;
  /** Called for each defect: where it was saved, if it was. */
  onDefect?(defect: string, folder: string | undefined): void;
}

export interface FuzzReport {
  readonly cases: number;
  /** How many cases came to which result. */
  readonly results: ReadonlyMap<string, number>;
  /** Kinds of defects and how often each came. */
  readonly defects: ReadonlyMap<string, number>;
}

/** Limits that no small model needs. A sanitizer takes several times as much. */
export const usualLimits: Limits = process.env.ASAN_OPTIONS
  ? { milliseconds: 60_000, megabytes: 4000 }
  : { milliseconds: 15_000, megabytes: 2500 };

/** Runs cases until enough. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const origins = gatherOrigins(options.paths);
  const { subject, seed, paths } = options;
  const findings = new Findings(options.folder, subject);
  const results = new Map<string, number>();
  const child = new WatchedChild<Job>(options.child, [subject, seed, ...paths], options.limits);
  let index = 0;
  for (; options.wants(index); index++) {
    const { result, defect } = await child.run(index);
    results.set(result, (results.get(result) ?? 0) + 1);
    if (defect) options.onDefect?.(defect, findings.add(caseOf(origins, subject, seed, index), defect));
  }
  child.close();
  return { cases: index, results, defects: findings.counts };
}

/** Several rounds of one measurement as one row. */

import { type ChildResult, numberOf } from './child.ts';
import { least, median } from './statistics.ts';

export interface Summary {
  /** Milliseconds of a run: the median of the rounds' medians, the least of all. */
  readonly medianMs: number;
  readonly minMs: number;
  /** The largest. */
  readonly peakMb: number;
  /** Seconds until the first run could begin, and the part of planning and packing: the least. */
  readonly loadSeconds: number;
  readonly planSeconds: number;
  /** The largest share of the machine that others used. */
  readonly foreign: number | undefined;
  readonly rounds: number;
  /** Why there is no figure. */
  readonly error: string | undefined;
}

/** Rounds disturbed more than this are left out where others are not. */
export const MOST_FOREIGN = 0.05;

/** Sums rounds up; failed ones are left out, disturbed ones too where there are others. */
export function summarize(rounds: readonly ChildResult[]): Summary {
  const good = rounds.filter(({ line }) => line.error === undefined);
  const quiet = good.filter(({ foreign }) => (foreign ?? 0) <= MOST_FOREIGN);
  const used = quiet.length ? quiet : good;
  const all = (name: string): number[] => used.map(({ line }) => numberOf(line, name));
  const shares = used.flatMap(({ foreign }) => (foreign === undefined ? [] : [foreign]));
  return {
    medianMs: median(all('median_ms')),
    minMs: least(all('min_ms')),
    peakMb: used.length ? Math.max(...all('peak_rss_mb')) : Number.NaN,
    loadSeconds: least(all('load_s')),
    planSeconds: least(all('plan_s')),
    foreign: shares.length ? Math.max(...shares) : undefined,
    rounds: used.length,
    error: good.length ? undefined : (rounds[0]?.line.error ?? 'not run'),
  };
}

/** A warning for figures that other work disturbed; nothing where none did. */
export function disturbedNote(summaries: readonly { readonly foreign: number | undefined }[]): string[] {
  const count = summaries.filter(({ foreign }) => (foreign ?? 0) > MOST_FOREIGN).length;
  if (count === 0) return [];
  const limit = `${MOST_FOREIGN * 100} %`;
  return [
    `Disturbed: in ${count} of ${summaries.length} rows other processes used more than ${limit} of the machine; measure again.`,
  ];
}

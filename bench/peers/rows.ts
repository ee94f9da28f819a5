/** One row for each engine of a case, from rounds in which the engines took turns. */

import { type ChildResult, numberOf } from '../report/child.ts';
import { median } from '../report/statistics.ts';
import { type Summary, summarize } from '../report/summary.ts';

export interface PeerRow extends Summary {
  readonly model: string;
  readonly batch: number;
  readonly engine: string;
  readonly version: string;
  /** Time of the first engine over this one's: of the least times, and the median over the rounds of the medians. */
  readonly minRatio: number | undefined;
  readonly pairRatio: number | undefined;
  /** Largest difference of the first engine's outputs from this one's, over the largest of these; or why unknown. */
  readonly difference: number | string | undefined;
}

/** Engine k of `count` in round `round`: whoever is first changes from round to round. */
export const turnOf = (round: number, k: number, count: number): number => (round + k) % count;

/** Rows of one case; `rounds[engine][round]`. */
export function rowsOf(
  facts: { readonly model: string; readonly batch: number },
  engines: readonly string[],
  rounds: readonly (readonly ChildResult[])[],
  differences: readonly (number | string | undefined)[],
): PeerRow[] {
  const summaries = rounds.map(summarize);
  return engines.map((engine, i) => {
    const pairs = rounds[0]!.flatMap((first, round) => {
      const other = rounds[i]![round]!;
      const ratio = numberOf(first.line, 'median_ms') / numberOf(other.line, 'median_ms');
      return Number.isFinite(ratio) ? [ratio] : [];
    });
    const ratio = summaries[0]!.minMs / summaries[i]!.minMs;
    const compared = i > 0 && pairs.length > 0;
    return {
      ...facts,
      engine,
      version: String(rounds[i]!.find(({ line }) => line.version)?.line.version ?? ''),
      ...summaries[i]!,
      minRatio: compared ? ratio : undefined,
      pairRatio: compared ? median(pairs) : undefined,
      difference: differences[i],
    };
  });
}

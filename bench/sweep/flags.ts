/** Finds what should not happen in a sweep over sparsity and batch. */

export interface SweepPoint {
  readonly sparsity: number;
  readonly batch: number;
  /** Milliseconds an item. */
  readonly itemMs: number;
}

export interface Tolerances {
  /** How much slower more zeros may be, as a share. */
  readonly zeros: number;
  /** How much slower an item of a batch may be than alone, as a share. */
  readonly batch: number;
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/**
 * What is wrong with each point: slower than the fastest with fewer zeros at the same batch, or slower an item than at
 * batch 1 with the same zeros. Points without a time are left out.
 */
export function flagsOf(points: readonly SweepPoint[], tolerances: Tolerances): string[][] {
  const timed = points.filter((point) => Number.isFinite(point.itemMs));
  return points.map((point) => {
    const flags: string[] = [];
    if (!Number.isFinite(point.itemMs)) return flags;
    const fewer = timed.filter((other) => other.batch === point.batch && other.sparsity < point.sparsity);
    if (fewer.length) {
      const best = fewer.reduce((a, b) => (b.itemMs < a.itemMs ? b : a));
      const slower = point.itemMs / best.itemMs - 1;
      if (slower > tolerances.zeros) flags.push(`${percent(slower)} slower than with ${percent(best.sparsity)} zeros`);
    }
    const alone = timed.find((other) => other.batch === 1 && other.sparsity === point.sparsity);
    if (alone && point.batch > 1) {
      const slower = point.itemMs / alone.itemMs - 1;
      if (slower > tolerances.batch) flags.push(`an item ${percent(slower)} slower than at batch 1`);
    }
    return flags;
  });
}

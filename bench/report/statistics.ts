/** Order statistics of measured times. */

/** The middle value, or the mean of the two middle ones; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The least value; NaN of nothing. */
export function least(values: readonly number[]): number {
  return values.length ? Math.min(...values) : Number.NaN;
}

/** The geometric mean, which ratios want; NaN of nothing. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Largest difference of two results over the largest magnitude expected; 0 of equal ones, Infinity of unequal sizes. */
export function relativeDifference(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  let gap = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const [mine, right] = [got[i]!, expected[i]!];
    if (Object.is(mine, right) || mine === right) {
      if (Number.isFinite(right)) largest = Math.max(largest, Math.abs(right));
      continue;
    }
    if (!Number.isFinite(mine) || !Number.isFinite(right)) return Number.POSITIVE_INFINITY;
    gap = Math.max(gap, Math.abs(mine - right));
    largest = Math.max(largest, Math.abs(right));
  }
  return gap === 0 ? 0 : gap / Math.max(largest, 1e-12);
}

/** Removes the weights of least magnitude. */

import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';

const HIGH = 16;
const LOW = 15;

/** Bits of the magnitudes of floats: they sort like the magnitudes. */
function magnitudes(t: HostTensor): Uint32Array {
  const floats = t.dtype === 'float32' ? (t.data as Float32Array).slice() : Float32Array.from(toNumbers(t));
  return new Uint32Array(floats.buffer).map((bits) => bits & 0x7fffffff);
}

/** Finds the bin where the running count passes `rank`, and the count before it. */
function binOf(counts: Uint32Array, rank: number): { bin: number; before: number } {
  let before = 0;
  for (let bin = 0; bin < counts.length; bin++) {
    if (before + counts[bin] > rank) return { bin, before };
    before += counts[bin];
  }
  return { bin: counts.length, before };
}

/**
 * A copy of which at least `share` (0 to 1) is zero: the elements of least magnitude, the first ones among equals.
 * Selects by two histograms of the bits of the magnitudes.
 */
export function pruned(t: HostTensor, share: number): HostTensor {
  const bits = magnitudes(t);
  const count = Math.min(bits.length, Math.round(bits.length * share));
  const high = new Uint32Array(1 << HIGH);
  for (let i = 0; i < bits.length; i++) high[bits[i] >>> LOW]++;
  const { bin, before } = binOf(high, count);
  const low = new Uint32Array(1 << LOW);
  for (let i = 0; i < bits.length; i++) if (bits[i] >>> LOW === bin) low[bits[i] & ((1 << LOW) - 1)]++;
  const inner = binOf(low, count - before);
  const limit = bin * 2 ** LOW + inner.bin;
  let ties = count - before - inner.before;
  const values = Float64Array.from(toNumbers(t));
  for (let i = 0; i < bits.length; i++) {
    if (bits[i] < limit || (bits[i] === limit && ties-- > 0)) values[i] = 0;
  }
  return fromNumbers(t.dtype, t.dims, values);
}

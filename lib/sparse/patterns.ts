/** Which pattern the zeros of a weight follow. */

import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, toNumbers } from '../ir/tensor.ts';

/** What a weight's zeros look like. */
export interface Sparsity {
  /** Share of zeros, 0 to 1. */
  readonly zeros: number;
  /** Share of groups of 4 neighbouring input channels that are all zero. */
  readonly zeroBlocks: number;
  /** `dense`, `unstructured`, `4-block`, or `N:M` such as `2:4`. */
  readonly pattern: string;
}

/** Below this share of zeros a weight counts as dense. */
const DENSE = 0.05;

/** The zero value: 0, or the zero point of a quantized weight. */
function nonzeros(t: HostTensor, zero: number): Uint8Array {
  return Uint8Array.from(toNumbers(t), (x) => (x === zero ? 0 : 1));
}

/**
 * Looks at groups along the reduced axis: `depth` elements `stride` apart belong to one output, as in [M][C][taps]
 * (stride = taps) or [K][N] (stride = N).
 */
function groupCounts(live: Uint8Array, depth: number, stride: number, size: number): Float64Array {
  const counts = new Float64Array(size + 1);
  const outer = depth * stride ? live.length / (depth * stride) : 0;
  for (let o = 0; o < outer; o++) {
    for (let s = 0; s < stride; s++) {
      for (let k = 0; k + size <= depth; k += size) {
        let count = 0;
        for (let i = 0; i < size; i++) count += live[(o * depth + k + i) * stride + s];
        counts[count]++;
      }
    }
  }
  return counts;
}

/** The N of an N:M pattern: every group has N nonzeros at most and nearly all have exactly N. */
function nOf(counts: Float64Array): number | undefined {
  const groups = counts.reduce((a, b) => a + b, 0);
  let most = counts.length - 1;
  while (most > 0 && counts[most] === 0) most--;
  return groups > 0 && most > 0 && most < counts.length - 1 && counts[most] >= 0.9 * groups ? most : undefined;
}

/**
 * Analyses a weight. `axis` is the one that is summed over: 1 for convolutions [M, C, ...], 0 for matrices [K, N].
 */
export function sparsityOf(t: HostTensor, axis: number, zero = 0): Sparsity {
  const live = nonzeros(t, zero);
  const count = live.length;
  const zeros = count ? 1 - live.reduce((a, b) => a + b, 0) / count : 0;
  const depth = t.dims[axis] ?? 1;
  const stride = sizeOf(t.dims.slice(axis + 1));
  const fours = groupCounts(live, depth, stride, 4);
  const groups = fours.reduce((a, b) => a + b, 0);
  const zeroBlocks = groups ? fours[0] / groups : 0;
  if (zeros < DENSE) return { zeros, zeroBlocks, pattern: 'dense' };
  if (zeroBlocks > 0.8 * zeros) return { zeros, zeroBlocks, pattern: '4-block' };
  for (const size of [4, 8, 16]) {
    const n = depth >= size ? nOf(groupCounts(live, depth, stride, size)) : undefined;
    if (n !== undefined) return { zeros, zeroBlocks, pattern: `${n}:${size}` };
  }
  return { zeros, zeroBlocks, pattern: 'unstructured' };
}

/** Places buffers with lifetimes in one arena. */

/** A buffer that is alive from step `first` to step `last`, both included. */
export interface LiveBuffer {
  readonly buffer: number;
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

/** Cache lines: every buffer starts at one. */
const ALIGNMENT = 64;

/**
 * Largest first, each at the lowest offset where nothing placed before is alive at the same time (best fit by offset,
 * Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
 */
export function placeBuffers(buffers: readonly LiveBuffer[]): { offsets: Map<number, number>; arenaBytes: number } {
  const offsets = new Map<number, number>();
  const placed: { offset: number; end: number; first: number; last: number }[] = [];
  let arenaBytes = 0;
  for (const live of [...buffers].sort((a, b) => b.bytes - a.bytes)) {
    const size = Math.ceil(live.bytes / ALIGNMENT) * ALIGNMENT;
    let offset = 0;
    for (const other of placed) {
      if (other.last < live.first || other.first > live.last) continue;
      if (other.offset >= offset + size) break;
      offset = Math.max(offset, other.end);
    }
    const entry = { offset, end: offset + size, first: live.first, last: live.last };
    let at = placed.findIndex((other) => other.offset > offset);
    if (at < 0) at = placed.length;
    placed.splice(at, 0, entry);
    offsets.set(live.buffer, offset);
    arenaBytes = Math.max(arenaBytes, entry.end);
  }
  return { offsets, arenaBytes };
}

/** Bytes of the buffers that are alive at each of `steps` steps. */
export function bytesInUse(buffers: readonly LiveBuffer[], steps: number): number[] {
  const change = new Array<number>(steps + 1).fill(0);
  for (const { first, last, bytes } of buffers) {
    change[first] += bytes;
    change[last + 1] -= bytes;
  }
  let sum = 0;
  return change.slice(0, steps).map((bytes) => {
    sum += bytes;
    return sum;
  });
}

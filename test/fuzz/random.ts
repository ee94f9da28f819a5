/** Numbers that a text decides: the same on every machine. */

/** A stream of pseudorandom numbers (mulberry32 over a hash of the seed). */
export class Random {
  /** True where floats of no use to anybody (infinite, huge) are left out. */
  readonly tame: boolean;
  #state = 2166136261;

  constructor(seed: string, tame = false) {
    this.tame = tame;
    for (let i = 0; i < seed.length; i++) this.#state = Math.imul(this.#state ^ seed.charCodeAt(i), 16777619);
  }

  /** In [0, 1). */
  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor(this.unit() * count);
  }
  chance(probability: number): boolean {
    return this.unit() < probability;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

const edges: readonly bigint[] = [
  ...[0n, 1n, -1n, 2n, 3n, 4n, 5n, 7n, 8n, 9n, 12n, 15n, 16n, 17n, 24n, 31n, 32n, 33n, 63n, 64n, 65n, 127n, 128n],
  ...[-2n, -3n, -4n, -7n, -16n, 255n, 256n, 257n, 1000n, 65535n, 65536n],
  ...[31n, 32n, 48n, 53n, 62n, 63n].flatMap((bits) => [2n ** bits, 2n ** bits - 1n, -(2n ** bits), 2n ** bits + 1n]),
];

/** Without sizes that references take minutes for, and nobody refuses. */
const tameEdges = edges.filter((edge) => edge < 300n || edge > 2n ** 40n);

/** A whole number on which code is likely to stumble, sometimes made from the one that was there. */
export function edgeInteger(random: Random, old: bigint): bigint {
  switch (random.below(6)) {
    case 0:
      return old + BigInt(random.below(7) - 3);
    case 1:
      return random.chance(0.5) ? -old : old * 2n;
    case 2:
      return BigInt(random.below(12));
    default:
      return random.pick(random.tame ? tameEdges : edges);
  }
}

const tameFloats = [0, 1, -1, 0.5, 2, -0.25, 3];
const floats = [0, -0, 1, -1, 0.5, 2, 1e-45, 1e-38, 3.4028235e38, -3.4028235e38, 1e10, 2 ** 31, -(2 ** 63)];

/** A float32 on which code is likely to stumble. */
export function edgeFloat(random: Random): number {
  if (random.tame) return random.pick(tameFloats);
  return random.pick([...floats, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
}

/** The pseudo-random generator of the random operators: one stream a seed, the same on every machine. */

const mix = (x: number): number => {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
};

/** xoshiro128** over a state that a hash of the seed fills. */
export class RandomGenerator {
  readonly #state = new Uint32Array(4);
  #spare: number | undefined;

  /** Any number is a seed; equal seeds give equal streams. Without one the stream is different every time. */
  constructor(seed: number = Math.random() * 2 ** 53) {
    const [low, high] = new Uint32Array(Float64Array.of(seed).buffer);
    for (let i = 0; i < 4; i++) this.#state[i] = mix(mix(low + i * 0x9e3779b9) ^ high);
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** The next 32 bits. */
  next(): number {
    const s = this.#state;
    const product = Math.imul(s[1], 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** Uniform over [0, 1), 53 bits. */
  uniform(): number {
    return ((this.next() >>> 5) * 2 ** 26 + (this.next() >>> 6)) / 2 ** 53;
  }

  /** Normal with mean 0 and deviation 1, by the polar form of Box and Muller. */
  normal(): number {
    const spare = this.#spare;
    if (spare !== undefined) {
      this.#spare = undefined;
      return spare;
    }
    for (;;) {
      const u = 2 * this.uniform() - 1;
      const v = 2 * this.uniform() - 1;
      const r = u * u + v * v;
      if (r === 0 || r >= 1) continue;
      const scale = Math.sqrt((-2 * Math.log(r)) / r);
      this.#spare = v * scale;
      return u * scale;
    }
  }
}

/** A voice to test with: pulses of the glottis through resonances, syllable by syllable, over noise. */

import { RATE } from './detector.mjs';

/** Uniform numbers in 0..1, the same ones for the same seed. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function resonate(sound, frequency, width) {
  const radius = Math.exp((-Math.PI * width) / RATE);
  const [a, b] = [2 * radius * Math.cos((2 * Math.PI * frequency) / RATE), -radius * radius];
  let [last, before] = [0, 0];
  return sound.map((x) => {
    [last, before] = [x * (1 - radius) + a * last + b * before, last];
    return last;
  });
}

function syllable(random, length) {
  const pitch = 100 + 120 * random();
  let phase = 0;
  let sound = new Float32Array(length).map((_, i) => {
    phase += (pitch * (1 + (0.2 * i) / length)) / RATE;
    if (phase < 1) return 0;
    phase -= 1;
    return 1;
  });
  for (const [low, high] of [
    [300, 800],
    [900, 2200],
    [2300, 3200],
  ]) {
    sound = resonate(sound, low + (high - low) * random(), 80 + 80 * random());
  }
  const power = Math.sqrt(sound.reduce((sum, x) => sum + x * x, 0) / length);
  return sound.map((x, i) => (x / power) * Math.sin((Math.PI * (i + 0.5)) / length) ** 0.3);
}

/** `phrases`: pairs of seconds between which the voice speaks. */
export function speak(seconds, phrases, seed = 1) {
  const random = generator(seed);
  const sound = new Float32Array(seconds * RATE).map(() => 0.02 * (random() - 0.5));
  for (const [from, to] of phrases) {
    for (let at = from * RATE; at < to * RATE; ) {
      const length = Math.min(Math.round((0.15 + 0.15 * random()) * RATE), Math.round(to * RATE - at));
      for (const [i, x] of syllable(random, length).entries()) sound[Math.round(at) + i] += 0.08 * x;
      at += length;
    }
  }
  return sound;
}

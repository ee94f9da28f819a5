/**
 * Reinforcement learning: a network learns to balance a pole on a cart, by the cross-entropy method.
 *
 *   node main.mjs [generations]
 *
 * Every step of every episode is one runSync.
 */

import { fileURLToPath } from 'node:url';
import { Session, Tensor } from 'filigree';

const HIDDEN = 16;
const SIZES = { w1: [4, HIDDEN], b1: [HIDDEN], w2: [HIDDEN, 1], b2: [1] };
const COUNT = Object.values(SIZES).reduce((sum, dims) => sum + dims.reduce((a, b) => a * b), 0);
const MAX_STEPS = 500;
const POPULATION = 40;
const BEST = 8;

let seed = 7;
function random() {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return (seed + 0.5) / 2 ** 32;
}
const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());

/** Position, speed, angle and angular speed after 20 ms with this force; cart 1 kg, pole 0.1 kg and 1 m. */
function step(state, force) {
  const [x, v, angle, turn] = state;
  const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
  const push = (10 * force + 0.05 * turn * turn * sin) / 1.1;
  const turning = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - (0.1 * cos * cos) / 1.1));
  const moving = push - (0.05 * turning * cos) / 1.1;
  state.set([x + 0.02 * v, v + 0.02 * moving, angle + 0.02 * turn, turn + 0.02 * turning]);
}

/** The four weight tensors as views of one list of numbers. */
function tensorsOf(weights) {
  let at = 0;
  const tensors = Object.entries(SIZES).map(([name, dims]) => {
    const from = at;
    at += dims.reduce((a, b) => a * b);
    return [name, new Tensor('float32', weights.subarray(from, at), dims)];
  });
  return Object.fromEntries(tensors);
}

const session = await Session.load(fileURLToPath(new URL('policy.onnx', import.meta.url)), { threads: 1 });
let calls = 0;

/** Steps until the pole falls or the cart leaves the track. */
function episode(weights) {
  const state = new Float32Array(4).map(() => 0.1 * (random() - 0.5));
  // The same feeds for the whole episode: the state changes in place.
  const feeds = { state: new Tensor('float32', state, [1, 4]), ...tensorsOf(weights) };
  for (let i = 0; i < MAX_STEPS; i++) {
    const { force } = session.runSync(feeds);
    calls++;
    step(state, force.data[0]);
    if (Math.abs(state[0]) > 2.4 || Math.abs(state[2]) > 0.21) return i;
  }
  return MAX_STEPS;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const centre = new Float32Array(COUNT);
const spread = new Float32Array(COUNT).fill(1);
const start = performance.now();
for (let generation = 1; generation <= Number(process.argv[2] ?? 12); generation++) {
  const tried = Array.from({ length: POPULATION }, () => {
    const weights = centre.map((value, i) => value + spread[i] * normal());
    return { weights, steps: mean([episode(weights), episode(weights)]) };
  });
  const best = tried.sort((a, b) => b.steps - a.steps).slice(0, BEST);
  for (let i = 0; i < COUNT; i++) {
    const values = best.map(({ weights }) => weights[i]);
    centre[i] = mean(values);
    spread[i] = Math.sqrt(mean(values.map((value) => (value - centre[i]) ** 2))) + 0.05;
  }
  const average = mean([1, 2, 3, 4, 5].map(() => episode(centre)));
  console.log(`generation ${String(generation).padStart(2)}: ${average.toFixed(0)} of ${MAX_STEPS} steps`);
  if (average === MAX_STEPS) break;
}
const seconds = (performance.now() - start) / 1000;
await session.dispose();
const rate = Math.round(calls / seconds);
console.log(
  `${calls} calls, ${rate} a second: ${((seconds / calls) * 1e6).toFixed(1)} microseconds each, the cart included`,
);

/** Activation functions of recurrent operators, with the defaults and the order of their parameters. */

import type { NodeReader } from './op.ts';

export type Activation = (x: number) => number;

/** An activation with the parameters it takes, and their defaults. */
interface ActivationKind {
  readonly alpha?: number;
  readonly beta?: number;
  readonly make: (alpha: number, beta: number) => Activation;
}

const kinds: Readonly<Record<string, ActivationKind>> = {
  relu: { make: () => (x) => Math.max(x, 0) },
  tanh: { make: () => Math.tanh },
  sigmoid: { make: () => (x) => 1 / (1 + Math.exp(-x)) },
  affine: { alpha: 1, beta: 0, make: (a, b) => (x) => a * x + b },
  leakyrelu: { alpha: 0.01, make: (a) => (x) => (x >= 0 ? x : a * x) },
  thresholdedrelu: { alpha: 1, make: (a) => (x) => (x > a ? x : 0) },
  scaledtanh: { alpha: 1, beta: 1, make: (a, b) => (x) => a * Math.tanh(b * x) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, make: (a, b) => (x) => Math.min(Math.max(a * x + b, 0), 1) },
  elu: { alpha: 1, make: (a) => (x) => (x >= 0 ? x : a * Math.expm1(x)) },
  softsign: { make: () => (x) => x / (1 + Math.abs(x)) },
  softplus: { make: () => (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))) },
};

/**
 * The activations of every direction. `defaults` are those of one direction. Values of `activation_alpha` and
 * `activation_beta` are dealt in order to the activations that take such a parameter. The inputs of the first `clipped`
 * activations of a direction are clipped by the attribute `clip`.
 */
export function readActivations(
  ctx: NodeReader,
  directions: number,
  defaults: readonly string[],
  clipped: number = defaults.length,
): Activation[][] {
  const count = directions * defaults.length;
  const named = ctx.strings('activations', []);
  const names = named.length ? named : Array.from({ length: count }, (_, i) => defaults[i % defaults.length]);
  if (names.length < count) throw ctx.error(`"activations" names ${names.length} functions, expected ${count}`);
  const alphas = [...ctx.floats('activation_alpha', [])];
  const betas = [...ctx.floats('activation_beta', [])];
  const clip = ctx.float('clip', Number.POSITIVE_INFINITY);
  if (!(clip >= 0)) throw ctx.error(`"clip" is ${clip}, expected a positive number`);
  const all = names.slice(0, count).map((name, i) => {
    const key = name.toLowerCase();
    if (!Object.hasOwn(kinds, key)) throw ctx.error(`"activations" names "${name}", which is no activation`);
    const { alpha, beta, make } = kinds[key];
    const f = make(
      alpha === undefined ? 0 : (alphas.shift() ?? alpha),
      beta === undefined ? 0 : (betas.shift() ?? beta),
    );
    const free = clip === Number.POSITIVE_INFINITY || i % defaults.length >= clipped;
    return free ? f : (x: number) => f(Math.min(Math.max(x, -clip), clip));
  });
  return Array.from({ length: directions }, (_, d) => all.slice(d * defaults.length, (d + 1) * defaults.length));
}

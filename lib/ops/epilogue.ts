/** The general epilogue of convolutions and linear layers: bias, residual, activation; one table of activations. */

import type { AttributeType } from '../ir/graph.ts';
import { isConcrete, type Shape, shapeText } from '../ir/shape.ts';
import type { InferContext, NodeReader } from './op.ts';
import { erf } from './special-functions.ts';

/** An activation with its parameters; numbers as in native/kernels/activation.h. */
export interface Activation {
  readonly kind: number;
  readonly alpha: number;
  readonly beta: number;
}

export const NO_ACTIVATION: Activation = { kind: 0, alpha: 0, beta: 0 };

type Scalar = (x: number, alpha: number, beta: number) => number;

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const clamp = (x: number, low: number, high: number): number =>
  Number.isNaN(x) ? x : Math.min(high, Math.max(low, x));

/** Number and function of every activation that kernels fuse, by the name used in graphs. */
const activations: Readonly<Record<string, readonly [kind: number, f: Scalar]>> = {
  '': [0, (x) => x],
  Relu: [1, (x) => clamp(x, 0, Number.POSITIVE_INFINITY)],
  Clip: [2, clamp],
  LeakyRelu: [3, (x, alpha) => (x < 0 ? alpha * x : x)],
  Sigmoid: [4, sigmoid],
  Tanh: [5, Math.tanh],
  Swish: [6, (x, alpha) => x * sigmoid(alpha * x)],
  Gelu: [7, (x) => (x / 2) * (1 + erf(x / Math.SQRT2))],
  GeluTanh: [8, (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))],
  HardSwish: [9, (x) => (x * clamp(x + 3, 0, 6)) / 6],
  HardSigmoid: [10, (x, alpha, beta) => clamp(alpha * x + beta, 0, 1)],
};

/** Attributes of a node with an epilogue. */
export const epilogueAttributes = {
  activation: 'string',
  activation_alpha: 'float',
  activation_beta: 'float',
} as const satisfies Record<string, AttributeType>;

/** The activation of a node with {@link epilogueAttributes}. */
export function activationOf(node: NodeReader): Activation {
  const name = node.string('activation', '');
  const known = activations[name];
  if (!known) throw node.error(`unknown activation "${name}"`);
  return { kind: known[0], alpha: node.float('activation_alpha', 0), beta: node.float('activation_beta', 0) };
}

/** The activation as a function. */
export function activate(node: NodeReader): (x: number) => number {
  const [, f] = activations[node.string('activation', '')] ?? [];
  const { alpha, beta } = activationOf(node);
  return (x) => (f as Scalar)(x, alpha, beta);
}

/** True for a name that {@link activationOf} knows. */
export function isActivation(name: string): boolean {
  return name in activations;
}

/** Checks that the residual, input `i`, has the output's shape: passes fuse on what a model says of its shapes. */
export function checkResidual(ctx: InferContext, i: number, output: Shape | undefined): void {
  const shape = ctx.has(i) ? ctx.shape(i) : undefined;
  if (!shape || !output || !isConcrete(shape) || !isConcrete(output)) return;
  if (shape.length === output.length && shape.every((dim, axis) => dim === output[axis])) return;
  throw ctx.error(`the addend has shape ${shapeText(shape)}, expected ${shapeText(output)} as the model declares it`);
}

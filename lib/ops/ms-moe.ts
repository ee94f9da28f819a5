/** Mixtures of experts of com.microsoft: MoE, and QMoE with weights quantised in blocks. */

import { tensorType } from '../ir/graph.ts';
import { sameShape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { softmaxRow } from './attention-core.ts';
import { tanhGelu } from './ms-activation.ts';
import { unpackFields } from './ms-block-quantized.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { sigmoid } from './special-functions.ts';

/** Weights [experts, outputs, inputs] of one layer, with a bias [experts, outputs]. */
interface Layer {
  readonly outputs: number;
  readonly inputs: number;
  readonly weights: Float64Array;
  readonly bias: Float64Array | undefined;
}

interface Experts {
  readonly count: number;
  readonly fc1: Layer;
  readonly fc2: Layer;
  readonly fc3: Layer | undefined;
}

function apply(layer: Layer, expert: number, x: Float64Array): Float64Array {
  const { outputs, inputs, weights, bias } = layer;
  const y = new Float64Array(outputs);
  for (let o = 0; o < outputs; o++) {
    const at = (expert * outputs + o) * inputs;
    let sum = bias ? bias[expert * outputs + o] : 0;
    for (let i = 0; i < inputs; i++) sum += weights[at + i] * x[i];
    y[o] = sum;
  }
  return y;
}

/** Gate times linear part of a SwiGLU, each clamped where the node asks for it. */
function swiglu(ctx: NodeReader): (gate: number, linear: number) => number {
  const [alpha, beta] = [ctx.float('activation_alpha', 1), ctx.float('activation_beta', 0)];
  const limit = ctx.hasAttribute('swiglu_limit') ? ctx.float('swiglu_limit') : Number.POSITIVE_INFINITY;
  return (gate, linear) => {
    const g = Math.min(gate, limit);
    return g * sigmoid(alpha * g) * (Math.min(Math.max(linear, -limit), limit) + beta);
  };
}

/** What is between the layers of an expert: from fc1's result (and fc3's) to fc2's input. */
type Middle = (first: Float64Array, third: Float64Array | undefined) => Float64Array;

function middleOf(ctx: NodeReader): Middle {
  const type = ctx.string('activation_type', 'relu');
  if (type === 'swiglu') {
    const join = swiglu(ctx);
    const fusion = ctx.int('swiglu_fusion', 0);
    if (fusion === 0) return (first, third) => first.map((gate, i) => join(gate, third ? third[i] : 0));
    return (first) => {
      const half = first.length / 2;
      const at = fusion === 1 ? (i: number) => [2 * i, 2 * i + 1] : (i: number) => [i, half + i];
      return Float64Array.from({ length: half }, (_, i) => join(first[at(i)[0]], first[at(i)[1]]));
    };
  }
  const functions: Readonly<Record<string, (x: number) => number>> = {
    gelu: tanhGelu,
    identity: (x) => x,
    relu: (x) => Math.max(x, 0),
    silu: (x) => x * sigmoid(x),
  };
  const f = functions[type];
  if (!f) throw ctx.error(`activation_type is "${type}"`);
  return (first, third) => first.map((x, i) => f(x) * (third ? third[i] : 1));
}

/** The experts of a token and what each of them weighs. */
function route(ctx: NodeReader, logits: Float64Array, mixing: Float64Array | undefined): [number, number][] {
  const k = ctx.int('k', 1);
  if (!(k > 0 && k <= logits.length)) throw ctx.error(`k is ${k}, expected 1 to ${logits.length}`);
  const probabilities = logits.slice();
  softmaxRow(probabilities);
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  const chosen = order.slice(0, k);
  const weights = chosen.map((e) => (mixing ? mixing[e] : probabilities[e]));
  const sum = ctx.int('normalize_routing_weights', 0) !== 0 ? weights.reduce((a, b) => a + b, 0) : 1;
  return chosen.map((e, i) => [e, sum === 0 ? 0 : weights[i] / sum]);
}

function mix(ctx: ReferenceContext, experts: Experts, mixingInput: number): HostValue[] {
  const [x, router] = [ctx.tensor(0), ctx.tensor(1)];
  const hidden = x.dims.at(-1) as number;
  const tokens = sizeOf(x.dims) / Math.max(hidden, 1);
  if (ctx.int('use_sparse_mixer', 0) !== 0) throw ctx.error('use_sparse_mixer is not supported');
  if (!sameShape(router.dims, [tokens, experts.count]) || experts.fc1.inputs !== hidden) {
    throw ctx.error(`router_probs is ${shapeText(router.dims)}, expected [${tokens},${experts.count}]`);
  }
  const middle = middleOf(ctx);
  const values = toNumbers(x);
  const logits = toNumbers(router);
  const mixing = ctx.optional(mixingInput);
  const weights = mixing && toNumbers(mixing);
  const out = new Float64Array(values.length);
  for (let t = 0; t < tokens; t++) {
    const token = values.subarray(t * hidden, (t + 1) * hidden);
    const row = (all: Float64Array): Float64Array => all.subarray(t * experts.count, (t + 1) * experts.count);
    for (const [expert, weight] of route(ctx, row(logits), weights && row(weights))) {
      const first = apply(experts.fc1, expert, token);
      const inner = middle(first, experts.fc3 && apply(experts.fc3, expert, token));
      const y = apply(experts.fc2, expert, inner);
      for (let i = 0; i < hidden; i++) out[t * hidden + i] += weight * y[i];
    }
  }
  return [fromNumbers(x.dtype, x.dims, out)];
}

function biasOf(ctx: ReferenceContext, input: number, weights: HostTensor): Float64Array | undefined {
  const t = ctx.optional(input);
  if (t && !sameShape(t.dims, weights.dims.slice(0, 2))) {
    throw ctx.error(`a bias is ${shapeText(t.dims)} for weights ${shapeText(weights.dims)}`);
  }
  return t && toNumbers(t);
}

function plainLayer(ctx: ReferenceContext, input: number): Layer {
  const w = ctx.tensor(input);
  if (w.dims.length !== 3) throw ctx.error(`weights are ${shapeText(w.dims)}, expected rank 3`);
  return { outputs: w.dims[1], inputs: w.dims[2], weights: toNumbers(w), bias: biasOf(ctx, input + 1, w) };
}

/** A quantised layer: weights, scales and bias in three inputs, zero points in `zeroInput`. */
function quantizedLayer(ctx: ReferenceContext, which: 1 | 2 | 3): Layer {
  const input = 2 + (which - 1) * 3;
  const bits = ctx.int(`fc${which}_expert_weight_bits`, ctx.int('expert_weight_bits', 4));
  if (![2, 4, 8].includes(bits)) throw ctx.error(`${bits} bits a weight, expected 2, 4 or 8`);
  const [w, scaleTensor] = [ctx.tensor(input), ctx.tensor(input + 1)];
  if (w.dims.length !== 3 || w.dtype !== 'uint8') throw ctx.error(`weights are ${w.dtype} ${shapeText(w.dims)}`);
  const [experts, outputs] = w.dims;
  const inputs = (w.dims[2] * 8) / bits;
  const rows = experts * outputs;
  const scales = toNumbers(scaleTensor);
  const blocks = scales.length / rows;
  const block = ctx.int('block_size', 0) || inputs;
  if (blocks !== Math.ceil(inputs / block)) throw ctx.error(`scales are ${shapeText(scaleTensor.dims)}`);
  const levels = unpackFields(w.data as Uint8Array, rows, inputs, bits);
  const zeroTensor = ctx.optional(10 + which);
  const zeroRows = blocks > 1 ? rows : experts;
  const zeros = zeroTensor && unpackFields(zeroTensor.data as Uint8Array, zeroRows, (rows * blocks) / zeroRows, bits);
  const weights = new Float64Array(rows * inputs);
  for (let i = 0; i < weights.length; i++) {
    const at = Math.floor(i / inputs) * blocks + Math.floor((i % inputs) / block);
    weights[i] = (levels[i] - (zeros ? zeros[at] : 2 ** (bits - 1))) * scales[at];
  }
  return { outputs, inputs, weights, bias: biasOf(ctx, input + 2, w) };
}

const attributes = {
  activation_alpha: 'float',
  activation_beta: 'float',
  activation_type: 'string',
  k: 'int',
  normalize_routing_weights: 'int',
  swiglu_fusion: 'int',
  swiglu_limit: 'float',
  use_sparse_mixer: 'int',
} as const;

export const msMoeOps: readonly OpDefinition[] = [
  defineOp({
    name: 'MoE',
    domain: 'com.microsoft',
    since: [1],
    inputs: [5, 8],
    omittable: [3],
    outputs: [1, 1],
    attributes,
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: (ctx) => {
      const [fc1, fc2] = [plainLayer(ctx, 2), plainLayer(ctx, 4)];
      const fc3 = ctx.has(6) ? plainLayer(ctx, 6) : undefined;
      return mix(ctx, { count: ctx.tensor(2).dims[0], fc1, fc2, fc3 }, Number.MAX_SAFE_INTEGER);
    },
  }),
  defineOp({
    name: 'QMoE',
    domain: 'com.microsoft',
    since: [1],
    inputs: [7, 21],
    omittable: [4],
    outputs: [1, 1],
    attributes: {
      ...attributes,
      accuracy_level: 'int',
      block_size: 'int',
      expert_weight_bits: 'int',
      fc1_expert_weight_bits: 'int',
      fc2_expert_weight_bits: 'int',
      fc3_expert_weight_bits: 'int',
      quant_type: 'string',
      weights_prepacked: 'int',
    },
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: (ctx) => {
      const type = ctx.string('quant_type', 'int');
      if (type !== 'int') throw ctx.error(`quant_type is "${type}", only "int" is supported`);
      if (ctx.int('weights_prepacked', -1) === 1) throw ctx.error('prepacked weights are for other processors');
      const [fc1, fc2] = [quantizedLayer(ctx, 1), quantizedLayer(ctx, 2)];
      const fc3 = ctx.has(8) ? quantizedLayer(ctx, 3) : undefined;
      return mix(ctx, { count: ctx.tensor(2).dims[0], fc1, fc2, fc3 }, 14);
    },
  }),
];

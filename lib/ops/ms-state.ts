/** Operators around recurrent attention in com.microsoft: the causal convolution with state, and gates. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, sameShape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostValue, toNumbers } from '../ir/tensor.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { sigmoid, softplus } from './special-functions.ts';

const domain = 'com.microsoft';

interface Settings {
  readonly dilation: number;
  readonly last: boolean;
  /** States kept; 0 for the newest without an axis of its own. */
  readonly window: number;
  readonly activate: (x: number) => number;
}

function readSettings(ctx: NodeReader): Settings {
  const name = ctx.string('activation', 'none');
  if (!['none', 'silu', 'swish'].includes(name))
    throw ctx.error(`activation is "${name}", expected silu, swish or none`);
  if (ctx.int('ndim', 1) !== 1) throw ctx.error(`ndim is ${ctx.int('ndim', 1)}, only 1 is supported`);
  const [dilation, window] = [ctx.int('dilation', 1), ctx.int('state_window', 0)];
  if (dilation < 1 || window < 0 || window > 1024) throw ctx.error(`dilation ${dilation}, state_window ${window}`);
  const activate = name === 'none' ? (x: number): number => x : (x: number): number => x * sigmoid(x);
  return { dilation, window, last: ctx.int('channels_last', 0) !== 0, activate };
}

/** Shape of the state for input and kernel of the given shapes. */
function stateShape(s: Settings, x: Shape, kernel: Dim): Dim[] {
  const length = typeof kernel === 'number' ? (kernel - 1) * s.dilation : null;
  const state = s.last ? [x[0], length, ...x.slice(2)] : [x[0], x[1], length];
  return s.window ? [s.window, ...state] : state;
}

function inferConv(ctx: InferContext): (ValueType | undefined)[] {
  const [x, w] = [ctx.shape(0), ctx.shape(1)];
  const dtype = ctx.dtype(0);
  return [tensorType(dtype, x), tensorType(dtype, x && stateShape(readSettings(ctx), x, w?.[2] ?? null))];
}

interface ConvSizes {
  readonly batch: number;
  readonly channels: number;
  readonly length: number;
  readonly taps: number;
  readonly held: number;
}

function sizesOf(ctx: ReferenceContext, s: Settings): ConvSizes {
  const [x, w] = [ctx.tensor(0), ctx.tensor(1)];
  const channels = s.last ? sizeOf(x.dims.slice(2)) : x.dims[1];
  const taps = w.dims[2];
  const rank = s.last ? x.dims.length >= 3 : x.dims.length === 3;
  if (!rank || !(taps > 0) || !sameShape(w.dims, [channels, 1, taps])) {
    throw ctx.error(`input ${shapeText(x.dims)} and weight ${shapeText(w.dims)} do not fit`);
  }
  return { batch: x.dims[0], channels, length: s.last ? x.dims[1] : x.dims[2], taps, held: (taps - 1) * s.dilation };
}

function convolve(ctx: ReferenceContext): HostValue[] {
  const s = readSettings(ctx);
  const { batch, channels, length, taps, held } = sizesOf(ctx, s);
  const xTensor = ctx.tensor(0);
  const stateDims = stateShape(s, xTensor.dims, taps) as number[];
  const past = ctx.optional(3);
  if (past && !sameShape(past.dims, stateDims)) {
    throw ctx.error(`past_state is ${shapeText(past.dims)}, expected ${shapeText(stateDims)}`);
  }
  const bias = ctx.optional(2);
  const b = bias && toNumbers(bias);
  if (b && b.length !== channels) throw ctx.error(`the bias has ${b.length} elements, expected ${channels}`);
  const [x, w] = [toNumbers(xTensor), toNumbers(ctx.tensor(1))];
  const before = past && toNumbers(past);
  const slots = Math.max(s.window, 1);
  const slotSize = batch * channels * held;
  const y = new Float64Array(x.length);
  const states = new Float64Array(slots * slotSize);
  /** Offset of position `t` of a channel in data of `count` positions. */
  const at = (n: number, c: number, t: number, count: number): number =>
    s.last ? (n * count + t) * channels + c : (n * channels + c) * count + t;
  const line = new Float64Array(held + length);
  for (let row = 0; row < batch * channels; row++) {
    const [n, c] = [Math.floor(row / channels), row % channels];
    for (let t = 0; t < held; t++) line[t] = before ? before[(slots - 1) * slotSize + at(n, c, t, held)] : 0;
    for (let t = 0; t < length; t++) line[held + t] = x[at(n, c, t, length)];
    for (let t = 0; t < length; t++) {
      let sum = b ? b[c] : 0;
      for (let k = 0; k < taps; k++) sum += w[c * taps + k] * line[t + k * s.dilation];
      y[at(n, c, t, length)] = s.activate(sum);
    }
    for (let slot = 0; slot < slots; slot++) {
      // The state after position `end - 1`.
      const end = length - slots + 1 + slot;
      if (end < (slot === slots - 1 ? 0 : 1)) continue;
      for (let t = 0; t < held; t++) states[slot * slotSize + at(n, c, t, held)] = line[end + t];
    }
  }
  return [fromNumbers(xTensor.dtype, xTensor.dims, y), fromNumbers(xTensor.dtype, stateDims, states)];
}

/** decay = scale * softplus(a + bias), beta = sigmoid(b); bias and scale per last axis. */
function gates(ctx: ReferenceContext): HostValue[] {
  const a = ctx.tensor(0);
  const heads = a.dims.at(-1) ?? 1;
  const [bias, scale] = [toNumbers(ctx.tensor(1)), toNumbers(ctx.tensor(2))];
  if (bias.length !== heads || scale.length !== heads)
    throw ctx.error(`dt_bias and decay_scale need ${heads} elements`);
  const decay = Float64Array.from(toNumbers(a), (x, i) => scale[i % heads] * softplus(x + bias[i % heads]));
  const outputs: HostValue[] = [fromNumbers(a.dtype, a.dims, decay)];
  const b = ctx.optional(3);
  if (b) outputs.push(fromNumbers(b.dtype, b.dims, Float64Array.from(toNumbers(b), sigmoid)));
  return outputs;
}

function gatedAdd(ctx: ReferenceContext): HostValue[] {
  const [x, y, gate] = [ctx.tensor(0), ctx.tensor(1), toNumbers(ctx.tensor(2))];
  const columns = x.dims.at(-1) ?? 1;
  if (!sameShape(x.dims, y.dims) || gate.length * columns !== x.data.length) {
    throw ctx.error(`inputs of shapes ${shapeText(x.dims)}, ${shapeText(y.dims)} and ${shapeText(ctx.tensor(2).dims)}`);
  }
  const values = toNumbers(y);
  const product = fromNumbers(
    x.dtype,
    x.dims,
    values.map((value, i) => value * gate[Math.floor(i / columns)]),
  );
  const rounded = toNumbers(product);
  return [
    fromNumbers(
      x.dtype,
      x.dims,
      Float64Array.from(toNumbers(x), (value, i) => value + rounded[i]),
    ),
  ];
}

export const msStateOps: readonly OpDefinition[] = [
  defineOp({
    name: 'CausalConvWithState',
    domain,
    since: [1],
    inputs: [2, 4],
    outputs: [1, 2],
    attributes: { activation: 'string', channels_last: 'int', dilation: 'int', ndim: 'int', state_window: 'int' },
    infer: inferConv,
    reference: convolve,
  }),
  defineOp({
    name: 'LinearAttentionGate',
    domain,
    since: [1],
    inputs: [3, 4],
    outputs: [1, 2],
    infer: (ctx) => [
      tensorType(ctx.dtype(0), ctx.shape(0)),
      ctx.has(3) ? tensorType(ctx.dtype(3), ctx.shape(3)) : undefined,
    ],
    reference: gates,
  }),
  defineOp({
    name: 'GatedAdd',
    domain,
    since: [1],
    inputs: [3, 3],
    outputs: [1, 1],
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: gatedAdd,
  }),
];

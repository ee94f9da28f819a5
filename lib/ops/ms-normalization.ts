/** Normalisations of com.microsoft: with a residual, with embeddings, over groups, and by root mean square. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Shape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { alignsRows } from './keeps-rows.ts';
import { lowerLayerNorm } from './lower-norm.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { sigmoid } from './special-functions.ts';

interface Normalization {
  readonly width: number;
  readonly epsilon: number;
  /** Without the mean: root mean square. */
  readonly simplified: boolean;
  readonly gamma: Float64Array;
  readonly beta?: Float64Array;
}

/** Normalises every row of `width` in place; gives each row's mean and inverse deviation. */
export function normalizeRows(x: Float64Array, n: Normalization): { mean: Float64Array; inverse: Float64Array } {
  const { width, simplified, gamma, beta } = n;
  const count = width ? x.length / width : 0;
  const [mean, inverse] = [new Float64Array(count), new Float64Array(count)];
  for (let r = 0; r < count; r++) {
    const row = x.subarray(r * width, (r + 1) * width);
    let sum = 0;
    if (!simplified) for (let i = 0; i < width; i++) sum += row[i];
    mean[r] = sum / width;
    let squares = 0;
    for (let i = 0; i < width; i++) squares += (row[i] - mean[r]) ** 2;
    inverse[r] = 1 / Math.sqrt(squares / width + n.epsilon);
    for (let i = 0; i < width; i++) row[i] = (row[i] - mean[r]) * inverse[r] * gamma[i] + (beta ? beta[i] : 0);
  }
  return { mean, inverse };
}

/** A vector of `width` numbers, or an error. */
export function vector(ctx: NodeReader, t: HostTensor, width: number, what: string): Float64Array {
  const values = toNumbers(t);
  if (values.length !== width) throw ctx.error(`${what} has shape ${shapeText(t.dims)}, expected [${width}]`);
  return values;
}

const ones = (shape: Shape | undefined): Shape | undefined => shape && [...shape.slice(0, -1), 1];

function inferSkip(ctx: InferContext): (ValueType | undefined)[] {
  const shape = ctx.shape(0);
  const output = tensorType(ctx.dtype(0), shape);
  const statistic = tensorType('float32', ones(shape));
  return [output, statistic, statistic, output];
}

/** Input plus residual (which may lack or repeat the batch) plus bias. */
function summed(ctx: ReferenceContext, biasInput: number): Float64Array {
  const [x, skip] = [ctx.tensor(0), ctx.tensor(1)];
  const sum = Float64Array.from(toNumbers(x));
  const residual = toNumbers(skip);
  const tail = x.dims.slice(-skip.dims.length);
  const trimmed = skip.dims[0] === 1 && skip.dims.length === x.dims.length ? skip.dims.slice(1) : skip.dims;
  const fits = trimmed.every((dim, i) => dim === tail[tail.length - trimmed.length + i]);
  if (!fits || (sum.length > 0 && residual.length === 0)) {
    throw ctx.error(`the residual has shape ${shapeText(skip.dims)}, the input ${shapeText(x.dims)}`);
  }
  for (let i = 0; i < sum.length; i++) sum[i] += residual[i % residual.length];
  const bias = ctx.optional(biasInput);
  if (bias) {
    const width = x.dims.at(-1) as number;
    const b = vector(ctx, bias, width, 'the bias');
    for (let i = 0; i < sum.length; i++) sum[i] += b[i % width];
  }
  return sum;
}

function skipReference(ctx: ReferenceContext, simplified: boolean): HostValue[] {
  const x = ctx.tensor(0);
  const width = x.dims.at(-1) as number;
  const sum = summed(ctx, simplified ? 3 : 4);
  const beta = simplified ? undefined : ctx.optional(3);
  const y = sum.slice();
  const { mean, inverse } = normalizeRows(y, {
    width,
    epsilon: ctx.float('epsilon', 1e-12),
    simplified,
    gamma: vector(ctx, ctx.tensor(2), width, 'gamma'),
    beta: beta && vector(ctx, beta, width, 'beta'),
  });
  const statistics = [...x.dims.slice(0, -1), 1];
  return [
    fromNumbers(x.dtype, x.dims, y),
    fromNumbers('float32', statistics, mean),
    fromNumbers('float32', statistics, inverse),
    fromNumbers(x.dtype, x.dims, sum),
  ];
}

function skipNormalization(name: string, simplified: boolean): OpDefinition {
  return defineOp({
    name,
    domain: 'com.microsoft',
    since: [1],
    inputs: simplified ? [3, 4] : [3, 5],
    outputs: [1, 4],
    attributes: { epsilon: 'float' },
    infer: inferSkip,
    keepsRows: (_, inputs) =>
      !inputs.shared[0] &&
      alignsRows(inputs, 1, inputs.ranks[0]) &&
      inputs.ranks[0] > 1 &&
      inputs.shared.slice(2).every(Boolean),
    reference: (ctx) => skipReference(ctx, simplified),
    lower: (ctx) => {
      const slots = { skip: 1, gamma: 2, beta: simplified ? -1 : 3, bias: simplified ? 3 : 4 };
      const statistics = { mean: 1, inverse: 2, sum: 3 };
      const axis = ctx.dims(0).length - 1;
      const form = { axis, epsilon: ctx.float('epsilon', 1e-12), rms: simplified };
      return lowerLayerNorm(ctx, { ...slots, ...statistics }, form);
    },
  });
}

function gatedReference(ctx: ReferenceContext): HostValue[] {
  const [x, scale, gate] = [ctx.tensor(0), ctx.tensor(1), toNumbers(ctx.tensor(2))];
  const activation = ctx.string('activation', 'silu');
  if (!['silu', 'swish', 'sigmoid'].includes(activation)) throw ctx.error(`activation is "${activation}"`);
  const width = scale.dims[0];
  const y = Float64Array.from(toNumbers(x));
  if (!(width > 0) || (x.dims.at(-1) as number) % width !== 0 || gate.length !== y.length) {
    throw ctx.error(`input ${shapeText(x.dims)}, scale ${shapeText(scale.dims)} and gate do not fit`);
  }
  normalizeRows(y, { width, epsilon: ctx.float('epsilon', 1e-5), simplified: true, gamma: toNumbers(scale) });
  const out = y.map((value, i) => value * sigmoid(gate[i]) * (activation === 'sigmoid' ? 1 : gate[i]));
  return [fromNumbers(x.dtype, x.dims, out)];
}

interface GroupLayout {
  readonly batch: number;
  readonly channels: number;
  readonly plane: number;
  readonly last: boolean;
}

function groupLayout(ctx: NodeReader, dims: readonly number[]): GroupLayout {
  const last = ctx.int('channels_last', 1) !== 0;
  if (dims.length < 3) throw ctx.error(`the input has shape ${shapeText(dims)}, expected rank 4`);
  const spatial = last ? dims.slice(1, -1) : dims.slice(2);
  const plane = spatial.reduce((product, dim) => product * dim, 1);
  return { batch: dims[0], channels: last ? (dims.at(-1) as number) : dims[1], plane, last };
}

/** Normalises groups of channels in place, scales and activates. */
function normalizeGroups(ctx: ReferenceContext, x: Float64Array, l: GroupLayout): void {
  const groups = ctx.int('groups');
  if (groups < 1 || l.channels % groups !== 0) throw ctx.error(`${l.channels} channels in ${groups} groups`);
  const gamma = vector(ctx, ctx.tensor(1), l.channels, 'gamma');
  const beta = vector(ctx, ctx.tensor(2), l.channels, 'beta');
  const silu = ctx.int('activation', 0) === 1;
  const per = l.channels / groups;
  const epsilon = ctx.float('epsilon', 1e-5);
  const at = (n: number, c: number, p: number): number =>
    l.last ? (n * l.plane + p) * l.channels + c : (n * l.channels + c) * l.plane + p;
  for (let group = 0; group < l.batch * groups; group++) {
    const n = Math.floor(group / groups);
    const first = (group % groups) * per;
    const count = per * l.plane;
    let sum = 0;
    for (let i = 0; i < count; i++) sum += x[at(n, first + (i % per), Math.floor(i / per))];
    const mean = sum / count;
    let squares = 0;
    for (let i = 0; i < count; i++) squares += (x[at(n, first + (i % per), Math.floor(i / per))] - mean) ** 2;
    const inverse = 1 / Math.sqrt(squares / count + epsilon);
    for (let i = 0; i < count; i++) {
      const c = first + (i % per);
      const where = at(n, c, Math.floor(i / per));
      const value = (x[where] - mean) * inverse * gamma[c] + beta[c];
      x[where] = silu ? value * sigmoid(value) : value;
    }
  }
}

function groupReference(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const y = Float64Array.from(toNumbers(x));
  normalizeGroups(ctx, y, groupLayout(ctx, x.dims));
  return [fromNumbers(x.dtype, x.dims, y)];
}

function skipGroupReference(ctx: ReferenceContext): HostValue[] {
  const [x, skip] = [ctx.tensor(0), ctx.tensor(3)];
  const l = groupLayout(ctx, x.dims);
  const sum = Float64Array.from(toNumbers(x));
  const residual = toNumbers(skip);
  const perChannel = residual.length === l.batch * l.channels && residual.length !== sum.length;
  if (!perChannel && residual.length !== sum.length) throw ctx.error(`skip has shape ${shapeText(skip.dims)}`);
  const biasTensor = ctx.optional(4);
  const bias = biasTensor && vector(ctx, biasTensor, l.channels, 'the bias');
  for (let i = 0; i < sum.length; i++) {
    const c = l.last ? i % l.channels : Math.floor(i / l.plane) % l.channels;
    const n = Math.floor(i / (l.plane * l.channels));
    sum[i] += residual[perChannel ? n * l.channels + c : i] + (bias ? bias[c] : 0);
  }
  const y = sum.slice();
  normalizeGroups(ctx, y, l);
  return [fromNumbers(x.dtype, x.dims, y), fromNumbers(x.dtype, x.dims, sum)];
}

const groupAttributes = { activation: 'int', channels_last: 'int', epsilon: 'float', groups: 'int' } as const;

export const msNormalizationOps: readonly OpDefinition[] = [
  skipNormalization('SkipLayerNormalization', false),
  skipNormalization('SkipSimplifiedLayerNormalization', true),
  defineOp({
    name: 'GatedRMSNorm',
    domain: 'com.microsoft',
    since: [1],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: { activation: 'string', epsilon: 'float' },
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: gatedReference,
  }),
  defineOp({
    name: 'GroupNorm',
    domain: 'com.microsoft',
    since: [1],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: groupAttributes,
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: groupReference,
  }),
  defineOp({
    name: 'SkipGroupNorm',
    domain: 'com.microsoft',
    since: [1],
    inputs: [4, 5],
    outputs: [1, 2],
    attributes: groupAttributes,
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0)), tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: skipGroupReference,
  }),
];

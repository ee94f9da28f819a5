/** Normalizations over channels and planes: batch, instance, group, Lp, mean-variance, local response. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { isConcrete, type Shape, shapeText, sizeBetween, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor } from '../ir/tensor.ts';
import { normalizeAxes } from './axes.ts';
import { expectKind, expectKinds, expectSame, floatKinds, numberSink, numbersOf } from './elements.ts';
import { firstAlone, keepsBeside, keepsFirst, spareRows } from './keeps-rows.ts';
import { lowerBatchNorm, lowerGroupNorm } from './lower-norm.ts';
import {
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';

/** Checks that input `i` (where its shape is known) is a vector of `size` elements. */
function checkVector(ctx: NodeReader, what: string, shape: Shape | undefined, size: number | string | null): void {
  if (!shape) return;
  const differs = typeof shape[0] === 'number' && typeof size === 'number' && shape[0] !== size;
  if (shape.length !== 1 || differs) throw ctx.error(`${what} is ${shapeText(shape)}, expected [${size ?? '?'}]`);
}

/** Mean and (biased) variance of `count` runs of `length` elements that begin `pitch` apart. */
function moments(x: ArrayLike<number>, start: number, count: number, pitch: number, length: number): [number, number] {
  let sum = 0;
  for (let r = 0; r < count; r++) {
    const from = start + r * pitch;
    for (let i = from; i < from + length; i++) sum += x[i];
  }
  const mean = sum / (count * length);
  let squares = 0;
  for (let r = 0; r < count; r++) {
    const from = start + r * pitch;
    for (let i = from; i < from + length; i++) squares += (x[i] - mean) * (x[i] - mean);
  }
  return [mean, squares / (count * length)];
}

/** True where the statistics are those of the batch. */
function isTraining(ctx: NodeReader): boolean {
  if (ctx.version >= 14) return ctx.int('training_mode', 0) !== 0;
  const extra = [1, 2, 3, 4].some((i) => ctx.wants(i));
  return extra && (ctx.version >= 7 || ctx.int('is_test', 0) === 0);
}

/** Number of separately normalized elements of one image: channels, or everything without `spatial`. */
function statistics(ctx: NodeReader, x: Shape): number | string | null {
  if (ctx.int('spatial', 1) !== 0 || ctx.version >= 9) return x.length > 1 ? x[1] : 1;
  const rest = x.slice(1);
  return rest.every((dim) => typeof dim === 'number') ? sizeOf(rest as number[]) : null;
}

function batchInfer(ctx: InferContext): ValueType[] {
  const x = ctx.shape(0);
  if (x) {
    if (x.length === 0) throw ctx.error('input 0 is a scalar, expected batch and channels');
    const size = statistics(ctx, x);
    ['scale', 'bias', 'mean', 'variance'].forEach((what, i) => {
      const shape = ctx.shape(i + 1);
      // Without `spatial` the parameters have the shape of one image.
      if (shape?.length === 1) checkVector(ctx, what, shape, size);
      else if (isConcrete(shape) && typeof size === 'number' && sizeOf(shape) !== size) {
        throw ctx.error(`the ${what} is ${shapeText(shape)}, expected ${size} elements`);
      }
    });
  }
  const dtype = expectKind(ctx, 0, floatKinds);
  expectKinds(ctx, [1, 2, 3, 4], floatKinds);
  const running = tensorType(ctx.version < 14 ? dtype : ctx.dtype(3), ctx.shape(3));
  return [tensorType(dtype, x), running, running, running, running];
}

function batchNormalization(ctx: ReferenceContext): HostTensor[] {
  const xt = ctx.tensor(0);
  const { dims } = xt;
  const channels = statistics(ctx, dims) as number;
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((i) => {
    const t = ctx.tensor(i);
    if (sizeOf(t.dims) !== channels) {
      throw ctx.error(`input ${i} is ${shapeText(t.dims)}, expected ${channels} elements for ${shapeText(dims)}`);
    }
    return numbersOf(t);
  });
  const batch = dims[0];
  const plane = channels === 0 ? 0 : sizeBetween(dims, 1, dims.length) / channels;
  const epsilon = ctx.float('epsilon', 1e-5);
  const momentum = ctx.float('momentum', 0.9);
  const training = isTraining(ctx);
  const x = numbersOf(xt);
  const sink = numberSink(xt.dtype, dims);
  const running = [0, 1, 2, 3].map(() => new Float64Array(channels));
  for (let c = 0; c < channels; c++) {
    const [m, v] = training ? moments(x, c * plane, batch, channels * plane, plane) : [mean[c], variance[c]];
    running[0][c] = mean[c] * momentum + m * (1 - momentum);
    running[1][c] = variance[c] * momentum + v * (1 - momentum);
    running[2][c] = m;
    running[3][c] = v;
    const factor = scale[c] / Math.sqrt(v + epsilon);
    for (let n = 0; n < batch; n++) {
      const from = (n * channels + c) * plane;
      for (let i = from; i < from + plane; i++) sink.values[i] = (x[i] - m) * factor + bias[c];
    }
  }
  const { dtype: given, dims: shape } = ctx.tensor(3);
  const dtype = ctx.version < 14 ? xt.dtype : given;
  return [sink.finish(), ...running.map((list) => fromNumbers(dtype, shape, list))];
}

function instanceInfer(ctx: InferContext): ValueType[] {
  const x = ctx.shape(0);
  if (x) {
    if (x.length < 2) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
    checkVector(ctx, 'scale', ctx.shape(1), x[1]);
    checkVector(ctx, 'bias', ctx.shape(2), x[1]);
  }
  return [tensorType(expectSame(ctx, 3, floatKinds), x)];
}

/** Normalizes runs of `channelsPerGroup` planes; `at(c)` is where channel c's scale and bias are. */
function normalizeGroups(ctx: ReferenceContext, groups: number, at: (channel: number) => number): HostTensor[] {
  const xt = ctx.tensor(0);
  const [batch, channels] = xt.dims;
  const plane = sizeBetween(xt.dims, 2, xt.dims.length);
  const perGroup = channels / groups;
  const epsilon = ctx.float('epsilon', 1e-5);
  const [x, scale, bias] = [numbersOf(xt), numbersOf(ctx.tensor(1)), numbersOf(ctx.tensor(2))];
  const sink = numberSink(xt.dtype, xt.dims);
  for (let g = 0; g < batch * groups; g++) {
    const start = g * perGroup * plane;
    const [mean, variance] = moments(x, start, 1, 0, perGroup * plane);
    const inverse = 1 / Math.sqrt(variance + epsilon);
    for (let c = 0; c < perGroup; c++) {
      const parameter = at((g % groups) * perGroup + c);
      const from = start + c * plane;
      for (let i = from; i < from + plane; i++) {
        sink.values[i] = (x[i] - mean) * inverse * scale[parameter] + bias[parameter];
      }
    }
  }
  return [sink.finish()];
}

/** Number of groups, checked against the channels where those are known. */
function groupCount(ctx: NodeReader, x: Shape): number {
  const groups = ctx.int('num_groups');
  if (x.length < 2) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
  if (groups < 1 || (typeof x[1] === 'number' && (x[1] % groups !== 0 || groups > Math.max(x[1], 1)))) {
    throw ctx.error(`"num_groups" is ${groups}, expected a divisor of the ${x[1] ?? '?'} channels`);
  }
  return groups;
}

function checkGroup(ctx: NodeReader, x: Shape, scale: Shape | undefined, bias: Shape | undefined): number {
  const groups = groupCount(ctx, x);
  const size = ctx.version < 21 ? groups : x[1];
  checkVector(ctx, 'scale', scale, size);
  checkVector(ctx, 'bias', bias, size);
  return groups;
}

function groupNormalization(ctx: ReferenceContext): HostTensor[] {
  const { dims } = ctx.tensor(0);
  const groups = checkGroup(ctx, dims, ctx.tensor(1).dims, ctx.tensor(2).dims);
  const perGroup = dims[1] / groups;
  return normalizeGroups(ctx, groups, ctx.version < 21 ? (c) => Math.floor(c / perGroup) : (c) => c);
}

function lpNormalization(ctx: ReferenceContext): HostTensor[] {
  const xt = ctx.tensor(0);
  const { dims } = xt;
  const axis = normalizeAxis(ctx, ctx.int('axis', -1), dims.length);
  const p = ctx.int('p', 2);
  const length = dims[axis];
  const inner = sizeBetween(dims, axis + 1, dims.length);
  const x = numbersOf(xt);
  const sink = numberSink(xt.dtype, dims);
  for (let o = 0; o < sizeBetween(dims, 0, axis); o++) {
    for (let j = 0; j < inner; j++) {
      const from = o * length * inner + j;
      let sum = 0;
      for (let i = 0; i < length; i++) {
        const v = Math.abs(x[from + i * inner]);
        sum += p === 1 ? v : p === 2 ? v * v : v ** p;
      }
      const norm = p === 1 ? sum : p === 2 ? Math.sqrt(sum) : sum ** (1 / p);
      // A vector of zeros stays one.
      for (let i = 0; i < length; i++) sink.values[from + i * inner] = norm === 0 ? 0 : x[from + i * inner] / norm;
    }
  }
  return [sink.finish()];
}

function meanVariance(ctx: ReferenceContext): HostTensor[] {
  const xt = ctx.tensor(0);
  const { dims } = xt;
  const axes = normalizeAxes(ctx, ctx.ints('axes', [0, 2, 3]), dims.length);
  const x = numbersOf(xt);
  // Group of every element: its position with the reduced axes left out.
  const group = new Int32Array(x.length);
  let groups = 1;
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    if (!axes.includes(axis)) {
      for (let i = 0; i < x.length; i++) group[i] += (Math.floor(i / stride) % dims[axis]) * groups;
      groups *= dims[axis];
    }
    stride *= dims[axis];
  }
  const count = x.length / groups;
  const mean = new Float64Array(groups);
  for (let i = 0; i < x.length; i++) mean[group[i]] += x[i] / count;
  const variance = new Float64Array(groups);
  for (let i = 0; i < x.length; i++) variance[group[i]] += (x[i] - mean[group[i]]) ** 2 / count;
  const sink = numberSink(xt.dtype, dims);
  for (let i = 0; i < x.length; i++) {
    sink.values[i] = (x[i] - mean[group[i]]) / (Math.sqrt(variance[group[i]]) + 1e-9);
  }
  return [sink.finish()];
}

function localResponse(ctx: ReferenceContext): HostTensor[] {
  const xt = ctx.tensor(0);
  const [batch, channels] = xt.dims;
  const plane = sizeBetween(xt.dims, 2, xt.dims.length);
  const size = ctx.int('size');
  const [alpha, beta, bias] = [ctx.float('alpha', 1e-4), ctx.float('beta', 0.75), ctx.float('bias', 1)];
  const before = Math.floor((size - 1) / 2);
  const after = Math.ceil((size - 1) / 2);
  const x = numbersOf(xt);
  const sink = numberSink(xt.dtype, xt.dims);
  for (let n = 0; n < batch; n++) {
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < plane; i++) {
        let sum = 0;
        for (let k = Math.max(0, c - before); k <= Math.min(channels - 1, c + after); k++) {
          sum += x[(n * channels + k) * plane + i] ** 2;
        }
        const at = (n * channels + c) * plane + i;
        sink.values[at] = x[at] / (bias + (alpha / size) * sum) ** beta;
      }
    }
  }
  return [sink.finish()];
}

/** Inference of an operator whose output is like its float input. */
function like(check: (ctx: NodeReader, x: Shape) => void): (ctx: InferContext) => ValueType[] {
  return (ctx) => {
    const x = ctx.shape(0);
    if (x) check(ctx, x);
    return [tensorType(expectKind(ctx, 0, floatKinds), x)];
  };
}

function checkResponse(ctx: NodeReader, x: Shape): void {
  if (x.length < 2) throw ctx.error(`input 0 is ${shapeText(x)}, expected batch, channels and spatial axes`);
  if (ctx.int('size') < 1) throw ctx.error(`"size" is ${ctx.int('size')}, expected at least 1`);
}

export const normOps: readonly OpDefinition[] = [
  defineOp({
    name: 'BatchNormalization',
    since: [1, 6, 7, 9, 14, 15],
    inputs: [5, 5],
    outputs: [1, 5],
    attributes: {
      consumed_inputs: 'ints',
      epsilon: 'float',
      is_test: 'int',
      momentum: 'float',
      spatial: 'int',
      training_mode: 'int',
    },
    infer: batchInfer,
    keepsRows: (node, { shared }) => !isTraining(node) && shared.slice(1).every(Boolean),
    reference: batchNormalization,
    lower: (ctx) => {
      if (isTraining(ctx) || [1, 2, 3, 4].some((i) => ctx.wants(i))) return 'training';
      return lowerBatchNorm(ctx, statistics(ctx, ctx.dims(0)) as number, ctx.float('epsilon', 1e-5));
    },
  }),
  defineOp({
    name: 'InstanceNormalization',
    since: [1, 6, 22],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: { consumed_inputs: 'ints', epsilon: 'float' },
    infer: instanceInfer,
    keepsRows: keepsFirst,
    reference: (ctx) => normalizeGroups(ctx, ctx.tensor(0).dims[1], (c) => c),
    lower: (ctx) =>
      lowerGroupNorm(ctx, { groups: ctx.dims(0)[1], perChannel: true, epsilon: ctx.float('epsilon', 1e-5) }),
  }),
  defineOp({
    name: 'GroupNormalization',
    since: [18, 21],
    inputs: [3, 3],
    outputs: [1, 1],
    attributes: { epsilon: 'float', num_groups: 'int', stash_type: 'int' },
    infer: (ctx) => {
      expectSame(ctx, 3, floatKinds);
      return like((reader, x) => checkGroup(reader, x, ctx.shape(1), ctx.shape(2)))(ctx);
    },
    keepsRows: keepsFirst,
    reference: groupNormalization,
    lower: (ctx) => {
      const groups = checkGroup(ctx, ctx.dims(0), ctx.dims(1), ctx.dims(2));
      return lowerGroupNorm(ctx, { groups, perChannel: ctx.version >= 21, epsilon: ctx.float('epsilon', 1e-5) });
    },
  }),
  defineOp({
    name: 'LpNormalization',
    since: [1, 22],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { axis: 'int', p: 'int' },
    infer: like((ctx, x) => normalizeAxis(ctx, ctx.int('axis', -1), x.length)),
    keepsRows: keepsBeside((node) => node.int('axis', -1)),
    reference: lpNormalization,
  }),
  defineOp({
    name: 'MeanVarianceNormalization',
    since: [9, 13],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { axes: 'ints' },
    infer: like((ctx, x) => normalizeAxes(ctx, ctx.ints('axes', [0, 2, 3]), x.length)),
    keepsRows: (node, inputs) => firstAlone(inputs) && spareRows(node.ints('axes', [0, 2, 3]), inputs.ranks[0]),
    reference: meanVariance,
  }),
  defineOp({
    name: 'LRN',
    since: [1, 13],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { alpha: 'float', beta: 'float', bias: 'float', size: 'int' },
    infer: like(checkResponse),
    keepsRows: keepsFirst,
    reference: localResponse,
  }),
];

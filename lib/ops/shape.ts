/** Operators that read or change the shape and leave the elements as they are. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { broadcastStrides, type Dim, isConcrete, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { int64Vector, reshaped, tensor } from '../ir/tensor.ts';
import { inferIntegers, normalizeAxes, readIntegers, unknownDims, vectorLength } from './axes.ts';
import { broadcastDims } from './broadcast.ts';
import { lowerMove } from './lower-movement.ts';
import { strided } from './movement.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** The size that -1 stands for: what the input has over what the other dimensions take. Null where unknown. */
function inferredDim(input: Shape, others: readonly Dim[]): Dim {
  const symbols: (string | null)[] = input.filter((dim) => typeof dim !== 'number');
  let ratio = 1;
  for (const dim of input) if (typeof dim === 'number') ratio *= dim;
  for (const dim of others) {
    if (typeof dim === 'number') {
      ratio /= dim;
      continue;
    }
    const at = dim === null ? -1 : symbols.indexOf(dim);
    if (at < 0) return null;
    symbols.splice(at, 1);
  }
  if (symbols.length === 0) return ratio;
  return symbols.length === 1 && ratio === 1 ? symbols[0] : null;
}

/** The output shape of Reshape: 0 copies a dimension (without `allowzero`), one -1 takes what is left. */
function reshapeDims(ctx: NodeReader, input: Shape, target: readonly number[]): Dim[] {
  const allowZero = ctx.version >= 14 && ctx.int('allowzero', 0) !== 0;
  if (target.some((dim) => dim < -1) || target.filter((dim) => dim === -1).length > 1) {
    throw ctx.error(`the new shape [${target.join(',')}] has more than one -1, or a negative size`);
  }
  const copies = (i: number): boolean => target[i] === 0 && !allowZero;
  const dims = target.map((dim, i): Dim => {
    if (!copies(i)) return dim;
    if (i >= input.length) throw ctx.error(`the new shape copies dimension ${i} of an input of rank ${input.length}`);
    return input[i];
  });
  const at = dims.indexOf(-1);
  if (at >= 0) {
    // Copied dimensions cancel out, whatever they are.
    const others = dims.filter((_, i) => i !== at && !copies(i));
    if (others.includes(0)) {
      throw ctx.error(`the new shape [${target.join(',')}] has a -1 that a size of 0 leaves undetermined`);
    }
    dims[at] = inferredDim(
      input.filter((_, i) => !copies(i)),
      others,
    );
  }
  const whole = at < 0 || dims[at] === null || typeof dims[at] === 'string' || Number.isInteger(dims[at]);
  if (!whole || (isConcrete(input) && isConcrete(dims) && sizeOf(dims) !== sizeOf(input))) {
    throw ctx.error(`cannot reshape ${shapeText(input)} to [${target.join(',')}]`);
  }
  return dims;
}

/** The same where entries of the target may be symbols, which are never 0 or -1 by intent, or unknown. */
function partlyReshaped(ctx: NodeReader, input: Shape, target: readonly Dim[]): Dim[] {
  const dims = target.map((dim, i): Dim => (dim === 0 && ctx.int('allowzero', 0) === 0 ? (input[i] ?? null) : dim));
  const at = dims.indexOf(-1);
  if (dims.includes(null) || dims.lastIndexOf(-1) !== at) return dims.map((dim) => (dim === -1 ? null : dim));
  if (at < 0) return dims;
  const rest = inferredDim(
    input,
    dims.filter((_, i) => i !== at),
  );
  dims[at] = typeof rest === 'number' && !Number.isInteger(rest) ? null : rest;
  return dims;
}

function inferReshape(ctx: InferContext): Shape | undefined {
  const target = inferIntegers(ctx, 'shape', 1, 5);
  if (target === undefined) throw ctx.error('the new shape is missing');
  const input = ctx.shape(0);
  if (target === null) {
    const entries = ctx.entries(1);
    if (input && entries) return partlyReshaped(ctx, input, entries);
    const rank = vectorLength(ctx.shape(1));
    return rank === undefined ? undefined : unknownDims(rank);
  }
  if (input) return reshapeDims(ctx, input, target);
  return target.map((dim) => (dim > 0 ? dim : null));
}

/** Sizes on both sides of Flatten's axis. */
function flattenDims(ctx: NodeReader, input: Shape): Dim[] {
  const given = ctx.int('axis', 1);
  const axis = given < 0 ? given + input.length : given;
  if (axis < 0 || axis > input.length) throw ctx.error(`axis ${given} is outside ${shapeText(input)}`);
  return [inferredDim(input.slice(0, axis), []), inferredDim(input.slice(axis), [])];
}

/** Squeeze with given axes, or of all dimensions of size 1. Undefined where that cannot be known. */
function squeezeDims(ctx: NodeReader, input: Shape, axes: readonly number[] | undefined): Dim[] | undefined {
  if (axes === undefined) return isConcrete(input) ? input.filter((dim) => dim !== 1) : undefined;
  const dropped = new Set(normalizeAxes(ctx, axes, input.length));
  for (const axis of dropped) {
    const dim = input[axis];
    if (typeof dim === 'number' && dim !== 1) throw ctx.error(`cannot squeeze axis ${axis} of ${shapeText(input)}`);
  }
  return input.filter((_, i) => !dropped.has(i));
}

function inferSqueeze(ctx: InferContext): Shape | undefined {
  const axes = inferIntegers(ctx, 'axes', 1, 13);
  const input = ctx.shape(0);
  if (!input) return undefined;
  if (axes !== null) return squeezeDims(ctx, input, axes);
  const count = vectorLength(ctx.shape(1));
  return count === undefined ? undefined : unknownDims(Math.max(input.length - count, 0));
}

function unsqueezeDims(ctx: NodeReader, input: Shape, axes: readonly number[]): Dim[] {
  const rank = input.length + axes.length;
  const added = new Set(normalizeAxes(ctx, axes, rank));
  let at = 0;
  return Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : input[at++]));
}

function inferUnsqueeze(ctx: InferContext): Shape | undefined {
  const axes = inferIntegers(ctx, 'axes', 1, 13);
  if (axes === undefined) throw ctx.error('axes are missing');
  const input = ctx.shape(0);
  if (!input) return undefined;
  if (axes !== null) return unsqueezeDims(ctx, input, axes);
  const count = vectorLength(ctx.shape(1));
  return count === undefined ? undefined : unknownDims(input.length + count);
}

function view(
  name: string,
  since: readonly number[],
  form: Pick<OpDefinition, 'inputs' | 'attributes' | 'sizeInputs'>,
  infer: (ctx: InferContext) => Shape | undefined,
  dims: (ctx: ReferenceContext, x: HostTensor) => readonly Dim[] | undefined,
): OpDefinition {
  return defineOp({
    name,
    since,
    ...form,
    outputs: [1, 1],
    traits: ['view'],
    infer: (ctx) => [tensorType(ctx.dtype(0), infer(ctx))],
    reference: (ctx) => {
      const x = ctx.tensor(0);
      return [reshaped(x, dims(ctx, x) as number[])];
    },
  });
}

function required(ctx: NodeReader, values: readonly number[] | undefined, what: string): readonly number[] {
  if (!values) throw ctx.error(`${what} missing`);
  return values;
}

/** First and last dimension (exclusive) that Shape reports. */
function shapeRange(ctx: NodeReader, rank: number): [number, number] {
  const clamp = (v: number): number => Math.min(Math.max(v < 0 ? v + rank : v, 0), rank);
  if (ctx.version < 15) return [0, rank];
  const start = clamp(ctx.int('start', 0));
  return [start, Math.max(clamp(ctx.int('end', rank)), start)];
}

function checkSizes(ctx: NodeReader, target: readonly number[]): void {
  if (target.some((dim) => dim < 0)) throw ctx.error(`the shape [${target.join(',')}] has a negative size`);
}

function inferExpand(ctx: InferContext): Shape | undefined {
  const [input, target] = [ctx.shape(0), ctx.integers(1)];
  if (target) checkSizes(ctx, target);
  if (input && target) return broadcastDims(ctx, [input, target] as readonly Shape[]);
  const entries = ctx.entries(1);
  if (input && entries) return broadcastDims(ctx, [input, entries] as readonly Shape[]);
  const rank = vectorLength(ctx.shape(1));
  return input && rank !== undefined ? unknownDims(Math.max(input.length, rank)) : undefined;
}

function expand(ctx: ReferenceContext): HostTensor {
  const x = ctx.tensor(0);
  const target = ctx.integers(1);
  checkSizes(ctx, target);
  const dims = broadcastDims(ctx, [x.dims, target]);
  return strided(x, dims, broadcastStrides(x.dims, dims));
}

const viewVersions = [21, 23, 24, 25];

export const shapeOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Shape',
    since: [1, 13, 15, 19, ...viewVersions],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { start: 'int', end: 'int' },
    traits: ['metadata'],
    infer: (ctx) => {
      const shape = ctx.shape(0);
      if (!shape) return [tensorType('int64', [null])];
      const [start, end] = shapeRange(ctx, shape.length);
      return [tensorType('int64', [end - start])];
    },
    reference: (ctx) => {
      const { dims } = ctx.tensor(0);
      return [int64Vector(dims.slice(...shapeRange(ctx, dims.length)))];
    },
  }),
  defineOp({
    name: 'Size',
    since: [1, 13, 19, ...viewVersions],
    inputs: [1, 1],
    outputs: [1, 1],
    traits: ['metadata'],
    infer: () => [tensorType('int64', [])],
    reference: (ctx) => [tensor('int64', [], BigInt64Array.of(BigInt(sizeOf(ctx.tensor(0).dims))))],
  }),
  defineOp({
    name: 'Identity',
    since: [1, 13, 14, 16, 19, ...viewVersions],
    inputs: [1, 1],
    outputs: [1, 1],
    traits: ['view'],
    infer: (ctx): (ValueType | undefined)[] => [ctx.type(0)],
    reference: (ctx) => [ctx.value(0)],
  }),
  view(
    'Reshape',
    [1, 5, 13, 14, 19, ...viewVersions],
    { inputs: [1, 2], attributes: { shape: 'ints', allowzero: 'int' }, sizeInputs: [1] },
    inferReshape,
    (ctx, x) => reshapeDims(ctx, x.dims, required(ctx, readIntegers(ctx, 'shape', 1, 5), 'the new shape is')),
  ),
  view(
    'Flatten',
    [1, 9, 11, 13, ...viewVersions],
    { inputs: [1, 1], attributes: { axis: 'int' } },
    (ctx) => {
      const shape = ctx.shape(0);
      return shape ? flattenDims(ctx, shape) : [null, null];
    },
    (ctx, x) => flattenDims(ctx, x.dims),
  ),
  view(
    'Squeeze',
    [1, 11, 13, ...viewVersions],
    { inputs: [1, 2], attributes: { axes: 'ints' } },
    inferSqueeze,
    (ctx, x) => squeezeDims(ctx, x.dims, readIntegers(ctx, 'axes', 1, 13)),
  ),
  view(
    'Unsqueeze',
    [1, 11, 13, ...viewVersions],
    { inputs: [1, 2], attributes: { axes: 'ints' } },
    inferUnsqueeze,
    (ctx, x) => unsqueezeDims(ctx, x.dims, required(ctx, readIntegers(ctx, 'axes', 1, 13), 'axes are')),
  ),
  defineOp({
    name: 'Expand',
    since: [8, 13],
    inputs: [2, 2],
    outputs: [1, 1],
    traits: ['movement'],
    sizeInputs: [1],
    keepsRows: (_, { ranks, shared, dims }) => {
      const rank = Math.max(ranks[0], dims[1][0]);
      return ranks[0] < rank ? shared[0] : !shared[0] || dims[0][0] === 1;
    },
    infer: (ctx) => [tensorType(ctx.dtype(0), inferExpand(ctx))],
    reference: (ctx) => [expand(ctx)],
    lower: (ctx) => lowerMove(ctx, ctx.outputDims(0), broadcastStrides(ctx.dims(0), ctx.outputDims(0))),
  }),
];

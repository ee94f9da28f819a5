/** Operators that draw random numbers, and Dropout. */

import { type DType, dtypeFromOnnx, dtypeInfo, isFloat } from '../ir/dtype.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, tensor, toNumbers } from '../ir/tensor.ts';
import { expectKind, expectKinds, floatKinds, numberSink, numbersOf } from './elements.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { RandomGenerator } from './random-generator.ts';

/** The type that the attribute `dtype` names. */
function dtypeOf(ctx: NodeReader, fallback: DType): DType {
  if (!ctx.hasAttribute('dtype')) return fallback;
  const dtype = dtypeFromOnnx(ctx.int('dtype'));
  if (dtype === undefined || dtype === 'string' || dtypeInfo(dtype).kind === 'complex')
    throw ctx.error(`"dtype" is ${ctx.int('dtype')}, expected a number type`);
  return dtype;
}

/** The same for operators that draw real numbers. */
function floatOf(ctx: NodeReader, fallback: DType): DType {
  const dtype = dtypeOf(ctx, fallback);
  if (!isFloat(dtype)) throw ctx.error(`the output would be of type ${dtype}, expected a float type`);
  return dtype;
}

function generator(ctx: NodeReader): RandomGenerator {
  return new RandomGenerator(ctx.hasAttribute('seed') ? ctx.float('seed') : undefined);
}

type Draw = (ctx: NodeReader) => () => number;

const normal: Draw = (ctx) => {
  const random = generator(ctx);
  const [mean, scale] = [ctx.float('mean', 0), ctx.float('scale', 1)];
  return () => mean + scale * random.normal();
};

const uniform: Draw = (ctx) => {
  const random = generator(ctx);
  const [low, high] = [ctx.float('low', 0), ctx.float('high', 1)];
  return () => low + (high - low) * random.uniform();
};

function fill(ctx: NodeReader, dtype: DType, dims: readonly number[], draw: Draw): HostTensor[] {
  const sink = numberSink(dtype, dims);
  const next = draw(ctx);
  const count = sizeOf(dims);
  for (let i = 0; i < count; i++) sink.values[i] = next();
  return [sink.finish()];
}

function shapeOf(ctx: NodeReader): readonly number[] {
  const shape = ctx.ints('shape');
  if (shape.some((dim) => dim < 0)) throw ctx.error(`"shape" is [${shape.join(',')}], expected no negative sizes`);
  return shape;
}

/** The operator that takes its shape from an attribute, and the one that takes it from a tensor. */
function drawn(name: string, attributes: OpDefinition['attributes'], draw: Draw): OpDefinition[] {
  const common = { since: [1, 22], outputs: [1, 1], traits: ['random'] } as const;
  return [
    defineOp({
      ...common,
      name,
      inputs: [0, 0],
      attributes: { ...attributes, dtype: 'int', seed: 'float', shape: 'ints' },
      infer: (ctx) => [tensorType(floatOf(ctx, 'float32'), shapeOf(ctx))],
      reference: (ctx) => fill(ctx, floatOf(ctx, 'float32'), shapeOf(ctx), draw),
    }),
    defineOp({
      ...common,
      name: `${name}Like`,
      inputs: [1, 1],
      attributes: { ...attributes, dtype: 'int', seed: 'float' },
      infer: (ctx) => [tensorType(floatOf(ctx, ctx.dtype(0)), ctx.shape(0))],
      reference: (ctx) => fill(ctx, floatOf(ctx, ctx.tensor(0).dtype), ctx.tensor(0).dims, draw),
    }),
  ];
}

function bernoulli(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const random = generator(ctx);
  return [
    fromNumbers(
      dtypeOf(ctx, x.dtype),
      x.dims,
      toNumbers(x).map((p) => (random.uniform() < p ? 1 : 0)),
    ),
  ];
}

function sampleShape(ctx: NodeReader, x: Shape | undefined): Shape {
  const count = ctx.int('sample_size', 1);
  if (count < 0) throw ctx.error(`"sample_size" is ${count}, expected no negative number`);
  if (x && x.length !== 2) throw ctx.error(`input 0 is ${shapeText(x)}, expected [batch, classes]`);
  return [x ? x[0] : null, count];
}

/** Draws classes from unnormalized log-probabilities. */
function multinomial(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const dims = sampleShape(ctx, x.dims) as number[];
  const classes = x.dims[1];
  if (classes === 0) throw ctx.error('there are no classes to draw from');
  const random = generator(ctx);
  const sink = numberSink(dtypeOf(ctx, 'int32'), dims);
  const logits = toNumbers(x);
  for (let n = 0; n < dims[0]; n++) {
    const row = logits.subarray(n * classes, (n + 1) * classes);
    const most = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    let sum = 0;
    const cumulated = row.map((v) => {
      sum += Math.exp(v - most);
      return sum;
    });
    for (let i = 0; i < dims[1]; i++) {
      const r = random.uniform() * sum;
      const found = cumulated.findIndex((v) => r < v);
      sink.values[n * dims[1] + i] = found < 0 ? classes - 1 : found;
    }
  }
  return [sink.finish()];
}

/** Share of elements to drop, 0 where the node only passes its input on. */
function dropRatio(ctx: ReferenceContext): number {
  if (ctx.version < 7) return ctx.int('is_test', 0) === 0 ? ctx.float('ratio', 0.5) : 0;
  if (ctx.version < 12) return 0;
  const training = ctx.optional(2);
  if (!training || numbersOf(training)[0] === 0) return 0;
  const given = ctx.optional(1);
  const ratio = given ? numbersOf(given)[0] : 0.5;
  if (!(ratio >= 0 && ratio < 1)) throw ctx.error(`the ratio is ${ratio}, expected one of [0, 1)`);
  return ratio;
}

function maskType(ctx: NodeReader, dtype: DType): DType {
  return ctx.version < 10 ? dtype : 'bool';
}

function dropout(ctx: ReferenceContext): HostTensor[] {
  const x = ctx.tensor(0);
  const ratio = dropRatio(ctx);
  const count = sizeOf(x.dims);
  if (ratio === 0) {
    return [
      tensor(x.dtype, x.dims, x.data.slice()),
      fromNumbers(maskType(ctx, x.dtype), x.dims, new Float64Array(count).fill(1)),
    ];
  }
  const random = new RandomGenerator(ctx.hasAttribute('seed') ? ctx.int('seed') : undefined);
  const mask = new Float64Array(count);
  const y = numberSink(x.dtype, x.dims);
  const values = numbersOf(x);
  for (let i = 0; i < count; i++) {
    mask[i] = random.uniform() >= ratio ? 1 : 0;
    y.values[i] = mask[i] === 0 ? 0 : values[i] / (1 - ratio);
  }
  return [y.finish(), fromNumbers(maskType(ctx, x.dtype), x.dims, mask)];
}

function dropoutInfer(ctx: InferContext): ValueType[] {
  const dtype = expectKind(ctx, 0, floatKinds);
  expectKinds(ctx, [1], floatKinds);
  expectKinds(ctx, [2], ['bool']);
  return [tensorType(dtype, ctx.shape(0)), tensorType(maskType(ctx, dtype), ctx.shape(0))];
}

export const randomOps: readonly OpDefinition[] = [
  ...drawn('RandomNormal', { mean: 'float', scale: 'float' }, normal),
  ...drawn('RandomUniform', { high: 'float', low: 'float' }, uniform),
  defineOp({
    name: 'Bernoulli',
    since: [15, 22],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { dtype: 'int', seed: 'float' },
    traits: ['random'],
    infer: (ctx) => [tensorType(dtypeOf(ctx, expectKind(ctx, 0, floatKinds)), ctx.shape(0))],
    reference: bernoulli,
  }),
  defineOp({
    name: 'Multinomial',
    since: [7, 22],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { dtype: 'int', sample_size: 'int', seed: 'float' },
    traits: ['random'],
    infer: (ctx) => {
      expectKind(ctx, 0, floatKinds);
      return [tensorType(dtypeOf(ctx, 'int32'), sampleShape(ctx, ctx.shape(0)))];
    },
    reference: multinomial,
  }),
  defineOp({
    name: 'Dropout',
    since: [1, 6, 7, 10, 12, 13, 22],
    inputs: [1, 3],
    outputs: [1, 2],
    attributes: { consumed_inputs: 'ints', is_test: 'int', ratio: 'float', seed: 'int' },
    traits: ['random'],
    infer: dropoutInfer,
    reference: dropout,
  }),
];

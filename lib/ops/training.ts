/** Optimizer steps of ai.onnx.preview.training: Adagrad, Adam, Momentum. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { sameShape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { expectKinds, floatKinds, integerKinds, numbersOf } from './elements.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

/** Updates one element: `values` holds the tensor's, the gradient's and the states' element; gives the new ones. */
type Update = (values: readonly number[]) => number[];

/** An optimizer with `states` states a tensor; `start` reads the rate, the step count and the attributes. */
interface Optimizer {
  readonly name: string;
  readonly states: number;
  readonly attributes: OpDefinition['attributes'];
  readonly start: (ctx: NodeReader, rate: number, step: number) => Update;
}

/** Number of optimized tensors. */
function tensorCount(ctx: NodeReader, states: number): number {
  const count = (ctx.inputCount - 2) / (states + 2);
  if (!Number.isInteger(count) || count < 1) {
    throw ctx.error(`there are ${ctx.inputCount - 2} tensors, expected groups of ${states + 2}`);
  }
  if (ctx.outputCount > count * (states + 1)) {
    throw ctx.error(`there are ${ctx.outputCount} outputs, expected ${count * (states + 1)}`);
  }
  return count;
}

function optimizerInfer(ctx: InferContext, states: number): ValueType[] {
  const count = tensorCount(ctx, states);
  expectKinds(ctx, [0, ...Array.from({ length: ctx.inputCount - 2 }, (_, i) => i + 2)], floatKinds);
  expectKinds(ctx, [1], integerKinds);
  // Outputs are the tensors and their states; the gradients between them are not returned.
  return Array.from({ length: count * (states + 1) }, (_, i) => {
    const input = 2 + (i < count ? i : i + count);
    return tensorType(ctx.dtype(input), ctx.shape(input));
  });
}

function scalar(ctx: ReferenceContext, i: number): number {
  const values = numbersOf(ctx.tensor(i));
  if (values.length !== 1) throw ctx.error(`input ${i} has ${values.length} elements, expected one`);
  return values[0];
}

function optimize(ctx: ReferenceContext, { states, start }: Optimizer): HostTensor[] {
  const count = tensorCount(ctx, states);
  const update = start(ctx, scalar(ctx, 0), scalar(ctx, 1));
  const outputs: HostTensor[] = [];
  for (let t = 0; t < count; t++) {
    const group = Array.from({ length: states + 2 }, (_, i) => ctx.tensor(2 + i * count + t));
    const [x] = group;
    const odd = group.find((member) => !sameShape(member.dims, x.dims));
    if (odd) throw ctx.error(`tensor ${t} is ${shapeText(x.dims)}, its gradient or state ${shapeText(odd.dims)}`);
    const values = group.map(toNumbers);
    const results = group.slice(1).map(() => new Float64Array(values[0].length));
    for (let i = 0; i < values[0].length; i++) {
      update(values.map((list) => list[i])).forEach((v, k) => {
        results[k][i] = v;
      });
    }
    results.forEach((list, k) => {
      outputs[k * count + t] = fromNumbers(group[k === 0 ? 0 : k + 1].dtype, x.dims, list);
    });
  }
  return outputs;
}

const adagrad: Optimizer = {
  name: 'Adagrad',
  states: 1,
  attributes: { decay_factor: 'float', epsilon: 'float', norm_coefficient: 'float' },
  start: (ctx, rate, step) => {
    const r = rate / (1 + step * ctx.float('decay_factor', 0));
    const norm = ctx.float('norm_coefficient', 0);
    const epsilon = ctx.float('epsilon', 1e-6);
    return ([x, gradient, squares]) => {
      const g = norm * x + gradient;
      const h = squares + g * g;
      return [x - (r * g) / (Math.sqrt(h) + epsilon), h];
    };
  },
};

const adam: Optimizer = {
  name: 'Adam',
  states: 2,
  attributes: {
    alpha: 'float',
    beta: 'float',
    epsilon: 'float',
    norm_coefficient: 'float',
    norm_coefficient_post: 'float',
  },
  start: (ctx, rate, step) => {
    const [alpha, beta] = [ctx.float('alpha', 0.9), ctx.float('beta', 0.999)];
    const epsilon = ctx.float('epsilon', 1e-6);
    const norm = ctx.float('norm_coefficient', 0);
    const post = ctx.float('norm_coefficient_post', 0);
    const r = step > 0 ? (rate * Math.sqrt(1 - beta ** step)) / (1 - alpha ** step) : rate;
    return ([x, gradient, mean, squares]) => {
      const g = norm * x + gradient;
      const v = alpha * mean + (1 - alpha) * g;
      const h = beta * squares + (1 - beta) * g * g;
      return [(1 - post) * (x - (r * v) / (Math.sqrt(h) + epsilon)), v, h];
    };
  },
};

const momentum: Optimizer = {
  name: 'Momentum',
  states: 1,
  attributes: { alpha: 'float', beta: 'float', mode: 'string', norm_coefficient: 'float' },
  start: (ctx, rate, step) => {
    const mode = ctx.string('mode');
    if (mode !== 'standard' && mode !== 'nesterov') {
      throw ctx.error(`"mode" is "${mode}", expected standard or nesterov`);
    }
    const alpha = ctx.float('alpha');
    const beta = step > 0 ? ctx.float('beta') : 1;
    const norm = ctx.float('norm_coefficient');
    return ([x, gradient, velocity]) => {
      const g = norm * x + gradient;
      const v = alpha * velocity + beta * g;
      return [x - rate * (mode === 'standard' ? v : g + alpha * v), v];
    };
  },
};

export const trainingOps: readonly OpDefinition[] = [adagrad, adam, momentum].map((optimizer) =>
  defineOp({
    name: optimizer.name,
    domain: 'ai.onnx.preview.training',
    since: [1],
    inputs: [2 + optimizer.states + 2, Number.POSITIVE_INFINITY],
    outputs: [1, Number.POSITIVE_INFINITY],
    attributes: optimizer.attributes,
    infer: (ctx) => optimizerInfer(ctx, optimizer.states),
    reference: (ctx) => optimize(ctx, optimizer),
  }),
);

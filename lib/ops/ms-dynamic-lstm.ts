/** com.microsoft DynamicQuantizeLSTM: an LSTM over 8-bit weights that quantises its inputs as it runs. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { sameShape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { dimAt } from './dims.ts';
import { namedActivation, type Scalar } from './ms-activation.ts';
import { multiply } from './ms-attention-state.ts';
import { dynamicLevels, dynamicRange } from './ms-quantization.ts';
import { defineOp, type InferContext, type NodeReader, type ReferenceContext } from './op.ts';

function directions(ctx: NodeReader): readonly boolean[] {
  const direction = ctx.string('direction', 'forward');
  if (direction === 'forward') return [false];
  if (direction === 'reverse') return [true];
  if (direction === 'bidirectional') return [false, true];
  throw ctx.error(`direction is "${direction}", expected forward, reverse or bidirectional`);
}

function infer(ctx: InferContext): (ValueType | undefined)[] {
  const x = ctx.shape(0);
  const [length, batch] = [dimAt(x, 0), dimAt(x, 1)];
  const count = directions(ctx).length;
  const hidden = ctx.hasAttribute('hidden_size') ? ctx.int('hidden_size') : dimAt(ctx.shape(2), 1);
  const state = tensorType(ctx.dtype(0), [count, batch, hidden]);
  return [tensorType(ctx.dtype(0), [length, count, batch, hidden]), state, state];
}

/** Integer weights [inner, 4 * hidden] of one direction, less their zero points, with a scale per column. */
interface Weights {
  readonly levels: Float64Array;
  readonly inner: number;
  readonly scales: Float64Array;
}

function weightsOf(ctx: ReferenceContext, input: number, scaleInput: number, direction: number): Weights {
  const t = ctx.tensor(input);
  const [count, inner, columns] = t.dims;
  const part = (values: Float64Array, width: number): Float64Array =>
    values.subarray(direction * width, (direction + 1) * width);
  const scales = toNumbers(ctx.tensor(scaleInput));
  const zeros = toNumbers(ctx.tensor(scaleInput + 1));
  for (const list of [scales, zeros]) {
    if (list.length !== count && list.length !== count * columns) {
      throw ctx.error(`a weight has ${list.length} scales or zero points, expected ${count} or ${count * columns}`);
    }
  }
  const spread = (list: Float64Array): Float64Array =>
    list.length === count ? new Float64Array(columns).fill(list[direction]) : part(list, columns);
  const zero = spread(zeros);
  const levels = part(toNumbers(t), inner * columns).map((q, i) => q - zero[i % columns]);
  return { levels, inner, scales: spread(scales) };
}

/** `x [rows, inner]` quantised as a whole, times the weights. */
function project(x: Float64Array, w: Weights, columns: number): Float64Array {
  const range = dynamicRange(x);
  const product = multiply(dynamicLevels(x, range), w.levels, w.inner, columns);
  return product.map((sum, i) => Math.fround(sum * Math.fround(range.scale * w.scales[i % columns])));
}

interface Cell {
  readonly hidden: number;
  readonly bias: Float64Array;
  readonly peepholes: Float64Array;
  readonly f: Scalar;
  readonly g: Scalar;
  readonly h: Scalar;
  readonly clip: number;
  readonly coupled: boolean;
}

function cellOf(ctx: ReferenceContext, hidden: number, direction: number): Cell {
  const names = ctx.strings('activations', []);
  const [alphas, betas] = [ctx.floats('activation_alpha', []), ctx.floats('activation_beta', [])];
  const defaults = ['Sigmoid', 'Tanh', 'Tanh'];
  const activation = (k: number): Scalar => {
    const at = direction * 3 + k;
    return namedActivation(ctx, names[at] ?? defaults[k], [alphas[at], betas[at]]);
  };
  const row = (t: HostTensor | undefined, width: number): Float64Array =>
    t ? toNumbers(t).slice(direction * width, (direction + 1) * width) : new Float64Array(width);
  const bias = row(ctx.optional(3), 8 * hidden);
  for (let i = 0; i < 4 * hidden; i++) bias[i] += bias[4 * hidden + i];
  return {
    hidden,
    bias,
    peepholes: row(ctx.optional(7), 3 * hidden),
    f: activation(0),
    g: activation(1),
    h: activation(2),
    clip: ctx.hasAttribute('clip') ? ctx.float('clip') : Number.POSITIVE_INFINITY,
    coupled: ctx.int('input_forget', 0) !== 0,
  };
}

/** Advances one batch entry: `gates` holds the projected i, o, f, c; `state` and `cell` are updated. */
function advance(c: Cell, gates: Float64Array, state: Float64Array, cell: Float64Array): void {
  const { hidden: n, bias, peepholes: p, clip } = c;
  const clipped = (x: number): number => Math.min(Math.max(x, -clip), clip);
  for (let d = 0; d < n; d++) {
    const gate = (k: number): number => gates[k * n + d] + bias[k * n + d];
    const input = c.f(clipped(gate(0) + p[d] * cell[d]));
    const forget = c.coupled ? 1 - input : c.f(clipped(gate(2) + p[2 * n + d] * cell[d]));
    cell[d] = forget * cell[d] + input * c.g(clipped(gate(3)));
    const output = c.f(clipped(gate(1) + p[n + d] * cell[d]));
    state[d] = Math.fround(output * c.h(cell[d]));
  }
}

interface Sizes {
  readonly length: number;
  readonly batch: number;
  readonly input: number;
  readonly hidden: number;
  readonly count: number;
}

function sizesOf(ctx: ReferenceContext): Sizes {
  const [x, w, r] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const [length, batch, input] = x.dims;
  const count = directions(ctx).length;
  const hidden = ctx.hasAttribute('hidden_size') ? ctx.int('hidden_size') : r.dims[1];
  const fits =
    x.dims.length === 3 &&
    sameShape(w.dims, [count, input, 4 * hidden]) &&
    sameShape(r.dims, [count, hidden, 4 * hidden]);
  if (!fits) throw ctx.error(`X, W and R have shapes ${[x, w, r].map((t) => shapeText(t.dims)).join(', ')}`);
  return { length, batch, input, hidden, count };
}

function reference(ctx: ReferenceContext): HostValue[] {
  const s = sizesOf(ctx);
  const x = toNumbers(ctx.tensor(0));
  const lengths = ctx.has(4) ? ctx.integers(4) : new Array<number>(s.batch).fill(s.length);
  if (lengths.length !== s.batch || lengths.some((n) => n < 0 || n > s.length)) {
    throw ctx.error(`sequence_lens is [${lengths.join(',')}], expected ${s.batch} lengths up to ${s.length}`);
  }
  const stateSize = s.count * s.batch * s.hidden;
  const initial = (i: number): Float64Array => {
    const t = ctx.optional(i);
    if (t && !sameShape(t.dims, [s.count, s.batch, s.hidden])) throw ctx.error(`input ${i} is ${shapeText(t.dims)}`);
    return t ? toNumbers(t).slice() : new Float64Array(stateSize);
  };
  const [state, cell] = [initial(5), initial(6)];
  const y = new Float64Array(s.length * stateSize);
  directions(ctx).forEach((reverse, direction) => {
    const columns = 4 * s.hidden;
    const [w, r] = [weightsOf(ctx, 1, 8, direction), weightsOf(ctx, 2, 10, direction)];
    const projected = project(x, w, columns);
    const unit = cellOf(ctx, s.hidden, direction);
    const span = s.batch * s.hidden;
    const rows = state.subarray(direction * span, (direction + 1) * span);
    for (let step = 0; step < s.length; step++) {
      // Entries that ended earlier count as zeros in the range that the step is quantised with.
      const fed = rows.map((h, i) => (step > lengths[Math.floor(i / s.hidden)] ? 0 : h));
      const recurrent = project(fed, r, columns);
      for (let b = 0; b < s.batch; b++) {
        if (step >= lengths[b]) continue;
        const t = reverse ? lengths[b] - 1 - step : step;
        const from = (t * s.batch + b) * columns;
        const gates = projected.subarray(from, from + columns).map((v, i) => v + recurrent[b * columns + i]);
        const at = direction * span + b * s.hidden;
        const h = state.subarray(at, at + s.hidden);
        advance(unit, gates, h, cell.subarray(at, at + s.hidden));
        y.set(h, (t * s.count + direction) * span + b * s.hidden);
      }
    }
  });
  const dtype = ctx.tensor(0).dtype;
  const dims = [s.count, s.batch, s.hidden];
  return [fromNumbers(dtype, [s.length, ...dims], y), fromNumbers(dtype, dims, state), fromNumbers(dtype, dims, cell)];
}

export const dynamicQuantizeLstm = defineOp({
  name: 'DynamicQuantizeLSTM',
  domain: 'com.microsoft',
  since: [1],
  inputs: [12, 12],
  omittable: [3, 4, 5, 6, 7],
  outputs: [0, 3],
  attributes: {
    activation_alpha: 'floats',
    activation_beta: 'floats',
    activations: 'strings',
    clip: 'float',
    direction: 'string',
    hidden_size: 'int',
    input_forget: 'int',
  },
  infer,
  reference,
});

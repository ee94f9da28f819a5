/** Recurrent operators: RNN, GRU, LSTM. */

import type { AttributeType } from '../ir/graph.ts';
import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { expectKind, expectKinds, floatKinds, integerKinds } from './elements.ts';
import type { LowerContext } from './lower.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { multiplyAdd } from './product.ts';
import { type Activation, readActivations } from './recurrent-activation.ts';
import { type CellWeights, gruStep, lstmStep, type Step, vanillaStep } from './recurrent-cell.ts';
import { lowerRecurrent } from './recurrent-lower.ts';

/** A kind of cell. */
interface CellKind {
  readonly gates: number;
  readonly activations: readonly string[];
  /** Has a cell state beside the hidden one. */
  readonly cell: boolean;
  readonly step: (weights: CellWeights, activations: readonly Activation[]) => Step;
}

const vanilla: CellKind = { gates: 1, activations: ['Tanh'], cell: false, step: vanillaStep };
const gru: CellKind = { gates: 3, activations: ['Sigmoid', 'Tanh'], cell: false, step: gruStep };
const lstm: CellKind = { gates: 4, activations: ['Sigmoid', 'Tanh', 'Tanh'], cell: true, step: lstmStep };

type Direction = 'forward' | 'reverse';

function directionsOf(ctx: NodeReader): Direction[] {
  const direction = ctx.string('direction', 'forward').toLowerCase();
  if (direction === 'bidirectional') return ['forward', 'reverse'];
  // Version 1 of GRU writes its default so.
  if (direction === 'forward' || direction === 'foward') return ['forward'];
  if (direction === 'reverse') return ['reverse'];
  throw ctx.error(`"direction" is "${direction}", expected forward, reverse or bidirectional`);
}

/** Sizes of a recurrent node. */
interface Sizes<D extends Dim> {
  readonly length: D;
  readonly batch: D;
  readonly input: D;
  readonly hidden: D;
  readonly directions: number;
  /** Batch before time in X, Y and the states. */
  readonly batchFirst: boolean;
}

function checkDims(ctx: NodeReader, what: string, shape: Shape | undefined, want: readonly Dim[]): void {
  if (!shape) return;
  const differs = want.some((dim, i) => typeof dim === 'number' && typeof shape[i] === 'number' && dim !== shape[i]);
  if (shape.length !== want.length || differs) {
    throw ctx.error(`${what} is ${shapeText(shape)}, expected ${shapeText(want)}`);
  }
}

function times(dim: Dim, factor: number): Dim {
  return typeof dim === 'number' ? dim * factor : null;
}

/** Checks the operands' shapes (in the order of the inputs, undefined where unknown) and gives the sizes. */
function checkRecurrent(ctx: NodeReader, kind: CellKind, shapes: readonly (Shape | undefined)[]): Sizes<Dim> {
  const [x, w, r, b, lengths, h, c, p] = shapes;
  const directions = directionsOf(ctx).length;
  const batchFirst = ctx.int('layout', 0) === 1;
  if (x && x.length !== 3) throw ctx.error(`X is ${shapeText(x)}, expected three axes`);
  const [length, batch] = batchFirst ? [x?.[1] ?? null, x?.[0] ?? null] : [x?.[0] ?? null, x?.[1] ?? null];
  const input = x?.[2] ?? null;
  const named: Dim = ctx.hasAttribute('hidden_size') ? ctx.int('hidden_size') : null;
  const hidden = named ?? r?.[2] ?? null;
  checkDims(ctx, 'W', w, [directions, times(hidden, kind.gates), input]);
  checkDims(ctx, 'R', r, [directions, times(hidden, kind.gates), hidden]);
  checkDims(ctx, 'B', b, [directions, times(hidden, 2 * kind.gates)]);
  checkDims(ctx, 'sequence_lens', lengths, [batch]);
  const state = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  checkDims(ctx, 'initial_h', h, state);
  if (kind.cell) {
    checkDims(ctx, 'initial_c', c, state);
    checkDims(ctx, 'P', p, [directions, times(hidden, 3)]);
  }
  return { length, batch, input, hidden, directions, batchFirst };
}

function recurrentInfer(ctx: InferContext, kind: CellKind): ValueType[] {
  const shapes = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => (ctx.has(i) ? ctx.shape(i) : undefined));
  const { length, batch, hidden, directions, batchFirst } = checkRecurrent(ctx, kind, shapes);
  readActivations(ctx, directions, kind.activations);
  const dtype = expectKind(ctx, 0, floatKinds);
  expectKinds(ctx, kind.cell ? [1, 2, 3, 5, 6, 7] : [1, 2, 3, 5], floatKinds);
  expectKinds(ctx, [4], integerKinds);
  const state = tensorType(dtype, batchFirst ? [batch, directions, hidden] : [directions, batch, hidden]);
  const y = batchFirst ? [batch, length, directions, hidden] : [length, directions, batch, hidden];
  return [tensorType(dtype, y), state, state].slice(0, kind.cell ? 3 : 2);
}

/** Rows of a [rows, columns] matrix at `at`, as columns. */
function transposed(values: Float64Array, at: number, rows: number, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[at + i * columns + j];
  return out;
}

/** Decoded operands. */
interface Operands {
  readonly x: Float64Array;
  readonly w: Float64Array;
  readonly r: Float64Array;
  readonly b: Float64Array | undefined;
  readonly p: Float64Array | undefined;
  /** States [directions, batch, hidden] or, batch first, [batch, directions, hidden]; updated in place. */
  readonly h: Float64Array;
  readonly c: Float64Array;
  readonly lengths: readonly number[];
}

function cellWeights(ctx: NodeReader, kind: CellKind, o: Operands, d: number, hidden: number): CellWeights {
  const width = kind.gates * hidden;
  const bias = o.b?.subarray(d * 2 * width, (d + 1) * 2 * width);
  return {
    hidden,
    recurrent: transposed(o.r, d * width * hidden, width, hidden),
    candidateBias: bias && kind === gru ? bias.slice(width + 2 * hidden) : new Float64Array(hidden),
    peepholes: o.p?.subarray(d * 3 * hidden, (d + 1) * 3 * hidden),
    linearBeforeReset: ctx.int('linear_before_reset', 0) !== 0,
    coupled: ctx.int('input_forget', 0) !== 0,
  };
}

/** The input's part of all gates for all steps, in the order of X's rows, with the biases that can be added now. */
function inputGates(kind: CellKind, s: Sizes<number>, o: Operands, d: number): Float64Array {
  const width = kind.gates * s.hidden;
  const rows = s.length * s.batch;
  const gates = new Float64Array(rows * width);
  if (o.b) {
    const bias = o.b.slice(d * 2 * width, d * 2 * width + width);
    const recurrent = o.b.subarray(d * 2 * width + width, (d + 1) * 2 * width);
    // The GRU's candidate keeps its recurrent bias apart.
    const shared = kind === gru ? 2 * s.hidden : width;
    for (let i = 0; i < shared; i++) bias[i] += recurrent[i];
    for (let row = 0; row < rows; row++) gates.set(bias, row * width);
  }
  const weights = transposed(o.w, d * width * s.input, width, s.input);
  const x = { values: o.x, at: 0, row: s.input, column: 1 };
  multiplyAdd(x, { values: weights, at: 0, row: width, column: 1 }, gates, 0, [rows, s.input, width]);
  return gates;
}

/** Runs one direction over the whole batch; writes Y and leaves the last states in place. */
function runDirection(
  s: Sizes<number>,
  o: Operands,
  d: number,
  direction: Direction,
  gates: Float64Array,
  step: Step,
  y: Float64Array,
): void {
  const { length, batch, hidden, directions, batchFirst } = s;
  const width = length * batch === 0 ? 0 : gates.length / (length * batch);
  for (let n = 0; n < batch; n++) {
    const at = (batchFirst ? n * directions + d : d * batch + n) * hidden;
    const state = o.h.subarray(at, at + hidden);
    const cell = o.c.subarray(at, at + hidden);
    for (let i = 0; i < o.lengths[n]; i++) {
      const t = direction === 'reverse' ? o.lengths[n] - 1 - i : i;
      const row = batchFirst ? n * length + t : t * batch + n;
      step(gates.subarray(row * width, (row + 1) * width), state, cell);
      y.set(state, (batchFirst ? row * directions + d : (t * directions + d) * batch + n) * hidden);
    }
  }
}

function sequenceLengths(ctx: ReferenceContext, { batch, length }: Sizes<number>): number[] {
  if (!ctx.has(4)) return new Array<number>(batch).fill(length);
  const lengths = ctx.integers(4);
  const wrong = lengths.find((n) => n < 0 || n > length);
  if (wrong !== undefined) throw ctx.error(`a sequence has length ${wrong}, expected 0 to ${length}`);
  return lengths;
}

function recurrentReference(ctx: ReferenceContext, kind: CellKind): HostTensor[] {
  const optional = (i: number): HostTensor | undefined => (i < 6 || kind.cell ? ctx.optional(i) : undefined);
  const shapes = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => optional(i)?.dims);
  const s = checkRecurrent(ctx, kind, shapes) as Sizes<number>;
  const { dtype } = ctx.tensor(0);
  const states = s.directions * s.batch * s.hidden;
  const numbers = (i: number): Float64Array | undefined => {
    const t = optional(i);
    return t && toNumbers(t);
  };
  const o: Operands = {
    x: toNumbers(ctx.tensor(0)),
    w: toNumbers(ctx.tensor(1)),
    r: toNumbers(ctx.tensor(2)),
    b: numbers(3),
    p: numbers(7),
    h: numbers(5)?.slice() ?? new Float64Array(states),
    c: numbers(6)?.slice() ?? new Float64Array(states),
    lengths: sequenceLengths(ctx, s),
  };
  // The LSTM's cell passes to its activation unclipped, as in other runtimes.
  const activations = readActivations(ctx, s.directions, kind.activations, 2);
  const y = new Float64Array(s.length * states);
  directionsOf(ctx).forEach((direction, d) => {
    const step = kind.step(cellWeights(ctx, kind, o, d, s.hidden), activations[d]);
    runDirection(s, o, d, direction, inputGates(kind, s, o, d), step, y);
  });
  const { length, batch, hidden, directions, batchFirst } = s;
  const stateDims = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  const yDims = batchFirst ? [batch, length, directions, hidden] : [length, directions, batch, hidden];
  const out = [fromNumbers(dtype, yDims, y), fromNumbers(dtype, stateDims, o.h)];
  return kind.cell ? [...out, fromNumbers(dtype, stateDims, o.c)] : out;
}

function lowerCell(ctx: LowerContext, kind: CellKind): string | undefined {
  const shapes = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => ((i < 6 || kind.cell) && ctx.has(i) ? ctx.dims(i) : undefined));
  const sizes = checkRecurrent(ctx, kind, shapes) as Sizes<number>;
  readActivations(ctx, sizes.directions, kind.activations);
  const { gates, activations, cell } = kind;
  return lowerRecurrent(ctx, { ...sizes, gates, activations, cell, reverse: directionsOf(ctx)[0] === 'reverse' });
}

const shared: Record<string, AttributeType> = {
  activation_alpha: 'floats',
  activation_beta: 'floats',
  activations: 'strings',
  clip: 'float',
  direction: 'string',
  hidden_size: 'int',
  layout: 'int',
  output_sequence: 'int',
};

function recurrent(
  name: string,
  since: readonly number[],
  kind: CellKind,
  attributes: Record<string, AttributeType>,
): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: [3, kind.cell ? 8 : 6],
    outputs: [0, kind.cell ? 3 : 2],
    attributes: { ...shared, ...attributes },
    infer: (ctx) => recurrentInfer(ctx, kind),
    reference: (ctx) => recurrentReference(ctx, kind),
    lower: (ctx) => lowerCell(ctx, kind),
  });
}

export const recurrentOps: readonly OpDefinition[] = [
  recurrent('RNN', [1, 7, 14, 22], vanilla, {}),
  recurrent('GRU', [1, 3, 7, 14, 22], gru, { linear_before_reset: 'int' }),
  recurrent('LSTM', [1, 7, 14, 22], lstm, { input_forget: 'int' }),
];

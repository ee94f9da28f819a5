/** Native recurrent operators: one product for the inputs of all steps, then the cells. */

import { dtypeInfo } from '../ir/dtype.ts';
import { tensor, toNumbers } from '../ir/tensor.ts';
import { NO_ACTIVATION } from './epilogue.ts';
import { sparseProduct, suitsSparseProduct } from './linear-lower.ts';
import type { LowerContext, Operand } from './lower.ts';

/** A recurrent node with concrete sizes. */
export interface NativeRecurrent {
  readonly gates: number;
  /** Names of the default activations of one direction. */
  readonly activations: readonly string[];
  readonly cell: boolean;
  readonly length: number;
  readonly batch: number;
  readonly input: number;
  readonly hidden: number;
  readonly directions: number;
  readonly batchFirst: boolean;
  readonly reverse: boolean;
}

/** Up to this share of nonzeros, recurrent weights are multiplied nonzero by nonzero. */
const SPARSE_RECURRENT_DENSITY = 0.2;

/** Packings by rows hold columns below this in two bytes; cells read no wider ones. */
const NARROW_COLUMNS = 65536;

const families = { 1: 'rnn', 3: 'gru', 4: 'lstm' } as const;

/** Numbers of the kernels' activations; those that have parameters stay with the reference. */
const kinds: Readonly<Record<string, number>> = { relu: 1, sigmoid: 4, tanh: 5 };

function activationKinds(ctx: LowerContext, r: NativeRecurrent): number[] | undefined {
  const named = ctx.strings('activations', []);
  const all = Array.from({ length: r.directions }, () => r.activations).flat();
  const numbers = all.map((name, i) => kinds[(named[i] ?? name).toLowerCase()]);
  return numbers.every((kind) => kind !== undefined) ? numbers : undefined;
}

function unservedReason(ctx: LowerContext, r: NativeRecurrent, has: (i: number) => boolean): string | undefined {
  const odd = [0, 1, 2, 3, 5, 6, 7].find((i) => has(i) && ctx.dtype(i) !== 'float32');
  if (odd !== undefined) return `no kernel for ${ctx.dtype(odd)}`;
  if (has(4) && ctx.dtype(4) !== 'int32') return `lengths of ${ctx.dtype(4)}`;
  if ([1, 2, 3].some((i) => has(i) && !ctx.constant(i))) return 'the weights are computed at run time';
  return r.length * r.batch * r.hidden === 0 ? 'an empty tensor' : undefined;
}

/** Biases that join the inputs' part, [directions * gates * hidden]; those of the GRU's candidate stay apart. */
function inputBias(ctx: LowerContext, { gates, hidden, directions }: NativeRecurrent): Operand | null {
  const both = ctx.constant(3);
  if (!both) return null;
  const width = gates * hidden;
  return ctx.literal('input bias', () => {
    const b = toNumbers(both);
    const values = Float32Array.from({ length: directions * width }, (_, i) => {
      const at = Math.floor(i / width) * 2 * width + (i % width);
      const apart = gates === 3 && i % width >= 2 * hidden;
      return b[at] + (apart ? 0 : b[at + width]);
    });
    return tensor('float32', [values.length], values);
  });
}

function candidateBias(ctx: LowerContext, { gates, hidden, directions }: NativeRecurrent): Operand | null {
  const both = gates === 3 && ctx.constant(3);
  if (!both) return null;
  return ctx.literal('candidate bias', () => {
    const b = toNumbers(both);
    const values = Float32Array.from(
      { length: directions * hidden },
      (_, i) => b[Math.floor(i / hidden) * 6 * hidden + 5 * hidden + (i % hidden)],
    );
    return tensor('float32', [values.length], values);
  });
}

/** The inputs' part of the gates for all steps: [row of X][direction][gate][hidden]. */
function inputGates(ctx: LowerContext, r: NativeRecurrent): Operand {
  const rows = r.length * r.batch;
  const columns = r.directions * r.gates * r.hidden;
  const depth = r.input;
  const gates = ctx.scratch('float32', [rows, columns]);
  if (suitsSparseProduct(ctx)) {
    const linear = { activation: NO_ACTIVATION, transposed: true };
    sparseProduct(ctx, linear, { rows, depth, columns }, [ctx.input(0), inputBias(ctx, r), null, gates]);
    return gates;
  }
  const weights = ctx.packed('pack.matmul.f32', [ctx.input(1)], {
    depth,
    columns,
    transposed: true,
    type: dtypeInfo(ctx.dtype(1)).onnx,
  });
  ctx.step('matmul.f32', [ctx.input(0), weights, inputBias(ctx, r), null, gates], {
    ...{ rows, depth, columns, stride_a: depth, stride_b: columns, packed_b: true, alpha: 1 },
    ...{ activation: 0, activation_alpha: 0, activation_beta: 0, a_offsets: [0], b_offsets: [0] },
  });
  return gates;
}

/** The recurrent weights as the cells read them; those of the GRU's candidate may be `apart`. */
function recurrentWeights(ctx: LowerContext, { directions, hidden, gates }: NativeRecurrent, apart: boolean) {
  const density = ctx.density(2);
  if (density <= SPARSE_RECURRENT_DENSITY && hidden <= NARROW_COLUMNS) {
    const columns = directions * gates * hidden;
    const all = ctx.packed('pack.matmul.sparse.f32', [ctx.input(2)], { depth: hidden, columns, transposed: true });
    return { all, candidate: null, density, sparse: true };
  }
  const pack = (first: number, count: number): Operand =>
    ctx.packed('pack.recurrent.f32', [ctx.input(2)], { directions, gates, hidden, first, count });
  const candidate = apart ? pack(2, 1) : null;
  return { all: pack(0, apart ? 2 : gates), candidate, density, sparse: false };
}

export function lowerRecurrent(ctx: LowerContext, r: NativeRecurrent): string | undefined {
  const has = (i: number): boolean => (i < 6 || r.cell) && ctx.has(i);
  const reason = unservedReason(ctx, r, has);
  if (reason) return reason;
  const activations = activationKinds(ctx, r);
  if (!activations) return 'an activation without a kernel';
  const { directions, hidden, gates } = r;
  const linear = ctx.int('linear_before_reset', 0) !== 0;
  const apart = gates === 3 && !linear;
  const weights = recurrentWeights(ctx, r, apart);
  const optional = (i: number): Operand | null => (has(i) ? ctx.input(i) : null);
  const wanted = (i: number): Operand | null => (ctx.wants(i) ? ctx.output(i) : null);
  const operands = [
    inputGates(ctx, r),
    weights.all,
    weights.candidate,
    candidateBias(ctx, r),
    optional(7),
    optional(4),
    optional(5),
    optional(6),
    wanted(0),
    wanted(1),
    r.cell ? wanted(2) : null,
  ];
  ctx.step(`${families[gates as keyof typeof families]}.f32`, operands, {
    ...{ directions, length: r.length, batch: r.batch, hidden },
    ...{ batch_first: r.batchFirst, reverse: r.reverse, linear_before_reset: linear },
    coupled: ctx.int('input_forget', 0) !== 0,
    clip: ctx.float('clip', Number.POSITIVE_INFINITY),
    ...{ sparse: weights.sparse, density: weights.density, activations },
  });
  return undefined;
}

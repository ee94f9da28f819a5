/** Native scalers and encoders of ai.onnx.ml: each column has numbers of its own. */

import { type DType, dtypeInfo, isWhole } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromBigInts, fromNumbers, type HostTensor } from '../ir/tensor.ts';
import { compareCodes, testCodes, unaryCodes } from './elementwise-codes.ts';
import type { LowerContext, Operand } from './lower.ts';
import { type BinaryName, binaryStep, castStep, kernelFor, noKernel, wholeBytes } from './lower-elementwise.ts';
import { fillStep, moveStep } from './lower-movement.ts';
import { reduceCodes } from './lower-reduce.ts';

/** Rows of the last axis. */
interface Grid {
  readonly rows: number;
  readonly columns: number;
}

function gridOf(dims: readonly number[]): Grid {
  const columns = dims.at(-1) ?? 1;
  return { rows: columns === 0 ? 0 : sizeOf(dims) / columns, columns };
}

/** A number a column, or one for all. */
const columnStrides = ({ dims }: Operand): number[] => [0, sizeOf(dims) === 1 ? 0 : 1];

/** y = op(x, b) over a grid, `b` one number a column (or for all), or with `perRow` one a row. */
function gridStep(
  ctx: LowerContext,
  name: BinaryName,
  [x, b, y]: readonly Operand[],
  grid: Grid,
  perRow = false,
): void {
  const { rows, columns } = grid;
  const view = { dims: [rows, columns], inputs: [], output: y };
  const a = { operand: x, strides: [columns, 1] };
  const strides = perRow ? [1, 0] : columnStrides(b);
  binaryStep(ctx, kernelFor(ctx, 'binary', x.dtype) as string, name, view, [a, { operand: b, strides }]);
}

const numbers = (ctx: LowerContext, key: string, dtype: DType, list: readonly number[]): Operand =>
  ctx.literal(`${key} ${dtype}`, () =>
    dtype === 'int64' || dtype === 'uint64'
      ? fromBigInts(dtype, [list.length], list.map(BigInt))
      : fromNumbers(dtype, [list.length], list),
  );

/** Input `i` in another type. */
function inputAs(ctx: LowerContext, i: number, dtype: DType): Operand {
  const x = ctx.input(i);
  if (x.dtype === dtype) return x;
  const converted = ctx.scratch(dtype, x.dims);
  castStep(ctx, x, converted);
  return converted;
}

/** Hands `emit` an operand of type `dtype` for output 0 and converts it afterwards. */
function intoOutput(ctx: LowerContext, dtype: DType, emit: (y: Operand) => void): void {
  const y = ctx.output(0);
  const operand = y.dtype === dtype ? y : ctx.scratch(dtype, y.dims);
  emit(operand);
  if (operand !== y) castStep(ctx, operand, y);
}

/** Types of rows that the operators take. */
function numeric(ctx: LowerContext): string | undefined {
  const dtype = ctx.dtype(0);
  if (sizeOf(ctx.dims(0)) === 0) return 'an empty input';
  return kernelFor(ctx, 'binary', dtype) && dtype !== 'bool' ? undefined : noKernel(dtype);
}

/** (x - offset) * scale: wide numbers keep what the difference leaves of them. */
export function lowerScaler(
  ctx: LowerContext,
  offset: readonly number[],
  scale: readonly number[],
): string | undefined {
  const reason = numeric(ctx);
  if (reason) return reason;
  const dtype = ['float32', 'float16', 'bfloat16'].includes(ctx.dtype(0)) ? 'float32' : 'float64';
  const grid = gridOf(ctx.dims(0));
  const x = inputAs(ctx, 0, dtype);
  intoOutput(ctx, dtype, (y) => {
    gridStep(ctx, 'Sub', [x, numbers(ctx, 'offset', dtype, offset), y], grid);
    gridStep(ctx, 'Mul', [y, numbers(ctx, 'scale', dtype, scale), y], grid);
  });
  return undefined;
}

const norms = { MAX: 'Max', L1: 'L1', L2: 'L2' } as const;

/** Rows over their norm; a row of norm 0 stays. */
export function lowerNormalizer(ctx: LowerContext, norm: keyof typeof norms): string | undefined {
  const reason = numeric(ctx);
  if (reason) return reason;
  const grid = gridOf(ctx.dims(0));
  const { rows, columns } = grid;
  const x = inputAs(ctx, 0, 'float32');
  const [divisor, empty] = [ctx.scratch('float32', [rows]), ctx.scratch('bool', [rows])];
  ctx.step('reduce.f32', [x, divisor], {
    ...{ op: reduceCodes[norms[norm]], kept: [rows], kept_strides: [columns] },
    ...{ reduced: [columns], reduced_strides: [1] },
  });
  gridStep(ctx, 'Equal', [divisor, numbers(ctx, 'zero', 'float32', [0]), empty], { rows, columns: 1 });
  const one = numbers(ctx, 'one', 'float32', [1]);
  whereStep(ctx, [empty, one, divisor, divisor], { rows, columns: 1 });
  intoOutput(ctx, 'float32', (y) => gridStep(ctx, 'Div', [x, divisor, y], grid, true));
  return undefined;
}

/** y = condition ? a : b, `a` one number a column or for all. */
function whereStep(ctx: LowerContext, [condition, a, b, y]: readonly Operand[], { rows, columns }: Grid): void {
  ctx.step('where', [condition, a, b, y], {
    ...{ width: wholeBytes(y.dtype), dims: [rows, columns], c_strides: [columns, 1] },
    ...{ a_strides: columnStrides(a), b_strides: [columns, 1] },
  });
}

export function lowerBinarizer(ctx: LowerContext, threshold: number): string | undefined {
  const reason = numeric(ctx);
  if (reason) return reason;
  const dtype = ctx.dtype(0);
  // A whole number is above the threshold where it is above the whole number below.
  const bound = isWhole(dtype) ? Math.floor(threshold) : threshold;
  if (isWhole(dtype) && !(Math.abs(bound) < 2 ** 31 && (bound >= 0 || !dtype.startsWith('u')))) {
    return 'a threshold that the integers lack';
  }
  const grid = gridOf(ctx.dims(0));
  const above = ctx.scratch('bool', ctx.dims(0));
  gridStep(ctx, 'Greater', [ctx.input(0), numbers(ctx, 'threshold', dtype, [bound]), above], grid);
  castStep(ctx, above, ctx.output(0));
  return undefined;
}

/** Replaces what equals `replaced`, or NaN, by the column's number. */
export function lowerImputer(ctx: LowerContext, replaced: number, imputed: readonly number[]): string | undefined {
  const reason = numeric(ctx);
  if (reason) return reason;
  const dtype = ctx.dtype(0);
  const grid = gridOf(ctx.dims(0));
  const x = ctx.input(0);
  const gone = ctx.scratch('bool', ctx.dims(0));
  if (Number.isNaN(replaced)) {
    const kernel = dtypeInfo(dtype).kind === 'float' ? kernelFor(ctx, 'unary', dtype) : undefined;
    if (!kernel) return noKernel(dtype);
    ctx.step(kernel, [x, gone], { op: testCodes.IsNaN, alpha: 0, beta: 0, count: sizeOf(x.dims) });
  } else {
    gridStep(ctx, 'Equal', [x, numbers(ctx, 'replaced', dtype, [replaced]), gone], grid);
  }
  whereStep(ctx, [gone, numbers(ctx, 'imputed', dtype, imputed), x, ctx.output(0)], grid);
  return undefined;
}

/** A column for each category of numbers. */
export function lowerOneHot(ctx: LowerContext, categories: readonly number[]): string | undefined {
  const reason = numeric(ctx);
  if (reason) return reason;
  if (categories.length === 0) return 'categories that are strings';
  if (ctx.int('zeros', 1) === 0) return 'elements that have to be of a category';
  const count = sizeOf(ctx.dims(0));
  // Later ones of equal categories count.
  const last = categories.map((value, i) => (categories.lastIndexOf(value) === i ? value : undefined));
  if (last.includes(undefined)) return 'a category that occurs twice';
  const x = inputAs(ctx, 0, 'int64');
  const hot = ctx.scratch('bool', [count, categories.length]);
  ctx.step('binary.i64', [x, numbers(ctx, 'categories', 'int64', categories), hot], {
    ...{ op: compareCodes.Equal, dims: [count, categories.length], a_strides: [1, 0], b_strides: [0, 1] },
  });
  castStep(ctx, hot, ctx.output(0));
  return undefined;
}

/** Columns of several inputs side by side; `widths` says how many each has in the output. */
export function lowerFeatures(ctx: LowerContext, widths: readonly number[]): string | undefined {
  const total = widths.reduce((sum, width) => sum + width, 0);
  const sizes = widths.map((_, i) => sizeOf(ctx.dims(i)));
  if (sizes.includes(0)) return 'an empty input';
  const rowsOf = (i: number): number => (ctx.dims(i).length > 1 ? ctx.dims(i)[0] : 1);
  const rows = rowsOf(0);
  if (widths.some((_, i) => rowsOf(i) !== rows)) throw ctx.error('the inputs have different numbers of rows');
  const odd = widths.findIndex((_, i) => !kernelFor(ctx, 'unary', ctx.dtype(i)));
  if (odd >= 0) return noKernel(ctx.dtype(odd));
  const inputs = widths.map((_, i) => inputAs(ctx, i, 'float32'));
  const y = ctx.output(0);
  if (widths.some((width, i) => width > sizes[i] / rows)) fillStep(ctx, y, undefined);
  let offset = 0;
  for (const [i, width] of widths.entries()) {
    const own = sizes[i] / rows;
    const move = { dims: [rows, Math.min(width, own)], x: [own, 1], y: [total, 1], yOffset: offset };
    moveStep(ctx, inputs[i], y, move);
    offset += width;
  }
  return undefined;
}

/** Values by keys, the last value for what is no key; `table` has the keys in ascending order. */
export interface NumberTable {
  /** int64 or float64. */
  readonly keys: HostTensor;
  /** One more than keys. */
  readonly values: HostTensor;
  /** Position of NaN's value. */
  readonly nan: number;
}

export function lowerTable(ctx: LowerContext, read: () => NumberTable): string | undefined {
  const reason = numeric(ctx);
  if (reason) return reason;
  const keyType = isWhole(ctx.dtype(0)) ? 'int64' : 'float64';
  let table: NumberTable | undefined;
  const known = (): NumberTable => {
    table ??= read();
    return table;
  };
  const nan = ctx.once('NaN', known().nan);
  const keys = ctx.literal('keys', () => known().keys);
  const values = ctx.literal('values', () => known().values);
  const x = inputAs(ctx, 0, keyType);
  ctx.step(keyType === 'int64' ? 'lookup.i64' : 'lookup.f64', [x, keys, values, ctx.output(0)], {
    ...{ count: sizeOf(x.dims), keys: sizeOf(keys.dims), nan, width: wholeBytes(values.dtype) },
  });
  return undefined;
}

/** Emits 1 where x is above 0, else -1. */
export function signStep(ctx: LowerContext, x: Operand, y: Operand): void {
  const count = sizeOf(x.dims);
  const above = ctx.scratch('bool', x.dims);
  gridStep(ctx, 'Greater', [x, numbers(ctx, 'zero', x.dtype, [0]), above], { rows: 1, columns: count });
  castStep(ctx, above, y);
  ctx.step('unary.f32', [y, y], { op: unaryCodes.Affine, alpha: 2, beta: -1, count });
}

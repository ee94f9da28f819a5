/** float32 kernels for float16 and bfloat16 operands: converted before and after. */

import type { DType } from '../ir/dtype.ts';
import type { LowerContext, Operand } from './lower.ts';
import { castStep } from './lower-elementwise.ts';

const types: readonly DType[] = ['float32', 'float16', 'bfloat16'];

/** True for types that float32 kernels serve. */
export function servedByFloat32(dtype: DType): boolean {
  return types.includes(dtype);
}

/** Input `i` as float32. */
export function floatInput(ctx: LowerContext, i: number): Operand {
  const operand = ctx.input(i);
  if (operand.dtype === 'float32') return operand;
  const converted = ctx.scratch('float32', operand.dims);
  castStep(ctx, operand, converted);
  return converted;
}

/** Input `i` as float32, or null where it is omitted. */
export function optionalFloatInput(ctx: LowerContext, i: number): Operand | null {
  return ctx.has(i) ? floatInput(ctx, i) : null;
}

/** Hands `emit` a float32 operand for output `i`; converts it afterwards where the output is of another type. */
export function intoFloatOutput<T>(ctx: LowerContext, i: number, emit: (y: Operand) => T): T {
  const y = ctx.output(i);
  if (y.dtype === 'float32') return emit(y);
  const wide = ctx.scratch('float32', y.dims);
  const result = emit(wide);
  castStep(ctx, wide, y);
  return result;
}

/** As {@link intoFloatOutput}, with null where the output is not wanted. */
export function intoOptionalFloatOutput<T>(ctx: LowerContext, i: number, emit: (y: Operand | null) => T): T {
  return ctx.wants(i) ? intoFloatOutput(ctx, i, emit) : emit(null);
}

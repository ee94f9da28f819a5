/** Native lowering of elementwise operators. */

import { type DType, dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import { fromNumbers, toNumbers } from '../ir/tensor.ts';
import { binaryCodes, compareCodes, testCodes, unaryCodes } from './elementwise-codes.ts';
import type { ElementwiseInput, ElementwiseView, LowerContext, Operand } from './lower.ts';
import type { OpDefinition } from './op.ts';

/** Suffixes of the kernels of an element type. */
export const kernelSuffixes: Partial<Record<DType, string>> = {
  float32: 'f32',
  float64: 'f64',
  float16: 'f16',
  bfloat16: 'bf16',
  int8: 'i8',
  int16: 'i16',
  int32: 'i32',
  int64: 'i64',
  uint8: 'u8',
  uint16: 'u16',
  uint32: 'u32',
  uint64: 'u64',
  bool: 'u8',
};

type Lower = NonNullable<OpDefinition['lower']>;

/** The kernel of a family for an element type, or undefined where the addon has none. */
export function kernelFor(ctx: LowerContext, family: string, dtype: DType): string | undefined {
  const suffix = kernelSuffixes[dtype];
  const name = `${family}.${suffix}`;
  return suffix && ctx.hasKernel(name) ? name : undefined;
}

/** Why a node of this element type runs on its reference. */
export function noKernel(dtype: DType): string {
  return `no native kernel for ${dtype}`;
}

/** Bytes of an element that moves as a whole; 0 for strings and for types that share bytes. */
export function wholeBytes(dtype: DType): number {
  const { bits } = dtypeInfo(dtype);
  return bits % 8 === 0 ? bits / 8 : 0;
}

export type UnaryName = keyof typeof unaryCodes | keyof typeof testCodes;
const allUnary: Readonly<Record<UnaryName, number>> = { ...unaryCodes, ...testCodes };
const floats: readonly DType[] = ['float32', 'float64', 'float16', 'bfloat16'];
const onIntegers: readonly UnaryName[] = ['Abs', 'Neg', 'Sign', 'Relu', 'Clip'];

/** The unary kernel for an operation on a type; undefined where there is none. */
function unaryKernel(ctx: LowerContext, name: UnaryName, dtype: DType): string | undefined {
  if (dtype === 'bool') return name === 'Not' ? 'unary.bool' : undefined;
  const fits = floats.includes(dtype) ? name !== 'Not' : name === 'Not' || onIntegers.includes(name);
  return fits ? kernelFor(ctx, 'unary', dtype) : undefined;
}

/** What a unary operation takes besides its operand. */
export interface UnaryParameters {
  readonly alpha?: number;
  readonly beta?: number;
}

/** Lowers an operator whose output is a function of input 0 alone. */
export function lowerUnary(
  name: UnaryName | ((ctx: LowerContext) => UnaryName),
  parameters: (ctx: LowerContext) => UnaryParameters = () => ({}),
): Lower {
  return (ctx) => {
    const op = typeof name === 'string' ? name : name(ctx);
    const kernel = unaryKernel(ctx, op, ctx.dtype(0));
    if (!kernel) return noKernel(ctx.dtype(0));
    const { alpha = 0, beta = 0 } = parameters(ctx);
    const view = ctx.elementwise([0]);
    const [x] = view.inputs as [ElementwiseInput];
    ctx.step(kernel, [x.operand, view.output], { op: allUnary[op], alpha, beta, count: sizeOf(view.dims) });
    return undefined;
  };
}

export type BinaryName = keyof typeof binaryCodes | keyof typeof compareCodes;
const allBinary: Readonly<Record<BinaryName, number>> = { ...binaryCodes, ...compareCodes };

/** Strides of an operand that is dense over `dims`. */
export function denseOver(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length);
  let stride = 1;
  for (let i = dims.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return strides;
}

interface Strided {
  readonly operand: Operand;
  readonly strides: readonly number[];
}

/** Emits one binary step over the dims of a view. */
export function binaryStep(
  ctx: LowerContext,
  kernel: string,
  name: BinaryName,
  view: ElementwiseView,
  [a, b]: readonly [Strided, Strided],
): void {
  const params = { op: allBinary[name], dims: view.dims, a_strides: a.strides, b_strides: b.strides };
  ctx.step(kernel, [a.operand, b.operand, view.output], params);
}

/** Dimensions that kernels walk; merging leaves more only where shapes alternate. */
export const MAX_RANK = 8;

/** Dimensions that stay when neighbours are merged are at most those of the output. */
function rankReason(ctx: LowerContext): string | undefined {
  const rank = ctx.outputDims(0).length;
  return rank > MAX_RANK ? `broadcasting over ${rank} dimensions` : undefined;
}

const onFloats: readonly BinaryName[] = ['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Mod', 'Fmod', 'Max', 'Min', 'PRelu'];

/** Lowers an operator of two broadcast inputs of one type. */
export function lowerBinary(name: BinaryName | ((ctx: LowerContext) => BinaryName)): Lower {
  return (ctx) => {
    const op = typeof name === 'string' ? name : name(ctx);
    if (ctx.hasAttribute('axis')) return 'broadcasting along an axis, as before version 7';
    const dtype = ctx.dtype(0);
    const bits = !onFloats.includes(op) && !(op in compareCodes);
    const kernel = bits && floats.includes(dtype) ? undefined : kernelFor(ctx, 'binary', dtype);
    if (!kernel) return noKernel(dtype);
    const reason = rankReason(ctx);
    if (reason) return reason;
    const view = ctx.elementwise();
    binaryStep(ctx, kernel, op, view, view.inputs as unknown as [Strided, Strided]);
    return undefined;
  };
}

/** Pow, whose exponent may be of another type: then it has to be one known number. */
export function lowerPow(ctx: LowerContext): string | undefined {
  const dtype = ctx.dtype(0);
  if (ctx.dtype(1) === dtype) return lowerBinary('Pow')(ctx);
  const exponent = ctx.constant(1);
  const kernel = kernelFor(ctx, 'binary', dtype);
  if (!kernel || !floats.includes(dtype)) return `an exponent of ${ctx.dtype(1)} for a base of ${dtype}`;
  if (!exponent || sizeOf(exponent.dims) !== 1 || exponent.dims.length > ctx.dims(0).length) {
    return `an exponent of ${ctx.dtype(1)} that is not one known number`;
  }
  const view = ctx.elementwise([0]);
  const operand = ctx.literal('exponent', () => fromNumbers(dtype, [1], toNumbers(exponent)));
  const b = { operand, strides: view.dims.map(() => 0) };
  binaryStep(ctx, kernel, 'Pow', view, [view.inputs[0] as ElementwiseInput, b]);
  return undefined;
}

/** Max, Min, Sum: folds a binary operation over all inputs. `last` scales the result. */
export function lowerVariadic(name: 'Max' | 'Min' | 'Add', last?: (count: number) => number): Lower {
  return (ctx) => {
    const dtype = ctx.dtype(0);
    const kernel = kernelFor(ctx, 'binary', dtype);
    const scaling = last && unaryKernel(ctx, 'Affine', dtype);
    if (!kernel || (last && !scaling)) return noKernel(dtype);
    const reason = rankReason(ctx);
    if (reason) return reason;
    if (ctx.inputCount === 1) {
      copyWhole(ctx);
      return undefined;
    }
    const view = ctx.elementwise();
    const inputs = view.inputs.filter((input): input is ElementwiseInput => input !== null);
    // The output may lie over one of the inputs, which has to be read before it is written.
    const taken = inputs.findIndex((input) => input.operand.buffer === view.output.buffer);
    if (taken > 0) inputs.unshift(...inputs.splice(taken, 1));
    let held: Strided = inputs[0];
    for (const next of inputs.slice(1)) {
      binaryStep(ctx, kernel, name, view, [held, next]);
      held = { operand: view.output, strides: denseOver(view.dims) };
    }
    if (last && scaling) {
      const params = { op: unaryCodes.Affine, alpha: last(inputs.length), beta: 0, count: sizeOf(view.dims) };
      ctx.step(scaling, [view.output, view.output], params);
    }
    return undefined;
  };
}

/** Output 0 is a copy of input 0. */
export function copyWhole(ctx: LowerContext): void {
  const bytes = sizeOf(ctx.dims(0)) * wholeBytes(ctx.dtype(0));
  ctx.step('copy.bytes', [ctx.input(0), ctx.output(0)], { bytes });
}

/** Where, for every type whose elements are whole bytes. */
export function lowerWhere(ctx: LowerContext): string | undefined {
  const width = wholeBytes(ctx.dtype(1));
  if (width === 0) return noKernel(ctx.dtype(1));
  const reason = rankReason(ctx);
  if (reason) return reason;
  const view = ctx.elementwise();
  const [c, a, b] = view.inputs as [ElementwiseInput, ElementwiseInput, ElementwiseInput];
  ctx.step('where', [c.operand, a.operand, b.operand, view.output], {
    width,
    dims: view.dims,
    c_strides: c.strides,
    a_strides: a.strides,
    b_strides: b.strides,
  });
  return undefined;
}

/** A bound of Clip as a number that its kernel takes; undefined where it is not known, null where it has none. */
function boundOf(ctx: LowerContext, i: number, attribute: string, none: number): number | undefined | null {
  if (ctx.version < 11) return ctx.hasAttribute(attribute) ? ctx.float(attribute) : none;
  if (!ctx.has(i)) return none;
  const content = ctx.constant(i);
  if (!content || sizeOf(content.dims) !== 1) return undefined;
  const value = toNumbers(content)[0];
  if (Number.isNaN(value)) return null;
  const exact = Math.abs(value) <= 2 ** 53 || floats.includes(ctx.dtype(0));
  return exact ? value : null;
}

/** Clip: one pass where the bounds are known, two where they are computed. */
export function lowerClip(ctx: LowerContext): string | undefined {
  const dtype = ctx.dtype(0);
  const low = boundOf(ctx, 1, 'min', Number.NEGATIVE_INFINITY);
  const high = boundOf(ctx, 2, 'max', Number.POSITIVE_INFINITY);
  if (typeof low === 'number' && typeof high === 'number') {
    return lowerUnary('Clip', () => ({ alpha: low, beta: high }))(ctx);
  }
  if (low === null || high === null) return 'a bound that is no number of the kernel';
  const kernel = kernelFor(ctx, 'binary', dtype);
  if (!kernel) return noKernel(dtype);
  const view = ctx.elementwise([0]);
  let held: Strided = view.inputs[0] as ElementwiseInput;
  for (const [i, name] of [
    [1, 'Max'],
    [2, 'Min'],
  ] as const) {
    if (!ctx.has(i)) continue;
    binaryStep(ctx, kernel, name, view, [held, { operand: ctx.input(i), strides: view.dims.map(() => 0) }]);
    held = { operand: view.output, strides: denseOver(view.dims) };
  }
  return undefined;
}

/** Lowers a function of input 0 plus, where it is given, a broadcast input 1. */
export function lowerBiased(name: keyof typeof unaryCodes): Lower {
  return (ctx) => {
    if (!ctx.has(1)) return lowerUnary(name)(ctx);
    const [unary, binary] = [unaryKernel(ctx, name, ctx.dtype(0)), kernelFor(ctx, 'binary', ctx.dtype(0))];
    if (!unary || !binary || ctx.dtype(1) !== ctx.dtype(0)) return noKernel(ctx.dtype(0));
    const reason = rankReason(ctx);
    if (reason) return reason;
    const view = ctx.elementwise([0, 1]);
    binaryStep(ctx, binary, 'Add', view, view.inputs as unknown as [Strided, Strided]);
    const params = { op: unaryCodes[name], alpha: 0, beta: 0, count: sizeOf(view.dims) };
    ctx.step(unary, [view.output, view.output], params);
    return undefined;
  };
}

const castable: readonly DType[] = Object.keys(kernelSuffixes) as DType[];

/** Emits a conversion of `count` elements. */
export function castStep(ctx: LowerContext, x: Operand, y: Operand): void {
  const params = { from: dtypeInfo(x.dtype).onnx, to: dtypeInfo(y.dtype).onnx, count: sizeOf(y.dims) };
  ctx.step('cast', [x, y], params);
}

/** Cast and CastLike. */
export function lowerCast(ctx: LowerContext): string | undefined {
  const [from, to] = [ctx.dtype(0), ctx.outputDtype(0)];
  if (from === to) {
    ctx.alias(0, 0);
    return undefined;
  }
  if (!castable.includes(from) || !castable.includes(to)) return `no native cast from ${from} to ${to}`;
  castStep(ctx, ctx.input(0), ctx.output(0));
  return undefined;
}

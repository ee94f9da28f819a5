/** Native linear models of ai.onnx.ml. */

import { sizeOf } from '../ir/shape.ts';
import { fromNumbers } from '../ir/tensor.ts';
import { constantProduct } from './linear-lower.ts';
import type { LowerContext, Operand } from './lower.ts';
import { castStep, kernelFor, noKernel } from './lower-elementwise.ts';
import { matrixDims, type PostTransform, readLabels } from './ml-scores.ts';
import { type Ending, scoresStep } from './ml-scores-lower.ts';

/** Why rows are not for the kernels. */
export function rowsReason(ctx: LowerContext): string | undefined {
  if (sizeOf(ctx.dims(0)) === 0) return 'an empty input';
  const dtype = ctx.dtype(0);
  return dtype === 'bool' || !kernelFor(ctx, 'binary', dtype) ? noKernel(dtype) : undefined;
}

/** Rows as float32. */
export function floatRows(ctx: LowerContext): Operand {
  const x = ctx.input(0);
  if (x.dtype === 'float32') return x;
  const converted = ctx.scratch('float32', x.dims);
  castStep(ctx, x, converted);
  return converted;
}

/** Emits rows times the coefficients [count, features], plus one number a model; float32 [rows, count]. */
export function modelsStep(
  ctx: LowerContext,
  x: Operand,
  sizes: { readonly rows: number; readonly features: number; readonly count: number },
  [coefficients, intercepts]: readonly [readonly number[], readonly number[]],
): Operand {
  const { rows, features, count } = sizes;
  const weights = ctx.literal('coefficients', () => fromNumbers('float32', [count, features], coefficients));
  const bias = intercepts.length
    ? ctx.literal('intercepts', () => fromNumbers('float32', [count], intercepts.slice(0, count)))
    : null;
  const y = ctx.scratch('float32', [rows, count]);
  constantProduct(ctx, { rows, depth: features, columns: count }, [x, weights, bias, y]);
  return y;
}

function lowerModels(ctx: LowerContext, count: number, ending: Ending): string | undefined {
  const reason = rowsReason(ctx);
  if (reason) return reason;
  const [rows, features] = matrixDims(ctx, ctx.dims(0));
  const [coefficients, intercepts] = [ctx.floats('coefficients'), ctx.floats('intercepts', [])];
  const fits = coefficients.length === count * features && [0, count].includes(intercepts.length);
  if (!fits) return 'coefficients or intercepts of another number';
  const operand = modelsStep(ctx, floatRows(ctx), { rows, features, count }, [coefficients, intercepts]);
  scoresStep(ctx, { operand, parts: 1, rows, columns: count }, ending);
  return undefined;
}

export function lowerLinearRegressor(ctx: LowerContext, transform: PostTransform): string | undefined {
  const targets = ctx.int('targets', 1);
  return targets > 0 ? lowerModels(ctx, targets, { transform, base: [] }) : 'no targets';
}

/** Lowers a classifier of `count` linear models whose labels are integers. */
export function lowerLinearClassifier(ctx: LowerContext, count: number, transform: PostTransform): string | undefined {
  const labels = readLabels(ctx, 'classlabels_ints').names.filter((name): name is bigint => typeof name === 'bigint');
  if (count > 1) {
    return labels.length < count
      ? 'fewer labels than models'
      : lowerModels(ctx, count, { transform, base: [], labels });
  }
  const two = labels.length === 2;
  const complement = transform === 'LOGISTIC' ? 0 : 1;
  const pair = { threshold: 0, first: [complement, -1], second: [0, 1], single: !two } as const;
  const own = two && transform !== 'LOGISTIC' ? 'NONE' : transform;
  return lowerModels(ctx, 1, { transform: own, base: [], pair, labels: two ? labels : [0n, 1n] });
}

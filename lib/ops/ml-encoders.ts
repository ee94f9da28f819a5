/** Encoders and scalers of ai.onnx.ml; operators on maps are beside. */

import type { DType } from '../ir/dtype.ts';
import { isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { type Dim, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, pick, toNumbers } from '../ir/tensor.ts';
import { addDims } from './dims.ts';
import type { LowerContext } from './lower.ts';
import { gatherStep, immovable, indexBytes } from './lower-movement.ts';
import {
  lowerBinarizer,
  lowerFeatures,
  lowerImputer,
  lowerNormalizer,
  lowerOneHot,
  lowerScaler,
} from './ml-encoders-lower.ts';
import { labelEncoderOps } from './ml-labels.ts';
import { mlMapsOps } from './ml-maps.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const domain = 'ai.onnx.ml';

/** An operator of one tensor that keeps its shape. */
function elementwise(
  name: string,
  attributes: OpDefinition['attributes'],
  reference: (ctx: ReferenceContext, x: HostTensor) => HostTensor,
  lower: OpDefinition['lower'],
  output?: DType,
): OpDefinition {
  return defineOp({
    name,
    domain,
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes,
    infer: (ctx) => [tensorType(output ?? ctx.dtype(0), ctx.shape(0))],
    reference: (ctx) => [reference(ctx, ctx.tensor(0))],
    lower,
    keepsRows: (_, { ranks }) => ranks[0] > 1,
  });
}

/** Feature `i` of a list that has one number for all features or one each. */
function perFeature(
  ctx: NodeReader,
  list: readonly number[],
  x: Pick<HostTensor, 'dims'>,
  what: string,
): (i: number) => number {
  const features = x.dims.at(-1) ?? 1;
  if (list.length === 1) return () => list[0];
  if (list.length !== features) throw ctx.error(`${what} has ${list.length} entries, expected 1 or ${features}`);
  return (i) => list[i % features];
}

/** A list of {@link perFeature} as it is, once it is known to fit. */
function featureList(ctx: LowerContext, list: readonly number[], what: string): readonly number[] {
  perFeature(ctx, list, { dims: ctx.dims(0) }, what);
  return list;
}

function scale(ctx: ReferenceContext, x: HostTensor): HostTensor {
  const factor = perFeature(ctx, ctx.floats('scale', [1]), x, 'scale');
  const offset = perFeature(ctx, ctx.floats('offset', [0]), x, 'offset');
  return fromNumbers(
    'float32',
    x.dims,
    Float64Array.from(toNumbers(x), (value, i) => (value - offset(i)) * factor(i)),
  );
}

/** What an Imputer replaces in input of a type, and by what. */
function imputation(ctx: NodeReader, dtype: DType): { replaced: number; list: readonly number[] } {
  const float = dtype === 'float32' || dtype === 'float64';
  const list = float ? ctx.floats('imputed_value_floats', []) : ctx.ints('imputed_value_int64s', []);
  if (list.length === 0) throw ctx.error(`no imputed values for input of type ${dtype}`);
  return { list, replaced: float ? ctx.float('replaced_value_float', 0) : ctx.int('replaced_value_int64', 0) };
}

function lowerImputation(ctx: LowerContext): string | undefined {
  const { list, replaced } = imputation(ctx, ctx.dtype(0));
  return lowerImputer(ctx, replaced, featureList(ctx, list, 'the imputed values'));
}

function impute(ctx: ReferenceContext, x: HostTensor): HostTensor {
  const { list, replaced } = imputation(ctx, x.dtype);
  const imputed = perFeature(ctx, list, x, 'the imputed values');
  const gone = (value: number): boolean => value === replaced || (Number.isNaN(replaced) && Number.isNaN(value));
  if (!isBig(x.dtype)) {
    return fromNumbers(
      x.dtype,
      x.dims,
      Float64Array.from(toNumbers(x), (value, i) => (gone(value) ? imputed(i) : value)),
    );
  }
  const data = (x.data as BigInt64Array).map((value, i) => (gone(Number(value)) ? BigInt(imputed(i)) : value));
  return { ...x, data };
}

function normOf(ctx: NodeReader): 'MAX' | 'L1' | 'L2' {
  const norm = ctx.string('norm', 'MAX');
  if (norm === 'MAX' || norm === 'L1' || norm === 'L2') return norm;
  throw ctx.error(`norm is "${norm}", expected MAX, L1 or L2`);
}

function normalize(ctx: ReferenceContext, x: HostTensor): HostTensor {
  const norm = normOf(ctx);
  const features = x.dims.at(-1) ?? 1;
  const out = Float64Array.from(toNumbers(x));
  for (let at = 0; at < out.length; at += features) {
    const row = out.subarray(at, at + features);
    let divisor = norm === 'MAX' ? Number.NEGATIVE_INFINITY : 0;
    for (const value of row) {
      if (norm === 'MAX') divisor = Math.max(divisor, value);
      else divisor += norm === 'L1' ? Math.abs(value) : value * value;
    }
    if (norm === 'L2') divisor = Math.sqrt(divisor);
    if (divisor !== 0) for (let i = 0; i < features; i++) row[i] /= divisor;
  }
  return fromNumbers('float32', x.dims, out);
}

function binarize(ctx: ReferenceContext, x: HostTensor): HostTensor {
  const threshold = ctx.float('threshold', 0);
  return fromNumbers(
    x.dtype,
    x.dims,
    Float64Array.from(toNumbers(x), (value) => (value > threshold ? 1 : 0)),
  );
}

interface Categories {
  readonly count: number;
  /** Empty where they are strings. */
  readonly numbers: readonly number[];
  find(value: string | number): number | undefined;
}

function categories(ctx: NodeReader): Categories {
  const strings = ctx.strings('cats_strings', []);
  const numbers = strings.length ? [] : ctx.ints('cats_int64s', []);
  const list: readonly (string | number)[] = strings.length ? strings : numbers;
  const index = new Map(list.map((value, i) => [value, i]));
  return {
    count: list.length,
    numbers,
    find: (value) => index.get(typeof value === 'number' ? Math.trunc(value) : value),
  };
}

function oneHot(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const { count, find } = categories(ctx);
  const values: ArrayLike<string | number> = x.dtype === 'string' ? (x.data as string[]) : toNumbers(x);
  const out = new Float32Array(values.length * count);
  for (let i = 0; i < values.length; i++) {
    const at = find(values[i]);
    if (at !== undefined) out[i * count + at] = 1;
    else if (ctx.int('zeros', 1) === 0) throw ctx.error(`"${values[i]}" is no category, and zeros is 0`);
  }
  return [{ kind: 'tensor', dtype: 'float32', dims: [...x.dims, count], data: out }];
}

/** Columns of a value of FeatureVectorizer: as `inputdimensions` says, else all of the last axis. */
function featureColumns(ctx: NodeReader, i: number, width: Dim): Dim {
  const asked = ctx.ints('inputdimensions', []);
  return asked[i] ?? width;
}

function inferFeatures(ctx: InferContext): ReturnType<OpDefinition['infer']> {
  const widths: Dim[] = [];
  for (let i = 0; i < ctx.inputCount; i++) widths.push(featureColumns(ctx, i, ctx.shape(i)?.at(-1) ?? null));
  const first = ctx.shape(0);
  return [tensorType('float32', [first && first.length > 1 ? first[0] : first ? 1 : null, addDims(...widths)])];
}

function vectorizeFeatures(ctx: ReferenceContext): HostValue[] {
  const parts = Array.from({ length: ctx.inputCount }, (_, i) => {
    const t = ctx.tensor(i);
    const width = t.dims.at(-1) ?? 1;
    const rows = t.dims.length > 1 ? t.dims[0] : 1;
    return {
      values: toNumbers(t),
      rows,
      width: sizeOf(t.dims) / Math.max(rows, 1),
      columns: featureColumns(ctx, i, width) as number,
    };
  });
  const rows = parts[0].rows;
  if (parts.some((part) => part.rows !== rows)) throw ctx.error('the inputs have different numbers of rows');
  const columns = parts.reduce((sum, part) => sum + part.columns, 0);
  const out = new Float64Array(rows * columns);
  let offset = 0;
  for (const part of parts) {
    const count = Math.min(part.columns, part.width);
    for (let r = 0; r < rows; r++) {
      out.set(part.values.subarray(r * part.width, r * part.width + count), r * columns + offset);
    }
    offset += part.columns;
  }
  return [fromNumbers('float32', [rows, columns], out)];
}

function extractFeatures(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const indices = ctx.integers(1);
  const width = x.dims.at(-1);
  if (width === undefined || indices.length === 0) throw ctx.error(`cannot select from ${shapeText(x.dims)}`);
  const wrong = indices.find((i) => !(i >= -width && i < width));
  if (wrong !== undefined) throw ctx.error(`index ${wrong} is outside the last axis of ${shapeText(x.dims)}`);
  const dims = x.dims.length === 1 ? [1, indices.length] : [...x.dims.slice(0, -1), indices.length];
  const count = indices.length;
  return [pick(x, dims, (i) => Math.floor(i / count) * width + ((indices[i % count] + width) % width))];
}

function lowerExtraction(ctx: LowerContext): string | undefined {
  const dims = ctx.dims(0);
  if (sizeOf(dims) === 0 || sizeOf(ctx.dims(1)) === 0) return 'nothing to select, or from';
  const reason = immovable(ctx) ?? (indexBytes(ctx, 1) ? undefined : `indices of ${ctx.dtype(1)}`);
  if (!reason) gatherStep(ctx, [ctx.input(0), ctx.input(1), ctx.output(0)], dims.length - 1);
  return reason;
}

export const mlEncodersOps: readonly OpDefinition[] = [
  ...labelEncoderOps,
  ...mlMapsOps,
  elementwise(
    'Scaler',
    { offset: 'floats', scale: 'floats' },
    scale,
    (ctx) => {
      const offset = featureList(ctx, ctx.floats('offset', [0]), 'offset');
      return lowerScaler(ctx, offset, featureList(ctx, ctx.floats('scale', [1]), 'scale'));
    },
    'float32',
  ),
  elementwise('Normalizer', { norm: 'string' }, normalize, (ctx) => lowerNormalizer(ctx, normOf(ctx)), 'float32'),
  elementwise('Binarizer', { threshold: 'float' }, binarize, (ctx) => lowerBinarizer(ctx, ctx.float('threshold', 0))),
  elementwise(
    'Imputer',
    {
      imputed_value_floats: 'floats',
      imputed_value_int64s: 'ints',
      replaced_value_float: 'float',
      replaced_value_int64: 'int',
    },
    impute,
    lowerImputation,
  ),
  defineOp({
    name: 'OneHotEncoder',
    domain,
    since: [1],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { cats_int64s: 'ints', cats_strings: 'strings', zeros: 'int' },
    infer: (ctx) => {
      const x = ctx.shape(0);
      return [tensorType('float32', x && [...x, categories(ctx).count])];
    },
    reference: oneHot,
    lower: (ctx) => lowerOneHot(ctx, categories(ctx).numbers),
    keepsRows: (_, { ranks }) => ranks[0] > 0,
  }),
  defineOp({
    name: 'FeatureVectorizer',
    domain,
    since: [1],
    inputs: [1, Number.POSITIVE_INFINITY],
    outputs: [1, 1],
    attributes: { inputdimensions: 'ints' },
    infer: inferFeatures,
    reference: vectorizeFeatures,
    lower: (ctx) =>
      lowerFeatures(
        ctx,
        Array.from({ length: ctx.inputCount }, (_, i) => featureColumns(ctx, i, ctx.dims(i).at(-1) ?? 1) as number),
      ),
  }),
  defineOp({
    name: 'ArrayFeatureExtractor',
    domain,
    since: [1],
    inputs: [2, 2],
    outputs: [1, 1],
    traits: ['movement'],
    infer: (ctx) => {
      const [x, y] = [ctx.shape(0), ctx.shape(1)];
      const known = y?.every((dim): dim is number => typeof dim === 'number');
      const count = known ? sizeOf(y as readonly number[]) : null;
      return [tensorType(ctx.dtype(0), x && (x.length === 1 ? [1, count] : [...x.slice(0, -1), count]))];
    },
    reference: extractFeatures,
    lower: lowerExtraction,
  }),
];

/** ScatterElements, ScatterND, Scatter, TensorScatter. */

import { type DType, dtypeInfo, isBig } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { sameShape, shapeText, sizeBetween, sizeOf, stridesOf } from '../ir/shape.ts';
import { fromBigInts, fromNumbers, type HostTensor, toBigInts, toIntegers, toNumbers, unpacked } from '../ir/tensor.ts';
import { checkedIndex, elementOffsets } from './gather.ts';
import type { LowerContext, Operand } from './lower.ts';
import { MAX_RANK, noKernel, wholeBytes } from './lower-elementwise.ts';
import { immovable, indexBytes } from './lower-movement.ts';
import { Assembly } from './movement.ts';
import { defineOp, type NodeReader, normalizeAxis, type OpDefinition, type ReferenceContext } from './op.ts';

type Combine = <T extends number | bigint>(held: T, update: T) => T;

const combines: Readonly<Record<string, Combine>> = {
  add: (held, update) => ((held as number) + (update as number)) as typeof held,
  mul: (held, update) => ((held as number) * (update as number)) as typeof held,
  max: (held, update) => (Number.isNaN(held) || held >= update ? held : update),
  min: (held, update) => (Number.isNaN(held) || held <= update ? held : update),
};

/** The reduction's function, or undefined for plain overwriting. */
function reduction(ctx: NodeReader): Combine | undefined {
  const name = ctx.version < 16 ? 'none' : ctx.string('reduction', 'none');
  if (name === 'none') return undefined;
  const known = Object.hasOwn(combines, name) && (ctx.version >= 18 || name === 'add' || name === 'mul');
  if (!known) throw ctx.error(`reduction "${name}" is not one of version ${ctx.version}`);
  return combines[name];
}

/** Writes `updates`, in runs of `run` elements, over `data` at the offsets of the runs. */
function scattered(
  ctx: NodeReader,
  data: HostTensor,
  updates: HostTensor,
  offsets: ArrayLike<number>,
  run: number,
): HostTensor {
  if (updates.dtype !== data.dtype) throw ctx.error(`updates are ${updates.dtype}, data is ${data.dtype}`);
  const combine = reduction(ctx);
  if (combine) return combined(ctx, data, updates, offsets, run, combine);
  const out = new Assembly(data.dtype, data.dims, data);
  const from = unpacked(updates);
  for (let i = 0; i < offsets.length; i++) out.copy(from, i * run, offsets[i], run);
  return out.tensor();
}

function combined(
  ctx: NodeReader,
  data: HostTensor,
  updates: HostTensor,
  offsets: ArrayLike<number>,
  run: number,
  combine: Combine,
): HostTensor {
  const { kind } = dtypeInfo(data.dtype);
  if (kind === 'string' || kind === 'complex') throw ctx.error(`a reduction cannot combine elements of ${data.dtype}`);
  const apply = <T extends number | bigint>(out: T[], from: ArrayLike<T>): T[] => {
    for (let i = 0; i < offsets.length; i++) {
      for (let k = 0; k < run; k++) out[offsets[i] + k] = combine(out[offsets[i] + k], from[i * run + k]);
    }
    return out;
  };
  if (isBig(data.dtype)) {
    return fromBigInts(data.dtype, data.dims, apply(Array.from(toBigInts(data)), toBigInts(updates)));
  }
  const sums = apply(Array.from(toNumbers(data)), toNumbers(updates));
  return fromNumbers(data.dtype, data.dims, kind === 'bool' ? sums.map((v) => Number(v !== 0)) : sums);
}

function scatterElements(ctx: ReferenceContext): HostTensor {
  const [data, indices, updates] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  if (!sameShape(indices.dims, updates.dims)) {
    throw ctx.error(`indices are ${shapeText(indices.dims)}, updates ${shapeText(updates.dims)}, expected the same`);
  }
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), data.dims.length);
  return scattered(ctx, data, updates, elementOffsets(ctx, data, indices, axis), 1);
}

function scatterNd(ctx: ReferenceContext): HostTensor {
  const [data, indices, updates] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const depth = indices.dims[indices.dims.length - 1] ?? 0;
  const want = [...indices.dims.slice(0, -1), ...data.dims.slice(depth)];
  if (depth < 1 || depth > data.dims.length || !sameShape(updates.dims, want)) {
    const shapes = [data, indices, updates].map((t) => shapeText(t.dims));
    throw ctx.error(`data ${shapes[0]}, indices ${shapes[1]} and updates ${shapes[2]} do not fit together`);
  }
  const strides = stridesOf(data.dims);
  const picks = toIntegers(indices);
  const offsets = new Float64Array(sizeBetween(indices.dims, 0, indices.dims.length - 1));
  for (let i = 0; i < offsets.length; i++) {
    for (let k = 0; k < depth; k++) {
      offsets[i] += checkedIndex(ctx, picks[i * depth + k], data.dims[k]) * strides[k];
    }
  }
  return scattered(ctx, data, updates, offsets, sizeBetween(data.dims, depth, data.dims.length));
}

function tensorScatter(ctx: ReferenceContext): HostTensor {
  const [cache, update] = [ctx.tensor(0), ctx.tensor(1)];
  const { dims } = cache;
  const axis = normalizeAxis(ctx, ctx.int('axis', -2), dims.length);
  const mode = ctx.string('mode', 'linear');
  if (axis === 0) throw ctx.error('the sequence axis cannot be the batch axis 0');
  if (mode !== 'linear' && mode !== 'circular') throw ctx.error(`mode is "${mode}", expected "linear" or "circular"`);
  const fits =
    update.dims.length === dims.length && update.dims.every((d, i) => (i === axis ? d <= dims[i] : d === dims[i]));
  if (!fits || update.dtype !== cache.dtype) {
    throw ctx.error(`the update ${shapeText(update.dims)} does not fit the cache ${shapeText(dims)}`);
  }
  const starts = ctx.has(2) ? ctx.integers(2) : new Array<number>(dims[0]).fill(0);
  if (starts.length !== dims[0]) throw ctx.error(`write_indices has ${starts.length} entries, the batch ${dims[0]}`);
  const [longest, length] = [dims[axis], update.dims[axis]];
  if (starts.some((start) => start < 0 || (mode === 'linear' && start + length > longest))) {
    throw ctx.error(`write_indices [${starts.join(',')}] and ${length} steps leave a cache of ${longest} steps`);
  }
  const outer = sizeBetween(dims, 0, axis);
  const inner = sizeOf(dims.slice(axis + 1));
  const out = new Assembly(cache.dtype, dims, cache);
  const from = unpacked(update);
  for (let o = 0; o < outer && inner * length > 0; o++) {
    const start = starts[Math.floor((o * dims[0]) / outer)];
    for (let s = 0; s < length; s++) {
      out.copy(from, (o * length + s) * inner, (o * longest + ((start + s) % longest)) * inner, inner);
    }
  }
  return out.tensor();
}

function scatter(
  name: string,
  since: readonly number[],
  attributes: OpDefinition['attributes'],
  reference: (ctx: ReferenceContext) => HostTensor,
  lower?: OpDefinition['lower'],
): OpDefinition {
  return defineOp({
    name,
    since,
    inputs: name === 'TensorScatter' ? [2, 3] : [3, 3],
    outputs: [1, 1],
    attributes,
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: (ctx) => [reference(ctx)],
    lower,
  });
}

const reductionCodes = ['none', 'add', 'mul', 'max', 'min'];
const combinable: readonly DType[] = ['float32', 'float64', 'int8', 'uint8', 'int32', 'int64'];

/** What both native scatters take, or the reason why there is none. */
function scatterParams(ctx: LowerContext): string | Record<string, number> {
  const name = ctx.version < 16 ? 'none' : ctx.string('reduction', 'none');
  reduction(ctx);
  const reason = immovable(ctx);
  if (reason) return reason;
  if (ctx.dtype(2) !== ctx.dtype(0)) return 'updates of another type';
  if (name !== 'none' && !combinable.includes(ctx.dtype(0))) return noKernel(ctx.dtype(0));
  const bytes = indexBytes(ctx, 1);
  if (bytes === undefined) return `indices of type ${ctx.dtype(1)}`;
  return {
    reduction: reductionCodes.indexOf(name),
    width: wholeBytes(ctx.dtype(0)),
    type: dtypeInfo(ctx.dtype(0)).onnx,
    index_bytes: bytes,
  };
}

/** Output 0, holding the data that the updates go into. */
function dataCopy(ctx: LowerContext): Operand {
  const y = ctx.output(0);
  const bytes = sizeOf(ctx.dims(0)) * wholeBytes(ctx.dtype(0));
  if (bytes > 0) ctx.step('copy.bytes', [ctx.input(0), y], { bytes });
  return y;
}

function lowerScatterElements(ctx: LowerContext): string | undefined {
  const params = scatterParams(ctx);
  if (typeof params === 'string') return params;
  const [data, dims] = [ctx.dims(0), ctx.dims(1)];
  if (data.length >= MAX_RANK) return `${data.length} axes`;
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), data.length);
  const fits = dims.length === data.length && dims.every((dim, i) => i === axis || dim <= data[i]);
  if (!fits || !sameShape(dims, ctx.dims(2))) return 'indices that do not fit';
  const [indices, updates] = [ctx.input(1), ctx.input(2)];
  const strides = stridesOf(data);
  ctx.step('scatter.elements', [indices, updates, dataCopy(ctx)], {
    ...params,
    axis: data[axis],
    axis_stride: strides[axis],
    dims,
    strides: strides.map((stride, i) => (i === axis ? 0 : stride)),
  });
  return undefined;
}

function lowerScatterNd(ctx: LowerContext): string | undefined {
  const params = scatterParams(ctx);
  if (typeof params === 'string') return params;
  const [data, indices] = [ctx.dims(0), ctx.dims(1)];
  const depth = indices[indices.length - 1] ?? 0;
  if (depth < 1 || depth > Math.min(data.length, MAX_RANK)) return `indices of ${depth} entries`;
  const want = [...indices.slice(0, -1), ...data.slice(depth)];
  if (!sameShape(ctx.dims(2), want)) return 'updates that do not fit';
  const [places, updates] = [ctx.input(1), ctx.input(2)];
  ctx.step('scatter.points', [places, updates, dataCopy(ctx)], {
    ...params,
    count: sizeBetween(indices, 0, indices.length - 1),
    slice: sizeBetween(data, depth, data.length),
    dims: data.slice(0, depth),
  });
  return undefined;
}

export const scatterOps: readonly OpDefinition[] = [
  scatter(
    'ScatterElements',
    [11, 13, 16, 18],
    { axis: 'int', reduction: 'string' },
    scatterElements,
    lowerScatterElements,
  ),
  scatter('ScatterND', [11, 13, 16, 18], { reduction: 'string' }, scatterNd, lowerScatterNd),
  scatter('Scatter', [9, 11], { axis: 'int' }, scatterElements, lowerScatterElements),
  scatter('TensorScatter', [24], { axis: 'int', mode: 'string' }, tensorScatter),
];

/** Sequences of tensors. */

import { type DType, dtypeFromOnnx } from '../ir/dtype.ts';
import { type SequenceType, tensorType, type ValueType } from '../ir/graph.ts';
import type { Dim, Shape } from '../ir/shape.ts';
import { type HostSequence, type HostTensor, type HostValue, reshaped, tensor } from '../ir/tensor.ts';
import { mergeTypes } from './body-types.ts';
import { concatenate } from './concat.ts';
import {
  type BodyRuns,
  defineOp,
  type InferContext,
  type NodeReader,
  normalizeAxis,
  type OpDefinition,
  type ReferenceContext,
  runBodies,
} from './op.ts';
import { sliceOf } from './slice.ts';

/** A sequence type. */
export function sequenceOf(element: ValueType): SequenceType {
  return { kind: 'sequence', element };
}

/** Sequence input `i`; throws where it is something else. */
export function sequenceInput(ctx: ReferenceContext, i: number): HostSequence {
  const value = ctx.value(i);
  if (value.kind !== 'sequence') throw ctx.error(`input ${i} is a ${value.kind}, expected a sequence`);
  return value;
}

/** Element type of sequence input `i`; throws where it is known to be something else. */
function elementType(ctx: InferContext, i: number): ValueType | undefined {
  const type = ctx.type(i);
  if (type && type.kind !== 'sequence') throw ctx.error(`input ${i} is a ${type.kind}, expected a sequence`);
  return type?.element;
}

/** A position in a sequence; negative ones count from the end, `length` itself is legal where `inclusive`. */
function position(ctx: ReferenceContext, i: number, length: number, inclusive: boolean): number {
  const [given] = ctx.integers(i);
  const at = given < 0 ? given + length : given;
  if (!(at >= 0 && at < length + Number(inclusive))) {
    throw ctx.error(`position ${given} is outside a sequence of ${length} elements`);
  }
  return at;
}

/** A sequence of the same elements type as `items`; `like` gives the type of an empty one. */
function made(items: readonly HostValue[], like?: DType): HostSequence {
  const [head] = items;
  return { kind: 'sequence', items, dtype: head?.kind === 'tensor' ? head.dtype : like };
}

function sequenceInsert(ctx: ReferenceContext): HostSequence {
  const { items, dtype } = sequenceInput(ctx, 0);
  const item = ctx.value(1);
  const type = items[0]?.kind === 'tensor' ? items[0].dtype : dtype;
  if (item.kind === 'tensor' && type && item.dtype !== type) {
    throw ctx.error(`cannot insert a tensor of ${item.dtype} into a sequence of ${type}`);
  }
  const at = ctx.has(2) ? position(ctx, 2, items.length, true) : items.length;
  return made([...items.slice(0, at), item, ...items.slice(at)], type);
}

function sequenceErase(ctx: ReferenceContext): HostSequence {
  const { items, dtype } = sequenceInput(ctx, 0);
  const at = ctx.has(1) ? position(ctx, 1, items.length, false) : items.length - 1;
  if (at < 0) throw ctx.error('cannot erase from an empty sequence');
  const [head] = items;
  return made(
    items.filter((_, i) => i !== at),
    head?.kind === 'tensor' ? head.dtype : dtype,
  );
}

function emptyType(ctx: NodeReader): DType {
  const dtype = dtypeFromOnnx(ctx.int('dtype', 1));
  if (!dtype) throw ctx.error(`dtype ${ctx.int('dtype')} is no element type`);
  return dtype;
}

/** An axis of an empty tensor may have any size; sequences are held item by item. */
const MAX_PARTS = 2 ** 24;

/** Lengths of the parts that SplitToSequence cuts an axis of `dim` into. */
function partLengths(ctx: ReferenceContext, dim: number): number[] {
  if (dim > MAX_PARTS) throw ctx.error(`a size of ${dim} is too large for a sequence`);
  const split = ctx.optional(1);
  if (!split) return new Array<number>(dim).fill(1);
  const lengths = ctx.integers(1);
  if (split.dims.length === 0) {
    const [length] = lengths;
    if (!(length > 0)) throw ctx.error(`split is ${length}, expected a positive length`);
    return Array.from({ length: Math.ceil(dim / length) }, (_, i) => Math.min(length, dim - i * length));
  }
  if (lengths.some((length) => length < 0) || lengths.reduce((a, b) => a + b, 0) !== dim) {
    throw ctx.error(`the parts [${lengths.join(',')}] do not split a size of ${dim}`);
  }
  return lengths;
}

function splitToSequence(ctx: ReferenceContext): HostSequence {
  const x = ctx.tensor(0);
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), x.dims.length);
  const drop = !ctx.has(1) && ctx.int('keepdims', 1) === 0;
  let start = 0;
  const items = partLengths(ctx, x.dims[axis]).map((length): HostTensor => {
    const part = sliceOf(x, axis, start, length);
    start += length;
    return drop ? reshaped(part, part.dims.toSpliced(axis, 1)) : part;
  });
  return made(items, x.dtype);
}

function inferSplitToSequence(ctx: InferContext): SequenceType {
  const shape = ctx.shape(0);
  if (!shape) return sequenceOf(tensorType(ctx.dtype(0), undefined));
  const axis = normalizeAxis(ctx, ctx.int('axis', 0), shape.length);
  if (!ctx.has(1)) {
    const one = ctx.int('keepdims', 1) === 0 ? shape.toSpliced(axis, 1) : shape.with(axis, 1);
    return sequenceOf(tensorType(ctx.dtype(0), one));
  }
  return sequenceOf(tensorType(ctx.dtype(0), shape.with(axis, null)));
}

/** The items as tensors; throws where there are none to join, or one is something else. */
function tensorItems(ctx: ReferenceContext, sequence: HostSequence): HostTensor[] {
  if (sequence.items.length === 0) throw ctx.error('cannot join an empty sequence');
  return sequence.items.map((item) => {
    if (item.kind !== 'tensor') throw ctx.error(`the sequence holds a ${item.kind}, expected tensors`);
    return item;
  });
}

function concatFromSequence(ctx: ReferenceContext): HostTensor {
  const items = tensorItems(ctx, sequenceInput(ctx, 0));
  const fresh = ctx.int('new_axis', 0) !== 0;
  const axis = normalizeAxis(ctx, ctx.int('axis'), items[0].dims.length + Number(fresh));
  return concatenate(ctx, fresh ? items.map((t) => reshaped(t, t.dims.toSpliced(axis, 0, 1))) : items, axis);
}

function inferConcatFromSequence(ctx: InferContext): ValueType | undefined {
  const element = elementType(ctx, 0);
  if (element?.kind !== 'tensor') return undefined;
  const { shape, dtype } = element;
  if (!shape) return tensorType(dtype, undefined);
  const fresh = ctx.int('new_axis', 0) !== 0;
  const axis = normalizeAxis(ctx, ctx.int('axis'), shape.length + Number(fresh));
  const dims: Shape = fresh ? shape.toSpliced(axis, 0, null as Dim) : shape.with(axis, null);
  return tensorType(dtype, dims);
}

/** Type of a sequence input that takes one more element. */
function inferInsert(ctx: InferContext): ValueType | undefined {
  const [element, item] = [elementType(ctx, 0), ctx.type(1)];
  const merged = element && item && mergeTypes(element, item);
  return merged && sequenceOf(merged);
}

function inferConstruct(ctx: InferContext): ValueType | undefined {
  let element = ctx.type(0);
  for (let i = 1; i < ctx.inputCount; i++) {
    const next = ctx.type(i);
    element = element && next && mergeTypes(element, next);
    if (!element) return undefined;
  }
  return element && sequenceOf(element);
}

/** Runs the body on the i-th elements of all sequences; inputs that are tensors are the same for every i. */
function* sequenceMap(ctx: ReferenceContext): BodyRuns {
  const inputs = Array.from({ length: ctx.inputCount }, (_, i) => ctx.value(i));
  const { items } = sequenceInput(ctx, 0);
  const body = ctx.graph('body');
  const outputs: HostValue[][] = body.outputs.map(() => []);
  for (let i = 0; i < items.length; i++) {
    const feeds = inputs.map((input, k) => {
      if (input.kind !== 'sequence') return input;
      if (input.items.length !== items.length) {
        throw ctx.error(`input ${k} has ${input.items.length} elements, input 0 has ${items.length}`);
      }
      return input.items[i];
    });
    const results = yield { graph: body, feeds };
    results.forEach((value, k) => {
      outputs[k].push(value);
    });
  }
  return outputs.map((list, k) => {
    const type = body.outputs[k].type;
    return made(list, type?.kind === 'tensor' ? type.dtype : undefined);
  });
}

export const sequenceOps: readonly OpDefinition[] = [
  defineOp({
    name: 'SequenceEmpty',
    since: [11],
    inputs: [0, 0],
    outputs: [1, 1],
    attributes: { dtype: 'int' },
    infer: (ctx) => [sequenceOf(tensorType(emptyType(ctx), undefined))],
    reference: (ctx) => [made([], emptyType(ctx))],
  }),
  defineOp({
    name: 'SequenceConstruct',
    since: [11],
    inputs: [1, Number.POSITIVE_INFINITY],
    outputs: [1, 1],
    infer: (ctx) => [inferConstruct(ctx)],
    reference: (ctx) => {
      const items = Array.from({ length: ctx.inputCount }, (_, i) => ctx.tensor(i));
      if (items.some((t) => t.dtype !== items[0].dtype)) throw ctx.error('the inputs are of different types');
      return [made(items)];
    },
  }),
  defineOp({
    name: 'SequenceAt',
    since: [11],
    inputs: [2, 2],
    outputs: [1, 1],
    infer: (ctx) => [elementType(ctx, 0)],
    reference: (ctx) => {
      const { items } = sequenceInput(ctx, 0);
      return [items[position(ctx, 1, items.length, false)]];
    },
  }),
  defineOp({
    name: 'SequenceInsert',
    since: [11],
    inputs: [2, 3],
    outputs: [1, 1],
    infer: (ctx) => [inferInsert(ctx)],
    reference: (ctx) => [sequenceInsert(ctx)],
  }),
  defineOp({
    name: 'SequenceErase',
    since: [11],
    inputs: [1, 2],
    outputs: [1, 1],
    infer: (ctx) => [ctx.type(0)],
    reference: (ctx) => [sequenceErase(ctx)],
  }),
  defineOp({
    name: 'SequenceLength',
    since: [11],
    inputs: [1, 1],
    outputs: [1, 1],
    infer: () => [tensorType('int64', [])],
    reference: (ctx) => [tensor('int64', [], BigInt64Array.of(BigInt(sequenceInput(ctx, 0).items.length)))],
  }),
  defineOp({
    name: 'SplitToSequence',
    since: [11, 24],
    inputs: [1, 2],
    outputs: [1, 1],
    attributes: { axis: 'int', keepdims: 'int' },
    infer: (ctx) => [inferSplitToSequence(ctx)],
    reference: (ctx) => [splitToSequence(ctx)],
  }),
  defineOp({
    name: 'ConcatFromSequence',
    since: [11],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { axis: 'int', new_axis: 'int' },
    infer: (ctx) => [inferConcatFromSequence(ctx)],
    reference: (ctx) => [concatFromSequence(ctx)],
  }),
  defineOp({
    name: 'SequenceMap',
    since: [17],
    inputs: [1, Number.POSITIVE_INFINITY],
    outputs: [1, Number.POSITIVE_INFINITY],
    attributes: { body: 'graph' },
    traits: ['control'],
    bodyInputs: (ctx) =>
      Array.from({ length: ctx.inputCount }, (_, i) => {
        const type = ctx.type(i);
        return type?.kind === 'sequence' ? type.element : type;
      }),
    infer: (ctx) => {
      const { outputs } = ctx.graph('body');
      if (outputs.length < ctx.outputCount) {
        throw ctx.error(`the body has ${outputs.length} outputs, expected ${ctx.outputCount}`);
      }
      return outputs.map(({ type }) => type && sequenceOf(type));
    },
    reference: (ctx) => runBodies(ctx, sequenceMap(ctx)),
    turns: sequenceMap,
  }),
];

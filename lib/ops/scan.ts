/** Scan: a loop over slices of its inputs. */

import { type Graph, tensorType, type ValueType } from '../ir/graph.ts';
import type { Dim, Shape } from '../ir/shape.ts';
import { type HostTensor, type HostValue, reshaped, zeros } from '../ir/tensor.ts';
import { mergeTypes } from './body-types.ts';
import { concatenate } from './concat.ts';
import { zerosForOutput } from './control-outputs.ts';
import {
  type BodyRun,
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

/** How inputs and outputs divide into states and scanned values. Version 8 has sequence lengths in front, and a batch. */
interface Form {
  readonly body: Graph;
  /** First input that belongs to the body: 1 in version 8. */
  readonly base: number;
  readonly states: number;
  readonly scans: number;
  readonly scanOutputs: number;
}

function formOf(ctx: NodeReader): Form {
  const body = ctx.graph('body');
  const base = ctx.version < 9 ? 1 : 0;
  const scans = ctx.int('num_scan_inputs');
  const states = ctx.inputCount - base - scans;
  const scanOutputs = body.outputs.length - states;
  if (scans < 1 || states < 0 || scanOutputs < 0 || body.inputs.length !== states + scans) {
    throw ctx.error(
      `the body has ${body.inputs.length} inputs and ${body.outputs.length} outputs, which does not fit ` +
        `${ctx.inputCount - base} inputs of which ${scans} are scanned`,
    );
  }
  return { body, base, states, scans, scanOutputs };
}

/** Entry `i` of an optional list of attributes. */
function entry(ctx: NodeReader, name: string, i: number): number {
  return ctx.hasAttribute(name) ? (ctx.ints(name)[i] ?? 0) : 0;
}

const inputReversed = (ctx: NodeReader, i: number): boolean =>
  entry(ctx, ctx.version < 9 ? 'directions' : 'scan_input_directions', i) !== 0;

const outputReversed = (ctx: NodeReader, i: number): boolean =>
  ctx.version >= 9 && entry(ctx, 'scan_output_directions', i) !== 0;

const inputAxis = (ctx: NodeReader, i: number, rank: number): number =>
  ctx.version < 9 ? 1 : normalizeAxis(ctx, entry(ctx, 'scan_input_axes', i), rank);

const outputAxis = (ctx: NodeReader, i: number, rank: number): number =>
  ctx.version < 9 ? 0 : normalizeAxis(ctx, entry(ctx, 'scan_output_axes', i), rank);

function shapeWithout(shape: Shape | undefined, ...axes: number[]): Shape | undefined {
  return shape?.filter((_, i) => !axes.includes(i));
}

function bodyInputs(ctx: InferContext): (ValueType | undefined)[] {
  const { base, states, scans } = formOf(ctx);
  return Array.from({ length: states + scans }, (_, i) => {
    const type = ctx.type(base + i);
    if (type?.kind !== 'tensor') return type;
    const { dtype, shape } = type;
    if (i < states) return tensorType(dtype, base ? shapeWithout(shape, 0) : shape);
    if (!shape) return type;
    const axis = inputAxis(ctx, i - states, shape.length);
    return tensorType(dtype, base ? shapeWithout(shape, 0, axis) : shapeWithout(shape, axis));
  });
}

function infer(ctx: InferContext): (ValueType | undefined)[] {
  const { body, base, states } = formOf(ctx);
  if (body.outputs.length < ctx.outputCount) {
    throw ctx.error(`the body has ${body.outputs.length} outputs, expected ${ctx.outputCount}`);
  }
  const scanned = ctx.shape(base + states);
  const length: Dim = scanned ? scanned[inputAxis(ctx, 0, scanned.length)] : null;
  const batch: readonly Dim[] = base ? [scanned?.[0] ?? null] : [];
  return body.outputs.map(({ type }, i) => {
    if (type?.kind !== 'tensor') return type;
    const { dtype, shape } = type;
    if (i < states) {
      const start = ctx.type(base + i);
      return base ? tensorType(dtype, shape && [...batch, ...shape]) : start && mergeTypes(start, type);
    }
    if (!shape) return tensorType(dtype, undefined);
    const dims = [...batch, ...shape];
    dims.splice(batch.length + outputAxis(ctx, i - states, shape.length + 1), 0, length);
    return tensorType(dtype, dims);
  });
}

/** Slice `t` of an input, without its axis. */
function at(x: HostTensor, axis: number, t: number): HostTensor {
  return reshaped(sliceOf(x, axis, t, 1), x.dims.toSpliced(axis, 1));
}

/** One pass over inputs whose scanned axes are `axes`; `steps` turns. Gives the states and the stacked outputs. */
function* pass(
  ctx: ReferenceContext,
  form: Form,
  start: readonly HostValue[],
  inputs: readonly HostTensor[],
  axes: readonly number[],
  steps: number,
): Generator<BodyRun, { states: readonly HostValue[]; outputs: HostTensor[] }, HostValue[]> {
  const { body } = form;
  let states = start;
  const lists: HostTensor[][] = Array.from({ length: form.scanOutputs }, () => []);
  for (let t = 0; t < steps; t++) {
    const slices = inputs.map((x, i) => at(x, axes[i], inputReversed(ctx, i) ? steps - 1 - t : t));
    const results = yield { graph: body, feeds: [...states, ...slices] };
    states = results.slice(0, form.states);
    lists.forEach((list, i) => {
      const value = results[form.states + i];
      if (value.kind !== 'tensor') throw ctx.error(`scan output ${i} is a ${value.kind}, expected a tensor`);
      const axis = outputAxis(ctx, i, value.dims.length + 1);
      list.push(reshaped(value, value.dims.toSpliced(axis, 0, 1)));
    });
  }
  const outputs = lists.map((list, i) => {
    if (list.length === 0) {
      const place = (dims: readonly number[]) => dims.toSpliced(outputAxis(ctx, i, dims.length + 1), 0, 0);
      return zerosForOutput(ctx, body, form.states + i, place);
    }
    const axis = outputAxis(ctx, i, list[0].dims.length);
    return concatenate(ctx, outputReversed(ctx, i) ? list.reverse() : list, axis);
  });
  return { states, outputs };
}

/** The common number of steps of the scanned inputs. */
function stepsOf(ctx: NodeReader, inputs: readonly HostTensor[], axes: readonly number[]): number {
  const sizes = inputs.map((x, i) => x.dims[axes[i]]);
  if (sizes.some((size) => size === undefined || size !== sizes[0])) {
    throw ctx.error(`the scanned axes have ${sizes.join(', ')} elements, expected the same number`);
  }
  return sizes[0];
}

function* scan(ctx: ReferenceContext): BodyRuns {
  const form = formOf(ctx);
  const start = Array.from({ length: form.states }, (_, i) => ctx.value(i));
  const inputs = Array.from({ length: form.scans }, (_, i) => ctx.tensor(form.states + i));
  const axes = inputs.map((x, i) => inputAxis(ctx, i, x.dims.length));
  const { states, outputs } = yield* pass(ctx, form, start, inputs, axes, stepsOf(ctx, inputs, axes));
  return [...states, ...outputs];
}

/** Pads the axis 0 of `x` with zeros up to `length`. */
function padded(ctx: NodeReader, x: HostTensor, length: number): HostTensor {
  if (x.dims[0] === length) return x;
  return concatenate(ctx, [x, zeros(x.dtype, [length - x.dims[0], ...x.dims.slice(1)])], 0);
}

/** Version 8: every element of the batch by itself, for as many steps as its length says. */
function* scanBatches(ctx: ReferenceContext): BodyRuns {
  const form = formOf(ctx);
  const tensors = Array.from({ length: form.states + form.scans }, (_, i) => ctx.tensor(i + 1));
  const scanned = tensors.slice(form.states);
  const batch = tensors[0].dims[0];
  const longest = stepsOf(
    ctx,
    scanned,
    scanned.map(() => 1),
  );
  if (tensors.some((t) => t.dims[0] !== batch) || batch < 1) throw ctx.error('the inputs differ in their batch size');
  const lengths = ctx.has(0) ? ctx.integers(0) : new Array<number>(batch).fill(longest);
  if (lengths.length !== batch || lengths.some((length) => length < 0 || length > longest)) {
    throw ctx.error(`sequence_lens [${lengths.join(',')}] does not fit ${batch} sequences of ${longest} steps`);
  }
  const parts: HostTensor[][] = Array.from({ length: form.states + form.scanOutputs }, () => []);
  for (let b = 0; b < batch; b++) {
    const start = tensors.slice(0, form.states).map((t) => at(t, 0, b));
    // Reversed inputs run from the end of their own length.
    const inputs = scanned.map((t) => sliceOf(at(t, 0, b), 0, 0, lengths[b]));
    const axes = inputs.map(() => 0);
    const { states, outputs } = yield* pass(ctx, form, start, inputs, axes, lengths[b]);
    [...(states as HostTensor[]), ...outputs.map((y) => padded(ctx, y, longest))].forEach((t, i) => {
      parts[i].push(reshaped(t, [1, ...t.dims]));
    });
  }
  return parts.map((list) => concatenate(ctx, list, 0));
}

const turns = (ctx: ReferenceContext): BodyRuns => (ctx.version < 9 ? scanBatches(ctx) : scan(ctx));

export const scanOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Scan',
    since: [8, 9, 11, 16, 19, 21, 23, 24, 25],
    inputs: [1, Number.POSITIVE_INFINITY],
    omittable: [0],
    outputs: [1, Number.POSITIVE_INFINITY],
    attributes: {
      body: 'graph',
      num_scan_inputs: 'int',
      directions: 'ints',
      scan_input_axes: 'ints',
      scan_input_directions: 'ints',
      scan_output_axes: 'ints',
      scan_output_directions: 'ints',
    },
    traits: ['control'],
    bodyInputs,
    infer,
    reference: (ctx) => runBodies(ctx, turns(ctx)),
    turns,
  }),
];

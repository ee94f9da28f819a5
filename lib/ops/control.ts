/** If and Loop. */

import { type Graph, tensorType, type ValueType } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, type HostValue, reshaped, tensor, toNumbers } from '../ir/tensor.ts';
import { mergeTypes, withoutShape } from './body-types.ts';
import { concatenate } from './concat.ts';
import { zerosForOutput } from './control-outputs.ts';
import {
  type BodyRuns,
  defineOp,
  type InferContext,
  type NodeReader,
  type OpDefinition,
  type ReferenceContext,
  runBodies,
} from './op.ts';

/** The truth of a one-element bool tensor. */
function truth(ctx: NodeReader, value: HostValue, what: string): boolean {
  if (value.kind !== 'tensor' || value.dtype !== 'bool' || sizeOf(value.dims) !== 1) {
    const got = value.kind === 'tensor' ? `${value.dtype} [${value.dims.join(',')}]` : value.kind;
    throw ctx.error(`${what} is ${got}, expected one bool`);
  }
  return toNumbers(value)[0] !== 0;
}

function inferIf(ctx: InferContext): (ValueType | undefined)[] {
  const branches = [ctx.graph('then_branch'), ctx.graph('else_branch')];
  for (const branch of branches) {
    if (branch.outputs.length < ctx.outputCount) {
      throw ctx.error(`the branch "${branch.name}" has ${branch.outputs.length} outputs, expected ${ctx.outputCount}`);
    }
  }
  const condition = ctx.constant(0);
  if (condition && sizeOf(condition.dims) === 1) {
    return branches[truth(ctx, condition, 'the condition') ? 0 : 1].outputs.map(({ type }) => type);
  }
  return branches[0].outputs.map(({ type }, i) => {
    const other = branches[1].outputs[i]?.type;
    return type && other && mergeTypes(type, other);
  });
}

function* branch(ctx: ReferenceContext): BodyRuns {
  const taken = truth(ctx, ctx.value(0), 'the condition');
  return yield { graph: ctx.graph(taken ? 'then_branch' : 'else_branch'), feeds: [] };
}

/** Number of loop-carried values: what the node has beside trip count and condition. */
function carriedCount(ctx: NodeReader, body: Graph): number {
  const count = body.inputs.length - 2;
  if (count < 0 || body.outputs.length < count + 1 || ctx.inputCount > count + 2) {
    throw ctx.error(
      `the body has ${body.inputs.length} inputs and ${body.outputs.length} outputs, ` +
        `which does not fit ${ctx.inputCount} inputs of the node`,
    );
  }
  return count;
}

function inferLoop(ctx: InferContext): (ValueType | undefined)[] {
  const body = ctx.graph('body');
  const carried = carriedCount(ctx, body);
  if (body.outputs.length <= ctx.outputCount) {
    throw ctx.error(`the body has ${body.outputs.length} outputs, expected a condition and ${ctx.outputCount} results`);
  }
  return body.outputs.slice(1).map(({ type }, i) => {
    const start = ctx.type(i + 2);
    // Without a turn the output is the start value.
    if (i < carried) return type && start && mergeTypes(start, type);
    if (type?.kind !== 'tensor') return undefined;
    return tensorType(type.dtype, type.shape && [null, ...type.shape]);
  });
}

function tripLimit(ctx: ReferenceContext): number {
  const limit = ctx.has(0) ? ctx.integers(0) : [Number.POSITIVE_INFINITY];
  if (limit.length !== 1) throw ctx.error(`the trip count has ${limit.length} elements, expected one`);
  return limit[0];
}

function* loop(ctx: ReferenceContext): BodyRuns {
  const body = ctx.graph('body');
  const count = carriedCount(ctx, body);
  const limit = tripLimit(ctx);
  let goesOn = ctx.has(1) ? truth(ctx, ctx.value(1), 'the condition') : true;
  let carried = Array.from({ length: count }, (_, i) => ctx.value(i + 2));
  const scans: HostTensor[][] = body.outputs.slice(count + 1).map(() => []);
  for (let turn = 0; turn < limit && goesOn; turn++) {
    const number = tensor('int64', [], BigInt64Array.of(BigInt(turn)));
    const results = yield { graph: body, feeds: [number, tensor('bool', [], Uint8Array.of(1)), ...carried] };
    goesOn = truth(ctx, results[0], "the body's condition");
    carried = results.slice(1, count + 1);
    scans.forEach((list, i) => {
      const value = results[count + 1 + i];
      if (value.kind !== 'tensor') throw ctx.error(`scan output ${i} is a ${value.kind}, expected a tensor`);
      list.push(reshaped(value, [1, ...value.dims]));
    });
  }
  const stacked = scans.map((list, i) =>
    list.length ? concatenate(ctx, list, 0) : zerosForOutput(ctx, body, count + 1 + i, (dims) => [0, ...dims]),
  );
  return [...carried, ...stacked];
}

const versions = [11, 13, 16, 19, 21, 23, 24, 25];

export const controlOps: readonly OpDefinition[] = [
  defineOp({
    name: 'If',
    since: [1, ...versions],
    inputs: [1, 1],
    outputs: [1, Number.POSITIVE_INFINITY],
    attributes: { then_branch: 'graph', else_branch: 'graph' },
    traits: ['control'],
    infer: inferIf,
    reference: (ctx) => runBodies(ctx, branch(ctx)),
    turns: branch,
  }),
  defineOp({
    name: 'Loop',
    since: [1, ...versions],
    inputs: [2, Number.POSITIVE_INFINITY],
    omittable: [0, 1],
    outputs: [1, Number.POSITIVE_INFINITY],
    attributes: { body: 'graph' },
    traits: ['control'],
    bodyInputs: (ctx) => {
      const carried = Array.from({ length: Math.max(ctx.inputCount - 2, 0) }, (_, i) => withoutShape(ctx.type(i + 2)));
      return [tensorType('int64', []), tensorType('bool', []), ...carried];
    },
    infer: inferLoop,
    reference: (ctx) => runBodies(ctx, loop(ctx)),
    turns: loop,
  }),
];

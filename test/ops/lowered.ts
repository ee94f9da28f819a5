/** Runs single operators through the planner and the engine, and compares them with their references. */

import { expect } from 'vitest';
import { dtypeInfo } from '../../lib/ir/dtype.ts';
import { type Graph, makeConstant, type Node, type Value } from '../../lib/ir/graph.ts';
import { type HostTensor, type HostValue, toParts } from '../../lib/ir/tensor.ts';
import { runNode } from '../../lib/ops/interpret.ts';
import { PlanMemory } from '../../lib/plan/stage.ts';
import { driveSync } from '../../lib/runtime/driver.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { Program } from '../../lib/runtime/program.ts';
import { Weights } from '../../lib/runtime/weights.ts';
import { makeNode } from './node.ts';

/** One node on its inputs. */
export interface LoweredCase {
  readonly op: string;
  readonly version?: number;
  readonly domain?: string;
  readonly inputs: readonly (HostTensor | null)[];
  readonly attributes?: Parameters<typeof makeNode>[3];
  readonly outputs?: number;
  /** Outputs that the node omits. */
  readonly omitted?: readonly number[];
  /** Inputs that are constants of the model. */
  readonly constant?: readonly number[];
  /** Tolerated difference, relative to the greater of 1 and the value. */
  readonly bound?: number;
}

/** What the engine computes, and why nodes ran on their reference. */
export interface Lowered {
  readonly results: HostValue[];
  readonly reasons: string[];
  /** Kernels of the steps. */
  readonly kernels: string[];
}

function nodeOf(c: LoweredCase): Node {
  const present = c.inputs.map((input) => input !== null);
  const node = makeNode(c.op, c.version ?? 21, present, c.attributes, c.outputs);
  const outputs = node.outputs.map((output, i) => (c.omitted?.includes(i) ? null : output));
  return { ...node, outputs, domain: c.domain ?? '' };
}

/** Runs a case natively on `threads` threads. */
export function runLowered(c: LoweredCase, threads = 2): Lowered {
  const node = nodeOf(c);
  const bindings = new Map<Value, HostValue>();
  node.inputs = node.inputs.map((value, i) => {
    const content = c.inputs[i];
    if (!value || !content) return null;
    if (c.constant?.includes(i)) return makeConstant(value.name, content);
    bindings.set(value, content);
    return value;
  });
  for (const output of node.outputs) if (output) output.producer = node;
  const outputs = node.outputs.filter((value) => value !== null);
  return runGraph({ name: 'g', inputs: [...bindings.keys()], outputs, nodes: [node], captures: [] }, bindings, threads);
}

/** Runs a graph natively on `threads` threads. */
export function runGraph(graph: Graph, bindings: ReadonlyMap<Value, HostValue>, threads = 2, l2 = 2 ** 21): Lowered {
  const machine = thisMachine();
  const weights = new Weights(machine);
  const { kernels, jit, vectorLanes } = machine;
  const plan = { kernels, threads, vectorLanes, l2, jit, sparse: true, bf16: false, memoryLimit: 2 ** 34 };
  const program = new Program(graph, { plan, weights, planMemory: new PlanMemory(), planLimit: 4 }, (body) =>
    driveSync(body, { threads, priority: 0 }),
  );
  try {
    const results = driveSync(program.execute(bindings), { threads, priority: 0 });
    const sections = program.stages.flatMap((stage) => stage.sections);
    const reasons = sections.flatMap((s) => (s.kind === 'reference' ? [s.reason] : []));
    const kernels = sections.flatMap((s) => (s.kind === 'native' ? s.plan.steps.map((step) => step.kernel) : []));
    return { results, reasons, kernels };
  } finally {
    weights.dispose();
  }
}

function compare(got: HostValue, want: HostValue, bound: number): void {
  if (got.kind !== 'tensor' || want.kind !== 'tensor') throw new Error('not a tensor');
  expect(got.dtype).toBe(want.dtype);
  expect(got.dims).toEqual(want.dims);
  if (dtypeInfo(got.dtype).kind !== 'float') {
    expect(got.data).toEqual(want.data);
    return;
  }
  const [a, b] = [toParts(got), toParts(want)];
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i]) || a[i] === b[i]) continue;
    const off = Math.abs(a[i] - b[i]);
    expect(off, `element ${i} is ${a[i]}, not ${b[i]}`).toBeLessThanOrEqual(bound * Math.max(1, Math.abs(b[i])));
  }
}

const bounds: Readonly<Record<string, number>> = { float16: 2e-3, bfloat16: 1.6e-2, float64: 1e-12 };

/** Expects a case to run on kernels alone, with the reference's results. */
export function checkLowered(c: LoweredCase, threads?: number): void {
  const { results, reasons } = runLowered(c, threads);
  expect(reasons, c.op).toEqual([]);
  const want = runNode(nodeOf(c), c.inputs).filter((_, i) => !c.omitted?.includes(i));
  const dtype = c.inputs.find((input) => input !== null)?.dtype ?? 'float32';
  results.forEach((result, i) => {
    compare(result, want[i], c.bound ?? bounds[dtype] ?? 3e-6);
  });
}

/** Runs passes in tests: on graphs loaded from written models, comparing references before and after. */

import { expect } from 'vitest';
import type { Graph } from '../../../lib/ir/graph.ts';
import { isConcrete, sizeOf } from '../../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../../../lib/ir/tensor.ts';
import { verifyGraph } from '../../../lib/ir/verify.ts';
import { loadModel } from '../../../lib/onnx/load.ts';
import { inferTypes } from '../../../lib/ops/infer.ts';
import { interpret } from '../../../lib/ops/interpret.ts';
import { deadCode } from '../../../lib/passes/dead-code.ts';
import type { Pass } from '../../../lib/passes/pass.ts';
import { model } from '../../models/onnx-writer.ts';

/** Numbers that look random and repeat: in (-1, 1). */
export function noise(count: number, seed = 1): number[] {
  return Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 * seed + seed) * 0.9);
}

/** Feeds for inputs of concrete shapes. */
function feedsOf(graph: Graph): HostTensor[] {
  return graph.inputs.map(({ type }, i) => {
    if (type?.kind !== 'tensor' || !isConcrete(type.shape)) throw new Error('give feeds for symbolic inputs');
    return fromNumbers(type.dtype, type.shape, noise(sizeOf(type.shape), i + 1));
  });
}

const numbers = (value: HostValue): Float64Array => toNumbers(value as HostTensor);

/** Applies passes, and dead code after each, to a model; the outputs must stay within `tolerance`. */
export function rewrite(
  parts: Parameters<typeof model>[0],
  passes: readonly Pass[],
  options: { feeds?: readonly HostTensor[]; tolerance?: number } = {},
): { graph: Graph; ops: string[] } {
  const { graph } = loadModel(model(parts));
  const feeds = options.feeds ?? feedsOf(graph);
  const before = interpret(graph, feeds);
  for (const pass of passes) {
    pass.run(graph);
    verifyGraph(graph);
    deadCode.run(graph);
    verifyGraph(graph);
    inferTypes(graph);
  }
  const after = interpret(graph, feeds);
  before.forEach((value, i) => {
    expect((after[i] as HostTensor).dims).toEqual((value as HostTensor).dims);
    const [got, want] = [numbers(after[i]), numbers(value)];
    want.forEach((x, k) => {
      if (!Object.is(got[k], x))
        expect(Math.abs(got[k] - x), `element ${k}`).toBeLessThanOrEqual(options.tolerance ?? 1e-5);
    });
  });
  return { graph, ops: graph.nodes.map((node) => (node.domain ? `${node.domain}.${node.op}` : node.op)) };
}

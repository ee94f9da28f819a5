/** Plans where executable memory is not allowed. */

import { expect, test } from 'vitest';
import { type Graph, makeConstant, makeValue, type Node } from '../../lib/ir/graph.ts';
import { fromNumbers } from '../../lib/ir/tensor.ts';
import { PlanMemory, planStage, wholeGraph } from '../../lib/plan/stage.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';

/** Kernels of x [rows, 64] times a matrix of whose every ten weights `nonzeros` are not zero. */
function kernelsFor(rows: number, jit: boolean, nonzeros = 1, vectorLanes = thisMachine().vectorLanes): string[] {
  const weights = Array.from({ length: 64 * 64 }, (_, i) => (i % 10 < nonzeros ? 0.5 : 0));
  const [x, y] = [makeValue('x'), makeValue('y')];
  const inputs = [x, makeConstant('w', fromNumbers('float32', [64, 64], weights))];
  const product: Node = {
    ...{ name: 'product', op: 'MatMul', domain: '', version: 17, inputs, outputs: [y], captures: [] },
    attributes: new Map(),
  };
  y.producer = product;
  const graph: Graph = { name: 'g', inputs: [x], outputs: [y], nodes: [product], captures: [] };
  const { kernels, memory } = thisMachine();
  const context = {
    kernels,
    threads: 1,
    vectorLanes,
    l2: 2 ** 21,
    jit,
    sparse: true,
    bf16: false,
    memoryLimit: memory,
  };
  const typed = new Map([[x, { kind: 'tensor', dtype: 'float32', dims: [rows, 64] } as const]]);
  const planning = planStage(wholeGraph(graph), typed, context, new PlanMemory());
  for (;;) {
    const { done, value } = planning.next();
    if (!done) continue;
    return value.sections.flatMap((section) =>
      section.kind === 'native' ? section.plan.steps.map(({ kernel }) => kernel) : ['reference'],
    );
  }
}

test('few rows are multiplied nonzero by nonzero, which takes no code', () => {
  expect(kernelsFor(1, false)).toEqual(kernelsFor(1, true));
  expect(kernelsFor(1, false)).toContain('matmul.sparse.f32');
});

test('many rows take no kernel that generates code', () => {
  expect(kernelsFor(64, false).join()).not.toContain('conv.segments.sparse.');
});

test.each([
  [8, 4, true],
  [8, 6, false],
  [16, 2, true],
  [16, 4, false],
])('vectors of %i floats: %i of ten weights are packed: %s', (lanes, nonzeros, packed) => {
  expect(kernelsFor(64, false, nonzeros, lanes).includes('conv.segments.packed.f32')).toBe(packed);
});

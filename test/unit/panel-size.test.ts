import { expect, test } from 'vitest';
import { type Graph, makeConstant, makeValue, type Node, tensorType, type Value } from '../../lib/ir/graph.ts';
import { fromNumbers } from '../../lib/ir/tensor.ts';
import type { PlanContext } from '../../lib/plan/part.ts';
import { PlanMemory, planStage, type Stage, wholeGraph } from '../../lib/plan/stage.ts';
import { type Machine, thisMachine } from '../../lib/runtime/machine.ts';
import { cheapestPanel, PANEL_SIZES } from '../../lib/runtime/panel-size.ts';

/** `ops` one after the other, with other inputs for each. */
function chain(ops: readonly (readonly [string, ...Value[]])[]): Graph {
  const x = makeValue('x');
  const nodes: Node[] = [];
  let last = x;
  for (const [op, ...others] of ops) {
    const y = makeValue(`y${nodes.length}`);
    const node = { name: y.name, op, domain: '', version: 17, inputs: [last, ...others], outputs: [y], captures: [] };
    y.producer = { ...node, attributes: new Map() };
    nodes.push(y.producer);
    last = y;
  }
  return { name: 'g', inputs: [x], outputs: [last], nodes, captures: [] };
}

function weights(rows: number, columns: number): Value {
  const data = new Float32Array(rows * columns).fill(0.5);
  return makeConstant('w', fromNumbers('float32', [rows, columns], data));
}

/** Plans of a graph for items of these dimensions, of every size. */
function stagesOf(graph: Graph, item: readonly number[]): Stage[] {
  const { kernels, jit, vectorLanes, memory } = thisMachine();
  const context: PlanContext = {
    kernels,
    threads: 1,
    vectorLanes,
    l2: 2 ** 21,
    jit,
    sparse: true,
    bf16: false,
    memoryLimit: memory,
  };
  graph.inputs[0].type = tensorType('float32', ['N', ...item]);
  return PANEL_SIZES.map((size) => {
    const typed = new Map([[graph.inputs[0], { kind: 'tensor', dtype: 'float32', dims: [size, ...item] } as const]]);
    const planning = planStage(wholeGraph(graph), typed, context, new PlanMemory());
    for (;;) {
      const step = planning.next();
      if (step.done) return step.value;
    }
  });
}

const machine = (l2: number): Machine => ({ ...thisMachine(), l2 });

test('items whose maps leave the cache together go one by one', () => {
  const stages = stagesOf(chain([['Sigmoid'], ['Sigmoid'], ['Sigmoid']]), [64, 64]);
  // 16 KiB in and out, of an item.
  expect(cheapestPanel(stages, machine(32 << 10))).toBe(1);
});

test('weights that every item needs are read for several', () => {
  const stages = stagesOf(chain([['MatMul', weights(512, 512)]]), [512]);
  expect(cheapestPanel(stages, machine(1 << 20))).toBe(8);
});

test('where the cache holds few items, weights are read more often', () => {
  const stages = stagesOf(chain([['MatMul', weights(64, 64)], ['Sigmoid'], ['Sigmoid']]), [256, 64]);
  expect(cheapestPanel(stages, machine(64 << 10))).toBe(1);
});

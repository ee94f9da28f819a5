import { expect, test } from 'vitest';
import { type Graph, makeConstant, makeValue, type Node, tensorType, type Value } from '../../lib/ir/graph.ts';
import { fromNumbers } from '../../lib/ir/tensor.ts';
import type { PlanContext } from '../../lib/plan/part.ts';
import { PlanMemory, planStage, type Stage, wholeGraph } from '../../lib/plan/stage.ts';
import { type Machine, thisMachine } from '../../lib/runtime/machine.ts';
import { cheapestPanel, panelSize, panelSizes } from '../../lib/runtime/panel-size.ts';

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
  return panelSizes(false).map((size) => {
    const typed = new Map([[graph.inputs[0], { kind: 'tensor', dtype: 'float32', dims: [size, ...item] } as const]]);
    const planning = planStage(wholeGraph(graph), typed, context, new PlanMemory());
    for (;;) {
      const step = planning.next();
      if (step.done) return step.value;
    }
  });
}

const machine = (l2: number, l3 = 2 ** 30): Machine => ({ ...thisMachine(), l2, l3, spill: 0.03 });

test('items whose maps leave the cache together go one by one', () => {
  const stages = stagesOf(chain([['Sigmoid'], ['Sigmoid'], ['Sigmoid']]), [64, 64]);
  // 16 KiB in and out, of an item.
  expect(cheapestPanel(stages, machine(32 << 10), 1).size).toBe(1);
});

test('so do those that leave the last cache together, of which each thread has its share', () => {
  const stages = stagesOf(chain([['MatMul', weights(64, 64)], ['Sigmoid'], ['Sigmoid']]), [256, 64]);
  const [wide, narrow] = [1, 64].map((threads) => cheapestPanel(stages, machine(2 ** 10, 16 << 20), threads));
  expect(wide.size).toBeGreaterThan(1);
  expect(narrow.size).toBe(1);
  expect(narrow.cost).toBeGreaterThanOrEqual(wide.cost);
});

test('weights that every item needs are read for several', () => {
  const stages = stagesOf(chain([['MatMul', weights(512, 512)]]), [512]);
  expect(cheapestPanel(stages, machine(1 << 20), 1).size).toBeGreaterThan(1);
});

test('where the cache holds few items, weights are read more often', () => {
  const stages = stagesOf(chain([['MatMul', weights(64, 64)], ['Sigmoid'], ['Sigmoid']]), [256, 64]);
  expect(cheapestPanel(stages, machine(64 << 10), 1).size).toBe(1);
});

test('small items go in panels that are worth a run', () => {
  const stages = stagesOf(chain([['Sigmoid']]), [16]);
  const { cost } = cheapestPanel(stages, machine(1 << 20), 1);
  const size = panelSize(stages, machine(1 << 20), 1);
  expect(size).toBeGreaterThan(8);
  expect(size * cost).toBeGreaterThanOrEqual(1e5);
});

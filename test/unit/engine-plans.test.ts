/** What the plan decoder refuses. */

import { describe, expect, test } from 'vitest';
import { native } from '../../lib/runtime/native.ts';
import { copyPlan, type PlanNumbers } from './plan-numbers.ts';

const engine = native();
const load = (plan: PlanNumbers, numbers = plan.encode()) => engine.plan(plan.isa, numbers, []);

function broken(change: (plan: PlanNumbers) => void): () => unknown {
  const plan = copyPlan(100);
  change(plan);
  return () => load(plan);
}

const packer = engine.kernels(engine.isa()).findIndex((kernel) => kernel.packer);

const cases: [string, RegExp, () => unknown][] = [
  [
    'buffer past its input',
    /instruction 0 \(copy.bytes\): buffer 0 leaves its 100 bytes/,
    broken((p) => (p.buffers[0]![2] = 1)),
  ],
  ['buffer past the arena', /buffer 1 leaves its 99 bytes/, broken((p) => (p.arenaBytes = 99))],
  ['negative offset', /buffer offset/, broken((p) => (p.buffers[0]![2] = -1))],
  ['fraction', /buffer offset at number \d+ is 0.5/, broken((p) => (p.buffers[0]![2] = 0.5))],
  ['NaN', /buffer bytes/, broken((p) => (p.buffers[0]![3] = Number.NaN))],
  ['infinity', /arenaBytes/, broken((p) => (p.arenaBytes = Number.POSITIVE_INFINITY))],
  ['input index', /buffer index/, broken((p) => (p.buffers[0]![1] = 1))],
  ['buffer kind', /buffer kind/, broken((p) => (p.buffers[0]![0] = 4))],
  ['written input', /operand y would write to an input/, broken((p) => (p.instructions[0]![4] = 0))],
  ['unknown buffer', /operand at number/, broken((p) => (p.instructions[0]![3] = 3))],
  ['omitted operand', /operand x is omitted/, broken((p) => (p.instructions[0]![3] = -1))],
  ['unknown kernel', /kernel at number/, broken((p) => (p.instructions[0]![1] = 1e6))],
  ['packer', /is a packer/, broken((p) => (p.instructions[0]![1] = packer))],
  ['operand count', /takes 2 operands, got 1/, broken((p) => p.instructions[0]!.splice(2, 2, 1))],
  ['kernel check', /y holds fewer/, broken((p) => (p.buffers[1]![3] = 99))],
  ['parameter count', /fewer parameters/, broken((p) => p.instructions[0]!.splice(5, 2, 0))],
  ['missing constants', /1 constants announced, 0 given/, broken((p) => (p.constants = 1))],
  ['END alone', /instruction 2: END without LOOP/, broken((p) => p.instructions.push([3]))],
  ['LOOP alone', /LOOP without END/, broken((p) => p.instructions.push([2, 1, 0]))],
  ['loop count', /loop count/, broken((p) => p.instructions.push([2, -1, 0], [3]))],
  ['deep loops', /nest more than 3/, broken((p) => p.instructions.push(...Array.from({ length: 4 }, () => [2, 1, 0])))],
  ['inner parallel loop', /parallel loop inside/, broken((p) => p.instructions.push([2, 1, 0], [2, 1, 1]))],
  ['instruction kind', /instruction kind/, broken((p) => p.instructions.push([4]))],
  [
    'stride out of the base',
    /buffer 0 leaves/,
    broken((p) => {
      p.buffers[0]![4] = 1;
      p.instructions.splice(0, 0, [2, 2, 0]);
      p.instructions.push([3]);
    }),
  ],
  [
    'overflowing stride',
    /buffer 0 leaves/,
    broken((p) => {
      p.buffers[0]![4] = 2 ** 48;
      p.instructions.splice(0, 0, [2, 2 ** 31, 0]);
      p.instructions.push([3]);
    }),
  ],
  [
    'negative stride',
    /buffer 2 leaves/,
    broken((p) => {
      p.buffers[2]![4] = -1;
      p.instructions.splice(0, 0, [2, 2, 0]);
      p.instructions.push([3]);
    }),
  ],
  [
    'arena inside and outside',
    /both inside and outside/,
    broken((p) => {
      p.instructions.splice(1, 0, [2, 2, 1]);
      p.instructions.push([3]);
    }),
  ],
];

test.each(cases)('%s', (_, message, call) => {
  expect(call).toThrow(message);
  expect(call).toThrow(expect.objectContaining({ code: 'ERR_INTERNAL' }));
});

describe('numbers', () => {
  const numbers = copyPlan(100).encode();

  test('cut short anywhere, or too long', () => {
    for (let n = 0; n < numbers.length; n++) expect(() => load(copyPlan(100), numbers.slice(0, n))).toThrow(/plan/);
    expect(() => load(copyPlan(100), Float64Array.of(...numbers, 0))).toThrow(/1 numbers too many/);
  });

  test('of another kind', () => {
    expect(() => engine.plan(engine.isa(), new Float32Array(8) as never, [])).toThrow(/Float64Array/);
    expect(() => engine.plan(engine.isa(), undefined as never, [])).toThrow(/Float64Array/);
    expect(() => engine.plan(engine.isa(), numbers, [{} as never])).toThrow(/expected a blob/);
  });

  test('announcing more than there is', () => {
    for (let i = 0; i < 8; i++) {
      for (const value of [2 ** 46, 2 ** 53, -1, 1e300]) {
        const changed = numbers.slice();
        changed[i] = value;
        expect(() => load(copyPlan(100), changed)).toThrow(/plan/);
      }
    }
  });
});

test('an arena above the limit is refused', () => {
  const plan = copyPlan(100);
  expect(() => engine.plan(plan.isa, plan.encode(), [], { maxArenaBytes: 99 })).toThrow(/more than the 99 allowed/);
  plan.arenaBytes = 2 ** 47;
  expect(() => load(plan)).toThrow(/allowed/);
});

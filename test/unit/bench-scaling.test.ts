import { describe, expect, it } from 'vitest';
import {
  barrierGrowth,
  latencyOf,
  listSchedule,
  type Step,
  threadsFor,
  throughputOf,
  type Work,
} from '../../bench/scaling/simulate.ts';
import type { Node } from '../../lib/ir/graph.ts';
import { PlanBuilder } from '../../lib/plan/builder.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { native } from '../../lib/runtime/native.ts';

const step = (ns: number, units: number, more: Partial<Step> = {}): Step => ({
  ...{ name: 'step', ns, units, constantBytes: 0, dataBytes: 0 },
  ...more,
});
const workOf = (steps: readonly Step[], more: Partial<Work> = {}): Work => ({
  ...{ steps, serialNs: 0, packedBytes: 0 },
  ...more,
});
const target = { bandwidth: 10, cacheBytes: 1e6, coreCacheBytes: 1e4, barrier: barrierGrowth('linear', 300) };

describe('simulated latency', () => {
  const work = workOf([step(100_000, 4), step(90_000, 3), step(1000, 8), step(50_000, 1)], { serialNs: 2000 });

  it('of one core is the sum', () => {
    expect(latencyOf(work, 1, target).ns).toBe(243_000);
  });

  it('of two cores halves what has an even number of units', () => {
    const two = latencyOf(work, 2, target);
    // 4 units: 50 us. 3 units of 30 us: 60. The small step and the one unit stay with the leader. Two barriers.
    expect(two.ns).toBe(50_000 + 60_000 + 1000 + 50_000 + 2000 + 2 * 300);
    expect(two).toMatchObject({ workNs: 95_000, serialNs: 53_000, unevenNs: 15_000, barrierNs: 600, memoryNs: 0 });
  });

  it('stops improving at the number of units', () => {
    const free = { ...target, barrier: () => 0 };
    expect(latencyOf(work, 64, free).ns).toBe(25_000 + 30_000 + 53_000);
  });

  it('is bounded by memory where the cache does not hold the operands', () => {
    const weights = step(100_000, 100, { constantBytes: 800_000, dataBytes: 50_000 });
    const fits = workOf([weights], { packedBytes: 900_000 });
    expect(latencyOf(fits, 2, target).ns).toBe(50_300);
    const large = { ...fits, packedBytes: 1.1e6 };
    expect(latencyOf(large, 2, target)).toMatchObject({ ns: 80_300, memoryNs: 30_000 });
    const maps = workOf([step(100_000, 100, { dataBytes: 1.2e6 })]);
    expect(latencyOf(maps, 2, target).ns).toBe(120_300);
    expect(latencyOf(maps, 2, { ...target, coreCacheBytes: 1.2e6 }).ns).toBe(50_300);
  });

  it('deals unequal units to whoever is free first', () => {
    expect(listSchedule([5, 3, 3, 1], 2)).toBe(6);
    expect(listSchedule([1, 1, 1, 9], 2)).toBe(10);
    expect(listSchedule([], 3)).toBe(0);
    const uneven = step(120_000, 4, { weights: [5, 3, 3, 1] });
    expect(latencyOf(workOf([uneven]), 2, target).ns).toBe(60_300);
    expect(latencyOf(workOf([uneven]), 4, target).ns).toBe(50_000 + 900);
  });
});

describe('simulated throughput', () => {
  it('grows with the cores until memory is full', () => {
    const work = workOf([step(100_000, 4, { dataBytes: 200_000 })]);
    expect(throughputOf(work, 1, target)).toMatchObject({ runs: 10_000, limit: 'cores' });
    expect(throughputOf(work, 2, target)).toMatchObject({ runs: 20_000, limit: 'cores' });
    expect(throughputOf(work, 5, target)).toEqual({ runs: 50_000, streams: 5, limit: 'cores' });
    // With eight runs the caches no longer hold the operands, which memory has to deliver.
    const at = (bandwidth: number) => throughputOf(work, 8, { ...target, bandwidth });
    expect(at(15)).toEqual({ runs: 75_000, streams: 8, limit: 'memory' });
    expect(at(8)).toEqual({ runs: 50_000, streams: 5, limit: 'memory' });
  });
});

describe('threads of a step', () => {
  const none: Node = {
    ...{ name: 'n', op: '', domain: '', version: 1, inputs: [], outputs: [], captures: [] },
    attributes: new Map(),
  };

  it('are those the engine decides on', () => {
    const { isa, kernels } = thisMachine();
    const addon = native();
    for (const [units, rounds] of [
      [1, 100_000],
      [4, 499],
      [4, 500],
      [4, 3000],
      [64, 499],
      [64, 40],
      [64, 6000],
    ] as const) {
      const builder = new PlanBuilder(kernels);
      const types = [{ dtype: 'float32' as const, dims: [], buffer: builder.output(64 * units) }];
      builder.step(none, 'measure.fma.f32', types, { rounds });
      const plan = addon.plan(isa, builder.finish().numbers, []);
      const info = addon.planInfo(plan);
      expect(threadsFor(info.costs[0]!, info.units[0]!, 1024), `${units} units, ${rounds} rounds`).toBe(info.threads);
      addon.release(plan);
    }
  });

  it('never exceed the cores', () => {
    expect(threadsFor(1e6, 100, 8)).toBe(8);
    expect(threadsFor(3999, 100, 8)).toBe(1);
  });
});

describe('growth of barriers', () => {
  it('starts from that of two threads', () => {
    expect([2, 4, 64].map(barrierGrowth('linear', 100))).toEqual([100, 300, 6300]);
    expect([2, 4, 64].map(barrierGrowth('logarithmic', 100))).toEqual([100, 200, 600]);
  });
});

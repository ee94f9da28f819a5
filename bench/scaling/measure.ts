/** Measures on this machine what the simulation of larger ones needs. */

import type { Node } from '../../lib/ir/graph.ts';
import type { HostValue } from '../../lib/ir/tensor.ts';
import { PlanBuilder } from '../../lib/plan/builder.ts';
import type { CompiledModel } from '../../lib/runtime/compiled.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { native } from '../../lib/runtime/native.ts';
import { least, median } from '../report/statistics.ts';
import type { Step, Work } from './simulate.ts';

const none: Node = {
  ...{ name: 'measurement', op: '', domain: '', version: 1, inputs: [], outputs: [], captures: [] },
  attributes: new Map(),
};

const BARRIER_STEPS = 100;
/** Multiply-adds of a unit: enough that every thread is given one. */
const BARRIER_ROUNDS = 6000;

/** Nanoseconds of a step with a unit a thread: the median of the best of `repeats` runs. */
function stepsTime(threads: number, repeats: number): number {
  const { isa, kernels } = thisMachine();
  const addon = native();
  const builder = new PlanBuilder(kernels);
  const output = builder.output(64 * threads);
  const types = [{ dtype: 'float32' as const, dims: [], buffer: output }];
  for (let i = 0; i < BARRIER_STEPS; i++) builder.step(none, 'measure.fma.f32', types, { rounds: BARRIER_ROUNDS });
  const plan = addon.plan(isa, builder.finish().numbers, []);
  const result = new Float32Array(16 * threads);
  const profile = new Float64Array(2 * BARRIER_STEPS);
  const medians: number[] = [];
  for (let i = 0; i < repeats; i++) {
    addon.runSync(plan, [], [result], { threads, profile });
    // The first steps run before all threads have joined.
    const late = profile.subarray(BARRIER_STEPS);
    medians.push(median([...late].filter((_, at) => at % 2 === 1)));
  }
  addon.release(plan);
  return least(medians);
}

/** Nanoseconds that sharing a step among `threads` threads costs beside its work. */
export function measureBarrier(threads: number): number {
  return Math.max(0, stepsTime(threads, 200) - stepsTime(1, 50));
}

interface Recorded extends Omit<Step, 'ns'> {
  readonly times: number[];
}

/** Runs a model compiled for one thread `runs` times, and takes the least time of each step and of what lies between. */
export function measureWork(compiled: CompiledModel, feeds: readonly (HostValue | undefined)[], runs: number): Work {
  const recorded: Recorded[] = [];
  let at = 0;
  let serialNs = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs; run++) {
    at = 0;
    let sum = 0;
    const start = performance.now();
    compiled.runSync(feeds, {
      onProfile: ({ section, plan }, times) => {
        const info = native().planInfo(plan);
        section.plan.steps.forEach(({ node, kernel }, i) => {
          const ns = times[2 * i + 1]!;
          sum += ns;
          recorded[at] ??= {
            name: `${node.name} ${kernel}`,
            units: info.units[i]!,
            estimate: info.costs[i]!,
            constantBytes: info.constantBytes[i]!,
            dataBytes: info.dataBytes[i]!,
            times: [],
          };
          recorded[at++]!.times.push(ns);
        });
      },
    });
    serialNs = Math.min(serialNs, Math.max(0, (performance.now() - start) * 1e6 - sum));
  }
  const steps = recorded.map(({ times, ...rest }): Step => ({ ...rest, ns: least(times) }));
  return { steps, serialNs, packedBytes: compiled.packedBytes };
}

/** Least milliseconds of runs one after the other. */
export function measureLatency(
  compiled: CompiledModel,
  feeds: readonly (HostValue | undefined)[],
  seconds: number,
): number {
  const times: number[] = [];
  for (const end = performance.now() + seconds * 1000; times.length < 5 || performance.now() < end; ) {
    const start = performance.now();
    compiled.runSync(feeds);
    times.push(performance.now() - start);
  }
  return least(times);
}

/** Runs a second of `streams` runs at once, of a model compiled for one thread. */
export async function measureThroughput(
  compiled: CompiledModel,
  feeds: readonly (HostValue | undefined)[],
  streams: number,
  seconds: number,
): Promise<number> {
  let count = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  const stream = async (): Promise<void> => {
    do {
      await compiled.run(feeds);
      count++;
    } while (performance.now() < end);
  };
  await Promise.all(Array.from({ length: streams }, stream));
  return (count * 1000) / (performance.now() - start);
}

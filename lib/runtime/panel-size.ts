/** How many items of a batch one thread takes at a time, by what plans for a few sizes would cost. */

import { dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { EncodedPlan } from '../plan/builder.ts';
import type { NativeSection, Stage } from '../plan/stage.ts';
import { densityOf } from '../sparse/density.ts';
import type { Machine } from './machine.ts';
import { native } from './native.ts';

/** Items that runs of all threads together take of a network of bytes: a lane each. */
export const JOINT_PANEL = 16;
const SIZES = [1, 2, 4, 8, JOINT_PANEL] as const;

/** Nanoseconds for a byte that leaves the caches a few cores share between two steps. */
const DROP = 0.024;
/** Nanoseconds for a byte of generated code, most of whose way is hidden behind arithmetic. */
const FETCH = 0.015;
/** Code and weight of a nonzero in generated code. */
const BYTES_PER_NONZERO = 15;
/** Nanoseconds of a panel that are not worth a run of their own: what starting one takes, several times over. */
const LEAST_PANEL = 100_000;

/** The sizes that are weighed for a network, of bytes or not. */
export function panelSizes(bytes: boolean): readonly number[] {
  return bytes ? SIZES : SIZES.slice(0, -1);
}

/** Bytes of packed weights, of generated code or not. */
function weightBytes({ constants }: EncodedPlan, code: boolean): number {
  return constants.reduce((sum, source) => {
    if (source.kind === 'tensor' || source.packer.includes('.sparse.') !== code) return sum;
    return sum + source.sources.reduce((own, each) => own + (each ? sizeOf(each.dims) * bytesPerWeight(each) : 0), 0);
  }, 0);
}

function bytesPerWeight(tensor: HostTensor): number {
  const dense = dtypeInfo(tensor.dtype).bits / 8;
  return Math.min(dense, densityOf(tensor) * BYTES_PER_NONZERO);
}

/** Bytes of activations of each step; steps of one node share them where it runs a block of channels at a time. */
function dataBytes({ steps }: EncodedPlan, bytes: Float64Array): Float64Array {
  const keys = steps.map(({ kernel, node }) => `${kernel}|${node.name}`);
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return bytes.map((each, i) => each / (counts.get(keys[i]) ?? 1));
}

/** Bytes that a cache of `size` does not hold: none up to its size, and from twice that on all of them. */
function beyond(bytes: Float64Array, size: number): number {
  return bytes.reduce((sum, each) => sum + each * Math.min(1, Math.max(0, each / size - 1)), 0);
}

/** Nanoseconds of a run of a stage on one core while `threads` cores do the like, as far as the plan tells. */
function costOf(stage: Stage, { isa, l2, l3, spill }: Machine, threads: number): number {
  const sections = stage.sections.filter((section): section is NativeSection => section.kind === 'native');
  return sections.reduce((sum, { plan }) => {
    const numbers = Float64Array.from(plan.numbers);
    for (const { at } of plan.packedSizes) numbers[at] = 2 ** 40;
    const info = native().estimatePlan(isa, numbers, plan.constants.length);
    const arithmetic = info.costs.reduce((total, cost) => total + cost, 0);
    const data = dataBytes(plan, info.dataBytes);
    // The processor reads streams ahead: they take what arithmetic does not hide.
    const streams = Math.max(0, DROP * weightBytes(plan, false) - arithmetic);
    const weights = FETCH * weightBytes(plan, true) + streams;
    // Half of a core's share of the last cache is for what is not a step's own.
    const dropped = beyond(data, Math.max(l2, l3 / threads / 2));
    return sum + arithmetic + spill * beyond(data, l2) + DROP * dropped + weights;
  }, 0);
}

/** The size whose items cost least, and the nanoseconds of each; `stages` are plans for the first of {@link panelSizes}. */
export function cheapestPanel(
  stages: readonly Stage[],
  machine: Machine,
  threads: number,
): { size: number; cost: number } {
  let best = { size: 1, cost: Number.POSITIVE_INFINITY };
  stages.forEach((stage, i) => {
    const cost = costOf(stage, machine, threads) / SIZES[i];
    if (cost < best.cost) best = { size: SIZES[i], cost };
  });
  return best;
}

/** The same, of as many items as are worth a run. */
export function panelSize(stages: readonly Stage[], machine: Machine, threads: number): number {
  const { size, cost } = cheapestPanel(stages, machine, threads);
  return Math.max(size, Math.ceil(LEAST_PANEL / Math.max(cost, 1)));
}

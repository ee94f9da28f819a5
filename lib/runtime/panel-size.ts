/** How many items of a batch one thread takes at a time, by what plans for a few sizes would cost. */

import { dtypeInfo } from '../ir/dtype.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { EncodedPlan } from '../plan/builder.ts';
import type { NativeSection, Stage } from '../plan/stage.ts';
import { densityOf } from '../sparse/density.ts';
import type { Machine } from './machine.ts';
import { native } from './native.ts';

/** The sizes that are weighed. */
export const PANEL_SIZES = [1, 2, 4, 8] as const;

/** Nanoseconds for a byte that leaves the second-level cache between two steps. */
const SPILL = 0.03;
/** Nanoseconds for a byte of weights, most of whose way is hidden behind arithmetic. */
const FETCH = 0.015;
/** Code and weight of a nonzero in generated code. */
const BYTES_PER_NONZERO = 15;

/** Bytes of weights that a run reads. */
function weightBytes(plan: EncodedPlan): number {
  let bytes = 0;
  for (const source of plan.constants) {
    const tensors = source.kind === 'tensor' ? [source.tensor] : source.sources;
    for (const each of tensors) if (each) bytes += sizeOf(each.dims) * bytesPerWeight(each);
  }
  return bytes;
}

function bytesPerWeight(tensor: HostTensor): number {
  const dense = dtypeInfo(tensor.dtype).bits / 8;
  return Math.min(dense, densityOf(tensor) * BYTES_PER_NONZERO);
}

/** Nanoseconds of a run of a stage on one core, as far as the plan tells. */
function costOf(stage: Stage, { isa, l2 }: Machine): number {
  const sections = stage.sections.filter((section): section is NativeSection => section.kind === 'native');
  return sections.reduce((sum, { plan }) => {
    const numbers = Float64Array.from(plan.numbers);
    for (const { at } of plan.packedSizes) numbers[at] = 2 ** 40;
    const { costs, dataBytes } = native().estimatePlan(isa, numbers, plan.constants.length);
    const arithmetic = costs.reduce((total, cost) => total + cost, 0);
    // Up to the cache's size what a step writes is there for the next one, and from twice that on none of it.
    const spilled = dataBytes.reduce((total, bytes) => total + bytes * Math.min(1, Math.max(0, bytes / l2 - 1)), 0);
    return sum + arithmetic + SPILL * spilled + FETCH * weightBytes(plan);
  }, 0);
}

/** The size whose items cost least; `stages` are plans for the first of {@link PANEL_SIZES}. */
export function cheapestPanel(stages: readonly Stage[], machine: Machine): number {
  let [best, least] = [1, Number.POSITIVE_INFINITY];
  stages.forEach((stage, i) => {
    const cost = costOf(stage, machine) / PANEL_SIZES[i];
    if (cost < least) [best, least] = [PANEL_SIZES[i], cost];
  });
  return best;
}

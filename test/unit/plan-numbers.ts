/** Writes plans by hand, as native/engine/plan.h describes them. */

import type { StepParams } from '../../lib/ops/lower.ts';
import { encodeParams } from '../../lib/plan/kernel.ts';
import { native } from '../../lib/runtime/native.ts';

export type Kind = 'arena' | 'input' | 'output' | 'constant';
const kinds: readonly Kind[] = ['arena', 'input', 'output', 'constant'];

/** A plan under construction; every part can be broken on purpose. */
export class PlanNumbers {
  readonly isa: string;
  arenaBytes = 0;
  inputs: number[] = [];
  outputs: number[] = [];
  constants = 0;
  readonly buffers: number[][] = [];
  readonly instructions: number[][] = [];

  constructor(isa = native().isa() as string) {
    this.isa = isa;
  }

  buffer(kind: Kind, bytes: number, at: { index?: number; offset?: number; strides?: readonly number[] } = {}): number {
    const [a = 0, b = 0, c = 0] = at.strides ?? [];
    return this.buffers.push([kinds.indexOf(kind), at.index ?? 0, at.offset ?? 0, bytes, a, b, c]) - 1;
  }

  step(kernel: string, buffers: readonly number[], params: StepParams): this {
    const table = native().kernels(this.isa);
    const id = table.findIndex((row) => row.name === kernel);
    const signature = table[id];
    if (!signature) throw new Error(`no kernel ${kernel}`);
    const numbers = encodeParams(signature, params);
    this.instructions.push([1, id, buffers.length, ...buffers, numbers.length, ...numbers]);
    return this;
  }

  loop(count: number, parallel: boolean, body: () => void): this {
    this.instructions.push([2, count, parallel ? 1 : 0]);
    body();
    this.instructions.push([3]);
    return this;
  }

  encode(): Float64Array {
    const header = [0xf111, 1, this.arenaBytes, this.inputs.length, this.outputs.length, this.constants];
    const counts = [this.buffers.length, this.instructions.length];
    return Float64Array.from(
      [header, counts, this.inputs, this.outputs, this.buffers, this.instructions].flat(2) as number[],
    );
  }
}

/** A plan that copies its input through the arena to its output. */
export function copyPlan(bytes: number): PlanNumbers {
  const plan = new PlanNumbers();
  plan.arenaBytes = bytes;
  plan.inputs = [bytes];
  plan.outputs = [bytes];
  const [x, t, y] = [plan.buffer('input', bytes), plan.buffer('arena', bytes), plan.buffer('output', bytes)];
  return plan.step('copy.bytes', [x, t], { bytes }).step('copy.bytes', [t, y], { bytes });
}

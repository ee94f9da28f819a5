/** Changes to the numbers of native plans, whose format native/engine/plan.h describes. */

import { edgeInteger, type Random } from './random.ts';

const HEADER = 8;
const STEP = 1;

/** A plan taken apart: records of numbers. */
interface PlanParts {
  readonly header: number[];
  readonly sizes: number[];
  readonly buffers: number[][];
  readonly instructions: number[][];
}

function takenApart(numbers: Float64Array): PlanParts {
  const header = [...numbers.subarray(0, HEADER)];
  const [, , , inputs, outputs, , buffers, instructions] = header as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  let at = HEADER;
  const take = (count: number): number[] => {
    at += count;
    return [...numbers.subarray(at - count, at)];
  };
  const parts: PlanParts = { header, sizes: take(inputs + outputs), buffers: [], instructions: [] };
  for (let i = 0; i < buffers; i++) parts.buffers.push(take(7));
  for (let i = 0; i < instructions; i++) {
    const kind = numbers[at];
    const operands = numbers[at + 2] as number;
    const count = kind === STEP ? 4 + operands + (numbers[at + 3 + operands] as number) : kind === 2 ? 3 : 1;
    parts.instructions.push(take(count));
  }
  return parts;
}

/** The numbers again; record counts are right except where the header itself was changed. */
function joined({ header, sizes, buffers, instructions }: PlanParts): Float64Array {
  return Float64Array.from([...header, ...sizes, ...buffers.flat(), ...instructions.flat()]);
}

const edge = (random: Random, old: number): number => {
  if (random.chance(0.03)) return random.pick([0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e300, -0]);
  return Number(edgeInteger(random, Number.isSafeInteger(old) ? BigInt(old) : 0n));
};

function changeRecord(random: Random, record: number[], from: number): void {
  if (record.length <= from) return;
  const at = from + random.below(record.length - from);
  record[at] = random.chance(0.3) ? random.pick(record) : edge(random, record[at] as number);
}

/** Operands, parameters or the kernel of a step. */
function changeStep(random: Random, step: number[], buffers: number, kernels: number): void {
  const operands = step[2] as number;
  const how = random.below(10);
  if (how === 0) step[1] = random.below(kernels);
  else if (how <= 3 && operands > 0) step[3 + random.below(operands)] = random.below(buffers + 1) - 1;
  else if (how === 4) changeRecord(random, step, 1);
  else changeRecord(random, step, 4 + operands);
}

function changeOrder(random: Random, { header, instructions }: PlanParts): void {
  const [a, b] = [random.below(instructions.length), random.below(instructions.length)];
  switch (random.below(4)) {
    case 0:
      instructions.splice(a, 1);
      break;
    case 1:
      instructions.splice(b, 0, [...(instructions[a] as number[])]);
      break;
    case 2:
      [instructions[a], instructions[b]] = [instructions[b] as number[], instructions[a] as number[]];
      break;
    default:
      instructions.splice(Math.min(a, b), 0, [2, random.below(5), random.below(2)]);
      instructions.splice(Math.max(a, b) + 2, 0, [3]);
  }
  header[7] = instructions.length;
}

/** A changed plan for an engine with so many kernels. */
export function mutatePlan(random: Random, numbers: Float64Array, kernels: number): Float64Array {
  const parts = takenApart(numbers);
  for (let times = random.chance(0.6) ? 1 : 2 + random.below(3); times > 0; times--) {
    const steps = parts.instructions.filter(([kind]) => kind === STEP);
    const how = random.below(20);
    if (how < 10 && steps.length) changeStep(random, random.pick(steps), parts.buffers.length, kernels);
    else if (how < 15 && parts.buffers.length) changeRecord(random, random.pick(parts.buffers), 0);
    else if (how < 18 && parts.instructions.length) changeOrder(random, parts);
    else if (how === 18) changeRecord(random, parts.sizes, 0);
    else changeRecord(random, parts.header, 0);
  }
  const changed = joined(parts);
  return random.chance(0.03) ? changed.slice(0, random.below(changed.length + 1)) : changed;
}

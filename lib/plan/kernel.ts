/** Kernels as the planner knows them: their signatures come from the addon. */

import { InternalError } from '../errors.ts';
import { SegmentLayout } from '../ir/segments.ts';
import type { StepParams } from '../ops/lower.ts';

/** A kernel's name and the layout of its arguments, as native/engine/kernel.h describes it. */
export interface KernelSignature {
  readonly name: string;
  /** Space-separated `r:name`, `w:name`, `rw:name`; a trailing `?` allows omission. */
  readonly operands: string;
  /** Space-separated `i:name`, `f:name`, then lists `l:name`. */
  readonly params: string;
  /** True for a packer. */
  readonly packer: boolean;
}

/** The numbers of a step in the order its kernel reads them; every parameter must be given, and no other. */
export function encodeParams(kernel: KernelSignature, params: StepParams): Float64Array {
  const numbers: number[] = [];
  const names = kernel.params.split(' ').filter(Boolean);
  for (const word of names) {
    const value = params[word.slice(2)];
    if (value === undefined) throw new InternalError(`kernel ${kernel.name}: parameter ${word.slice(2)} is missing`);
    if (word.startsWith('l:')) {
      const list = value instanceof SegmentLayout ? value.encode() : (value as readonly number[]);
      numbers.push(list.length, ...list);
    } else {
      numbers.push(Number(value));
    }
  }
  for (const name of Object.keys(params)) {
    if (!names.some((word) => word.slice(2) === name)) {
      throw new InternalError(`kernel ${kernel.name}: it has no parameter ${name}`);
    }
  }
  return Float64Array.from(numbers);
}

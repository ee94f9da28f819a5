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

interface Word {
  readonly name: string;
  readonly isList: boolean;
}

const wordsOf = new WeakMap<KernelSignature, readonly Word[]>();

function paramWords(kernel: KernelSignature): readonly Word[] {
  let words = wordsOf.get(kernel);
  if (!words) {
    const all = kernel.params.split(' ').filter(Boolean);
    words = all.map((word) => ({ name: word.slice(2), isList: word.startsWith('l:') }));
    wordsOf.set(kernel, words);
  }
  return words;
}

/** Appends the numbers of a step in the order its kernel reads them; every parameter must be given, and no other. */
function pushParams(kernel: KernelSignature, params: StepParams, numbers: number[]): void {
  const words = paramWords(kernel);
  for (const { name, isList } of words) {
    const value = params[name];
    if (value === undefined) throw new InternalError(`kernel ${kernel.name}: parameter ${name} is missing`);
    if (isList) {
      const list = value instanceof SegmentLayout ? value.encode() : (value as readonly number[]);
      numbers.push(list.length);
      for (const item of list) numbers.push(item);
    } else {
      numbers.push(Number(value));
    }
  }
  const given = Object.keys(params);
  if (given.length === words.length) return;
  const odd = given.find((name) => !words.some((word) => word.name === name));
  throw new InternalError(`kernel ${kernel.name}: it has no parameter ${odd}`);
}

const encoded = new WeakMap<StepParams, { readonly kernel: KernelSignature; readonly numbers: Float64Array }>();

/** The numbers of a step's parameters alone; the same array for the same parameters. */
export function encodeParams(kernel: KernelSignature, params: StepParams): Float64Array {
  const known = encoded.get(params);
  if (known?.kernel === kernel) return known.numbers;
  const list: number[] = [];
  pushParams(kernel, params, list);
  const numbers = Float64Array.from(list);
  encoded.set(params, { kernel, numbers });
  return numbers;
}

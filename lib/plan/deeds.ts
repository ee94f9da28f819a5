/**
 * What the lowering of a node did to the part under construction. A plan for other shapes does the same again, without
 * asking the operator, where the node's types have not changed: parameters are what they were, buffers are found anew.
 */

import type { DType } from '../ir/dtype.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { ElementwiseView, StepParams } from '../ops/lower.ts';

/** One call of a lowering; buffers by the numbers they had in its plan. */
export type Deed =
  | { readonly kind: 'input' | 'output'; readonly i: number; readonly buffer: number }
  | { readonly kind: 'scratch'; readonly dtype: DType; readonly dims: readonly number[]; readonly buffer: number }
  | { readonly kind: 'literal'; readonly tensor: HostTensor; readonly buffer: number }
  | {
      readonly kind: 'packed';
      readonly packer: string;
      readonly tensors: (HostTensor | null)[];
      readonly params: StepParams;
      readonly buffer: number;
    }
  | { readonly kind: 'alias'; readonly i: number; readonly j: number }
  | {
      readonly kind: 'elementwise';
      readonly only: readonly number[] | undefined;
      readonly inputs: readonly (number | null)[];
      readonly output: number;
    }
  | {
      readonly kind: 'step';
      readonly kernel: string;
      readonly buffers: readonly (number | null)[];
      readonly params: StepParams;
    };

/** Writes down what a lowering does, as long as types tell all that it sees. */
export class DeedRecorder {
  #list: Deed[] | undefined = [];
  #stepped = false;

  /** The deeds; undefined where they may not be done again. */
  get list(): readonly Deed[] | undefined {
    return this.#list;
  }

  add(deed: Deed): void {
    if (deed.kind === 'step') this.#stepped = true;
    // Where memory lies is found out before any step: until then the operator can still be asked instead.
    else if (deed.kind === 'elementwise' && this.#stepped) this.spoil();
    this.#list?.push(deed);
  }

  /** For what depends on more than types. */
  spoil(): void {
    this.#list = undefined;
  }
}

const buffersOf = ({ inputs }: ElementwiseView): (number | null)[] =>
  inputs.map((input) => (input ? input.operand.buffer : null));

/** The deed of an elementwise operation; undefined where it walks a layout other than rows. */
export function elementwiseDeed(view: ElementwiseView, only: readonly number[] | undefined): Deed | undefined {
  const laidOut = view.output.layout || view.inputs.some((input) => input?.operand.layout);
  return laidOut ? undefined : { kind: 'elementwise', only, inputs: buffersOf(view), output: view.output.buffer };
}

/** True where the result takes the same input's memory, or none, and no two inputs share what they did not share. */
export function sameMemory(deed: Extract<Deed, { kind: 'elementwise' }>, view: ElementwiseView): boolean {
  if (view.output.layout) return false;
  const before = [...deed.inputs, deed.output];
  const now = [...buffersOf(view), view.output.buffer];
  return before.every((buffer, i) => before.indexOf(buffer) === now.indexOf(now[i]));
}

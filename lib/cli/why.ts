/** Why nodes run on their references, what that costs, and what would help. */

import type { LayerProfile } from '../runtime/profile.ts';

/** A node on its reference. */
export interface Fallback {
  readonly node: string;
  readonly op: string;
  readonly reason: string;
  /** Milliseconds of a run, and the share of its time. */
  readonly ms: number;
  readonly share: number;
  readonly hint: string;
}

const hints: readonly (readonly [RegExp, string])[] = [
  [/shape of its result depends on data/, 'fix the sizes it computes when the model is exported, if they never change'],
  [/strings, sequences/, 'keep strings, sequences and optionals outside of the model, before or after it'],
  [/run time|not known|no known number/, 'export the model with these as constants'],
  [
    /no (native )?kernel for \w*(int|uint|float|double|bool|complex|string)\w*$|native cast/,
    'cast to float32 around it',
  ],
  [
    /^(lengths|indices|an exponent|a residual|a mask|updates|a value) of (type )?\w+|of another type/,
    'cast that input',
  ],
  [/^an? empty|^empty/, 'it has nothing to compute: no kernel is needed'],
  [/broadcast/, 'expand that operand to full shape when the model is exported'],
  [/before version 7/, 'convert the model to a newer opset'],
  [/spatial axes/, 'reshape to 1, 2 or 3 spatial axes'],
  [/the operator has no kernel/, 'compute it outside of the model, or export it as operators that have kernels'],
];

/** What would let a node run fast that does not for this reason. */
export function hintFor(reason: string): string {
  const found = hints.find(([pattern]) => pattern.test(reason));
  return found ? found[1] : 'export it in a plainer form, or as operators that have kernels';
}

/** The layers of a profile that no kernel runs, the most expensive first. */
export function fallbacksOf(layers: readonly LayerProfile[]): Fallback[] {
  return layers
    .flatMap(({ name, op, reason, ms, share }) =>
      reason === undefined ? [] : [{ node: name, op, reason, ms, share, hint: hintFor(reason) }],
    )
    .sort((a, b) => b.ms - a.ms);
}

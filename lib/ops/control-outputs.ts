/** Outputs of bodies that never ran. */

import type { Graph } from '../ir/graph.ts';
import { type HostTensor, zeros } from '../ir/tensor.ts';
import type { NodeReader } from './op.ts';

/** Zeros of the type that body output `i` would have had; sizes that nobody knows are 0. `place` adds the outer axes. */
export function zerosForOutput(
  ctx: NodeReader,
  body: Graph,
  i: number,
  place: (dims: readonly number[]) => readonly number[],
): HostTensor {
  const { type, name } = body.outputs[i];
  if (type?.kind !== 'tensor') throw ctx.error(`the type of output "${name}" of a body that never ran is not known`);
  return zeros(type.dtype, place((type.shape ?? []).map((dim) => (typeof dim === 'number' ? dim : 0))));
}

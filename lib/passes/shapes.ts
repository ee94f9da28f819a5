/** What passes ask about declared shapes. */

import type { Value } from '../ir/graph.ts';

/** True where all values certainly have one shape: nothing broadcasts. */
export function sameDeclaredShape(...values: readonly Value[]): boolean {
  const shapes = values.map((value) => (value.type?.kind === 'tensor' ? value.type.shape : undefined));
  const [first] = shapes;
  return shapes.every(
    (shape) =>
      shape && first && shape.length === first.length && shape.every((dim, i) => dim !== null && dim === first[i]),
  );
}

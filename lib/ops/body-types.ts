/** Types that meet where control flow joins. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import type { Shape } from '../ir/shape.ts';

function mergeShapes(a: Shape | undefined, b: Shape | undefined): Shape | undefined {
  if (!a || !b || a.length !== b.length) return undefined;
  return a.map((dim, i) => (dim === b[i] ? dim : null));
}

/** What two types have in common; undefined where nothing (or the element types differ). */
export function mergeTypes(a: ValueType, b: ValueType): ValueType | undefined {
  if (a.kind === 'tensor' && b.kind === 'tensor') {
    return a.dtype === b.dtype ? tensorType(a.dtype, mergeShapes(a.shape, b.shape)) : undefined;
  }
  if ((a.kind === 'sequence' && b.kind === 'sequence') || (a.kind === 'optional' && b.kind === 'optional')) {
    const element = mergeTypes(a.element, b.element);
    return element && { kind: a.kind, element };
  }
  // A branch may give the plain value where the other gives an optional.
  if (a.kind === 'optional' && b.kind !== 'map') return mergeTypes(a, { kind: 'optional', element: b });
  if (b.kind === 'optional' && a.kind !== 'map') return mergeTypes({ kind: 'optional', element: a }, b);
  return a.kind === 'map' && b.kind === 'map' && a.keyType === b.keyType ? a : undefined;
}

/** The type without the sizes of its dimensions: what holds for a value that changes from one turn to the next. */
export function withoutShape(type: ValueType | undefined): ValueType | undefined {
  if (type?.kind === 'tensor') return tensorType(type.dtype, undefined);
  if (type?.kind !== 'sequence' && type?.kind !== 'optional') return type;
  const element = withoutShape(type.element);
  return element && { kind: type.kind, element };
}

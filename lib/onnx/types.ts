/** TypeProto to value types. */

import { FiligreeError, ModelFormatError, UnsupportedError } from '../errors.ts';
import type { ValueType } from '../ir/graph.ts';
import type { Dim } from '../ir/shape.ts';
import type { ShapeProto, TypeProto } from './schema.ts';
import { elementType } from './tensor-proto.ts';

/** The declared type. Throws where it is missing, or is none that Filigree has (sparse, opaque). */
export function decodeType(proto: TypeProto | undefined, what: string): ValueType {
  if (proto?.tensorType) {
    const dtype = elementType(proto.tensorType.elemType, what);
    return { kind: 'tensor', dtype, shape: proto.tensorType.shape && decodeShape(proto.tensorType.shape) };
  }
  if (proto?.sequenceType) return { kind: 'sequence', element: decodeType(proto.sequenceType.elemType, what) };
  if (proto?.optionalType) return { kind: 'optional', element: decodeType(proto.optionalType.elemType, what) };
  if (proto?.mapType) {
    const keyType = elementType(proto.mapType.keyType, `the keys of ${what}`);
    return { kind: 'map', keyType, value: decodeType(proto.mapType.valueType, what) };
  }
  if (proto?.sparseTensorType) throw new UnsupportedError(`${what} is a sparse tensor at run time`, { what });
  if (proto?.opaqueType) throw new UnsupportedError(`${what} is of an opaque type`, { what });
  throw new ModelFormatError(`${what} has no type`, { what });
}

/** The declared type where the file gives a complete one: inner values and outputs need none. */
export function declaredType(proto: TypeProto | undefined, what: string): ValueType | undefined {
  try {
    return proto && decodeType(proto, what);
  } catch (error) {
    if (error instanceof FiligreeError) return undefined;
    throw error;
  }
}

/** Sizes, symbols and unknowns; a negative size, which some writers use, is unknown. */
function decodeShape(proto: ShapeProto): Dim[] {
  return proto.dim.map(({ dimValue, dimParam }) => {
    if (dimValue !== undefined) return dimValue >= 0 ? dimValue : null;
    return dimParam || null;
  });
}

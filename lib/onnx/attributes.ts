/** AttributeProto to attributes. */

import { ModelFormatError, UnsupportedError } from '../errors.ts';
import type { Attribute, AttributeType, Graph } from '../ir/graph.ts';
import type { OpDefinition } from '../ops/op.ts';
import type { AttributeProto, GraphProto } from './schema.ts';
import { decodeSparse, decodeTensor, type ExternalReader } from './tensor-proto.ts';
import { decodeType } from './types.ts';
import { decodeText } from './wire.ts';

/** What an attribute's value may need from its surroundings. */
export interface AttributeSources {
  readonly external: ExternalReader | undefined;
  graph(proto: GraphProto): Graph;
}

/** `AttributeProto.AttributeType` by number. */
const types: Readonly<Record<number, AttributeType | 'sparse' | 'sparses' | 'types'>> = {
  1: 'float',
  2: 'int',
  3: 'string',
  4: 'tensor',
  5: 'graph',
  6: 'floats',
  7: 'ints',
  8: 'strings',
  9: 'tensors',
  10: 'graphs',
  11: 'sparse',
  12: 'sparses',
  13: 'type',
  14: 'types',
};

/** The type of an attribute that states none, as files older than IR version 2 may. */
function guessType(proto: AttributeProto): number {
  if (proto.f !== undefined) return 1;
  if (proto.i !== undefined) return 2;
  if (proto.s !== undefined) return 3;
  if (proto.t !== undefined) return 4;
  if (proto.g !== undefined) return 5;
  if (proto.floats.length) return 6;
  if (proto.ints.length) return 7;
  if (proto.strings.length) return 8;
  if (proto.tensors.length) return 9;
  return proto.graphs.length ? 10 : 0;
}

function text(bytes: Uint8Array | undefined, what: string): string {
  const decoded = decodeText(bytes ?? new Uint8Array(0));
  if (decoded === undefined) throw new ModelFormatError(`${what} is not UTF-8`, { what });
  return decoded;
}

function present<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new ModelFormatError(`${what} has no value`, { what });
  return value;
}

/** Decodes one attribute; `what` names it in messages. */
export function decodeAttribute(proto: AttributeProto, what: string, sources: AttributeSources): Attribute {
  const { external } = sources;
  const type = types[proto.type || guessType(proto)];
  switch (type) {
    case 'float':
      return { type, value: proto.f ?? 0 };
    case 'int':
      return { type, value: proto.i ?? 0 };
    case 'string':
      return { type, value: text(proto.s, what) };
    case 'tensor':
      return { type, value: decodeTensor(present(proto.t, what), what, external) };
    case 'graph':
      return { type, value: sources.graph(present(proto.g, what)) };
    case 'type':
      return { type, value: decodeType(present(proto.tp, what), what) };
    case 'floats':
      return { type, value: proto.floats };
    case 'ints':
      return { type, value: proto.ints };
    case 'strings':
      return { type, value: proto.strings.map((bytes) => text(bytes, what)) };
    case 'tensors':
      return { type, value: proto.tensors.map((t) => decodeTensor(t, what, external)) };
    case 'graphs':
      return { type, value: proto.graphs.map((g) => sources.graph(g)) };
    case 'sparse':
      return { type: 'tensor', value: decodeSparse(present(proto.sparseTensor, what), what, external) };
    case 'sparses':
      return { type: 'tensors', value: proto.sparseTensors.map((t) => decodeSparse(t, what, external)) };
    case 'types':
      throw new UnsupportedError(`${what} is a list of types`, { what });
    default:
      throw new ModelFormatError(`${what} has attribute type ${proto.type}, which the format does not define`, {
        what,
        type: proto.type,
      });
  }
}

/**
 * Attributes that carry no meaning for running: memory hints of operators before version 6, and names with two
 * underscores in front, which the format keeps for tools.
 */
function isIgnorable(name: string, domain: string, version: number): boolean {
  return name.startsWith('__') || (name === 'consumed_inputs' && domain === '' && version < 6);
}

/** Keeps what the operator defines. Throws for an attribute that it does not define, or of another type. */
export function checkAttributes(
  attributes: ReadonlyMap<string, Attribute>,
  op: OpDefinition,
  version: number,
  where: string,
): Map<string, Attribute> {
  const known = op.attributes ?? {};
  const kept = new Map<string, Attribute>();
  for (const [name, attribute] of attributes) {
    const types = Object.hasOwn(known, name) ? [known[name]].flat() : [];
    if (types.length === 0) {
      if (isIgnorable(name, op.domain ?? '', version)) continue;
      throw new ModelFormatError(`${where} has no attribute "${name}"`, { attribute: name });
    }
    const empty =
      Array.isArray(attribute.value) && attribute.value.length === 0 && types.some((type) => type.endsWith('s'));
    if (!types.includes(attribute.type) && !empty) {
      throw new ModelFormatError(
        `${where}: the attribute "${name}" is of type ${attribute.type}, expected ${types.join(' or ')}`,
        {
          attribute: name,
          expected: types,
          got: attribute.type,
        },
      );
    }
    kept.set(name, attribute);
  }
  return kept;
}

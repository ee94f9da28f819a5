/**
 * What planning concludes of a node from the types of its inputs alone. Plans for other shapes take it over wherever they
 * meet the same types, and so do nodes that differ in nothing else, as those of a network's layers: a shape that grows
 * costs the nodes it reaches, of one layer.
 */

import type { Attribute, Node } from '../ir/graph.ts';
import { sameShape, sizeOf } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { typedOf } from './facts.ts';
import type { Typed } from './typed.ts';

type InputTypes = readonly (Typed | null | undefined)[];

/** Types of the outputs; with contents where the node need not run. */
export interface Conclusion {
  readonly inputs: InputTypes;
  readonly outputs: readonly Typed[];
  readonly contents: readonly HostValue[] | undefined;
}

/** Contents of up to this many elements are compared. */
const COMPARED = 64;

/** Conclusions of one kind that are looked through. */
const MOST_ALIKE = 24;

function sameContent(a: HostTensor | undefined, b: HostTensor | undefined): boolean {
  if (a === b) return true;
  if (!a || !b || a.dtype !== b.dtype || !sameShape(a.dims, b.dims) || sizeOf(a.dims) > COMPARED) return false;
  for (let i = 0; i < a.data.length; i++) if (!Object.is(a.data[i], b.data[i])) return false;
  return true;
}

function sameType(a: Typed | null | undefined, b: Typed | null | undefined): boolean {
  if (a === b) return true;
  if (a?.kind !== 'tensor' || b?.kind !== 'tensor') return false;
  return a.dtype === b.dtype && sameShape(a.dims, b.dims) && sameContent(a.content, b.content);
}

function holdsFor({ inputs }: Conclusion, types: InputTypes): boolean {
  for (let i = 0; i < types.length; i++) if (!sameType(inputs[i], types[i])) return false;
  return true;
}

/**
 * A conclusion of new types and contents. Wherever they are equal to those of the one before, it has the same objects:
 * what reads them then sees that nothing has changed.
 */
export function conclude(
  inputs: InputTypes,
  types: readonly Typed[],
  found: readonly HostValue[] | undefined,
  before: Conclusion | undefined,
): Conclusion {
  const contents = found?.map((content, i) => {
    const last = before?.contents?.[i];
    return content.kind === 'tensor' && last?.kind === 'tensor' && sameContent(content, last) ? last : content;
  });
  const outputs = types.map((type, i) => {
    const content = contents?.[i];
    const typed = content?.kind === 'tensor' ? typedOf(content, true) : type;
    const last = before?.outputs[i];
    return last && sameType(typed, last) ? last : typed;
  });
  return { inputs, outputs, contents };
}

function attributeText({ type, value }: Attribute): string | undefined {
  if (type === 'int' || type === 'float') return String(value);
  if (type === 'string') return JSON.stringify(value);
  if (type === 'ints' || type === 'floats') return value.join();
  return type === 'strings' ? JSON.stringify(value) : undefined;
}

/** Text that nodes share whose conclusions are alike; undefined for one that has bodies or tensors of its own. */
function kindText({ domain, op, version, inputs, outputs, attributes }: Node): string | undefined {
  const presence = [...inputs, null, ...outputs].map((value) => (value ? 1 : 0)).join('');
  const words = [domain, op, String(version), `${inputs.length}`, presence];
  for (const name of [...attributes.keys()].sort()) {
    const attribute = attributes.get(name) as Attribute;
    const text = attributeText(attribute);
    if (text === undefined) return undefined;
    words.push(`${name}:${attribute.type}=${text}`);
  }
  return words.join('|');
}

/** What a walk over the graph has newly concluded of nodes of one kind. */
interface Kind {
  walk: number;
  readonly found: Conclusion[];
}

/** The last conclusion of each node, and those of this walk for each kind of node. */
export class Conclusions {
  readonly #last = new WeakMap<Node, Conclusion>();
  readonly #kinds = new Map<string, Kind>();
  readonly #kindOf = new WeakMap<Node, Kind>();
  #walk = 0;

  /** Begins a walk: one plan. */
  begin(): void {
    this.#walk++;
  }

  last(node: Node): Conclusion | undefined {
    return this.#last.get(node);
  }

  /** The conclusion for inputs of these types, where one is known. */
  find(node: Node, inputs: InputTypes): Conclusion | undefined {
    const last = this.#last.get(node);
    if (last && holdsFor(last, inputs)) return last;
    const alike = this.#found(node).find((each) => holdsFor(each, inputs));
    if (alike) this.#last.set(node, alike);
    return alike;
  }

  add(node: Node, conclusion: Conclusion): void {
    this.#last.set(node, conclusion);
    const found = this.#found(node);
    if (found.length < MOST_ALIKE) found.push(conclusion);
  }

  #found(node: Node): Conclusion[] {
    let kind = this.#kindOf.get(node);
    if (!kind) {
      const text = kindText(node);
      kind = (text !== undefined && this.#kinds.get(text)) || { walk: this.#walk, found: [] };
      if (text !== undefined) this.#kinds.set(text, kind);
      this.#kindOf.set(node, kind);
    }
    if (kind.walk !== this.#walk) {
      kind.walk = this.#walk;
      kind.found.length = 0;
    }
    return kind.found;
  }
}

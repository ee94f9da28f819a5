/** Integer vectors on their way from Shape to Reshape, whose entries may be symbols of dimensions. */

import type { Node, Value } from '../ir/graph.ts';
import type { Dim } from '../ir/shape.ts';
import { type HostTensor, toIntegers } from '../ir/tensor.ts';
import { addDims, multiplyDims } from './dims.ts';

/** Longer vectors are no shapes. */
const LIMIT = 64;

/** The entries of a vector or a single number; null for an unknown one. */
export type Entries = readonly Dim[];

type Reader = (value: Value | null | undefined) => Entries | undefined;

const intOf = (node: Node, name: string, fallback: number): number => {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'int' ? attribute.value : fallback;
};

function shapeEntries(node: Node): Entries | undefined {
  const type = node.inputs[0]?.type;
  if (type?.kind !== 'tensor' || !type.shape) return undefined;
  const rank = type.shape.length;
  const at = (v: number): number => Math.min(Math.max(v < 0 ? v + rank : v, 0), rank);
  return type.shape.slice(at(intOf(node, 'start', 0)), at(intOf(node, 'end', rank)));
}

function gatherEntries(node: Node, read: Reader): Entries | undefined {
  const [from, indices] = [read(node.inputs[0]), read(node.inputs[1])];
  if (!from || !indices || intOf(node, 'axis', 0) !== 0) return undefined;
  return indices.map((i) => (typeof i === 'number' ? (from.at(i) ?? null) : null));
}

function concatEntries(node: Node, read: Reader): Entries | undefined {
  const parts = node.inputs.map((input) => {
    const known = read(input);
    const shape = input?.type?.kind === 'tensor' ? input.type.shape : undefined;
    const length = shape?.length === 1 ? shape[0] : undefined;
    return known ?? (typeof length === 'number' && length <= LIMIT ? new Array<null>(length).fill(null) : undefined);
  });
  return parts.some((part) => !part) ? undefined : parts.flatMap((part) => part as Entries);
}

function sliceEntries(node: Node, read: Reader): Entries | undefined {
  const from = read(node.inputs[0]);
  if (!from || node.version < 10) return undefined;
  const [starts, ends, axes = [0], steps = [1]] = node.inputs.slice(1).map(read);
  const numbers = [starts?.[0], ends?.[0], axes[0], steps[0]];
  if (starts?.length !== 1 || numbers.some((n) => typeof n !== 'number') || axes[0] !== 0 || steps[0] !== 1) {
    return undefined;
  }
  return from.slice(numbers[0] as number, numbers[1] as number);
}

/** Applies `f` entry by entry, a single one to all. */
function combine(node: Node, read: Reader, f: (...dims: Dim[]) => Dim): Entries | undefined {
  const operands = node.inputs.map(read);
  const length = Math.max(...operands.map((entries) => entries?.length ?? 0));
  if (operands.some((entries) => !entries || (entries.length !== 1 && entries.length !== length))) return undefined;
  return Array.from({ length }, (_, i) =>
    f(...operands.map((e) => (e as Entries)[(e as Entries).length === 1 ? 0 : i])),
  );
}

/** Sizes are never negative, so a symbol equals no negative number. */
function equalDims(a: Dim, b: Dim): Dim {
  if (a !== null && a === b) return 1;
  if (typeof a === 'number' && typeof b === 'number') return 0;
  const negative = (dim: Dim): boolean => typeof dim === 'number' && dim < 0;
  return (typeof a === 'string' && negative(b)) || (typeof b === 'string' && negative(a)) ? 0 : null;
}

function chooseDim(condition: Dim, a: Dim, b: Dim): Dim {
  if (condition === null) return a === b ? a : null;
  return condition ? a : b;
}

function divide(a: Dim, b: Dim): Dim {
  if (b === 1) return a;
  return typeof a === 'number' && typeof b === 'number' && b > 0 && a >= 0 ? Math.floor(a / b) : null;
}

const subtract = (a: Dim, b: Dim): Dim => (typeof b === 'number' ? addDims(a, -b) : null);

const followers: Readonly<Record<string, (node: Node, read: Reader) => Entries | undefined>> = {
  Shape: shapeEntries,
  Gather: gatherEntries,
  Concat: concatEntries,
  Slice: sliceEntries,
  Identity: (node, read) => read(node.inputs[0]),
  Cast: (node, read) => read(node.inputs[0]),
  Squeeze: (node, read) => read(node.inputs[0]),
  Unsqueeze: (node, read) => read(node.inputs[0]),
  Reshape: (node, read) => read(node.inputs[0]),
  Add: (node, read) => combine(node, read, addDims),
  Mul: (node, read) => combine(node, read, multiplyDims),
  Sub: (node, read) => combine(node, read, subtract),
  Div: (node, read) => combine(node, read, divide),
  Equal: (node, read) => combine(node, read, equalDims),
  Where: (node, read) => combine(node, read, chooseDim),
};

/** Follows such vectors through a graph, node by node. */
export class SymbolicContents {
  readonly #entries = new Map<Value, Entries>();
  readonly #contentOf: (value: Value) => HostTensor | undefined;

  /** `contentOf` gives contents that are known in full. */
  constructor(contentOf: (value: Value) => HostTensor | undefined) {
    this.#contentOf = contentOf;
  }

  /** The entries of an integer or bool tensor of rank 0 or 1, as far as they are known. */
  read(value: Value | null | undefined): Entries | undefined {
    if (!value) return undefined;
    const content = this.#contentOf(value);
    if (!content) return this.#entries.get(value);
    const whole = content.dtype === 'int64' || content.dtype === 'int32' || content.dtype === 'bool';
    if (!whole || content.dims.length > 1 || content.data.length > LIMIT) return undefined;
    return toIntegers(content);
  }

  /** `to`, an alias of another graph, holds what `from` holds. */
  copy(from: Value, to: Value): void {
    const entries = this.read(from);
    if (entries) this.#entries.set(to, entries);
  }

  /** Looks at a typed node. */
  follow(node: Node): void {
    const [output] = node.outputs;
    const type = output?.type;
    if (!output || node.domain !== '' || type?.kind !== 'tensor' || (type.shape?.length ?? 2) > 1) return;
    if (type.dtype !== 'int64' && type.dtype !== 'int32' && type.dtype !== 'bool') return;
    const entries = followers[node.op]?.(node, (value) => this.read(value));
    const length = type.shape?.[0] ?? 1;
    if (entries && entries.length <= LIMIT && (length === entries.length || typeof length !== 'number')) {
      this.#entries.set(output, entries);
    }
  }
}

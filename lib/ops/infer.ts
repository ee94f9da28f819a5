/** Types of all values of a graph before any run: element types, and shapes with symbols where sizes are not known. */

import { FiligreeError, InternalError } from '../errors.ts';
import { type DType, isWhole } from '../ir/dtype.ts';
import { bodiesOf, type Graph, type Node, nodeText, type Value, type ValueType } from '../ir/graph.ts';
import { type Dim, FRESH, isConcrete, isFresh, type Shape, sizeOf } from '../ir/shape.ts';
import { type HostTensor, type HostValue, toIntegers } from '../ir/tensor.ts';
import { finish } from '../ir/turns.ts';
import { findOp } from './index.ts';
import { runNode } from './interpret.ts';
import { type InferContext, NodeAccess, type OpDefinition } from './op.ts';
import { SymbolicContents } from './symbolic.ts';

/** Contents of up to this many elements are followed. */
const CONTENT_LIMIT = 4096;

/** Contents of values that are known without being constants of the graph. */
export type KnownContents = ReadonlyMap<Value, HostTensor>;

/**
 * Gives every value of the graph and of its bodies its type. Follows small contents that come from constants and from
 * known shapes (Shape, Gather, Concat ... Reshape) and returns them. Sizes that are not known get symbols of their own. Declared types of inner values count only where
 * inference has none, and without their shape. Throws ModelFormatError where types or shapes cannot meet.
 */
export const inferTypes = (graph: Graph): KnownContents => finish(inferringTypes(graph));

/** Nodes of the main graph that are inferred at a stretch. */
const STRETCH = 8;

/** The same in turns. */
export function* inferringTypes(graph: Graph): Generator<void, KnownContents> {
  const contents = new Map<Value, HostTensor>();
  const symbolic = new SymbolicContents((value) => contentOf(value, contents));
  let symbols = 0;
  const known = { contents, symbolic, fresh: () => `${FRESH}${symbols++}` };
  for (const [i, node] of graph.nodes.entries()) {
    inferNode(node, known);
    if (i % STRETCH === STRETCH - 1) yield;
  }
  return contents;
}

/** What inference knows of contents. */
interface Known {
  readonly contents: Map<Value, HostTensor>;
  readonly symbolic: SymbolicContents;
  /** A symbol that nothing else has. */
  readonly fresh: () => string;
}

/** The type with a symbol for every unknown size. What comes out of bodies gets symbols of its own. */
function named(type: ValueType | undefined, known: Known, fromBodies: boolean): ValueType | undefined {
  if (type?.kind !== 'tensor' || !type.shape) return type;
  const unknown = (dim: Dim): boolean => dim === null || (fromBodies && isFresh(dim));
  return { ...type, shape: type.shape.map((dim) => (unknown(dim) ? known.fresh() : dim)) };
}

function inferNode(node: Node, known: Known): void {
  const op = findOp(node.domain, node.op);
  if (!op) throw new InternalError(`no operator ${nodeText(node)}`);
  const ctx = new StaticContext(node, known);
  const given = op.bodyInputs?.(ctx) ?? [];
  const bodies = bodiesOf(node);
  for (const body of bodies) inferBody(body, given, known);
  const types = op.infer(ctx);
  node.outputs.forEach((output, i) => {
    if (output) output.type = named(types[i] ?? withoutShape(output.type), known, bodies.length > 0);
  });
  follow(node, op, known.contents);
  known.symbolic.follow(node);
}

function inferBody(body: Graph, given: readonly (ValueType | undefined)[], known: Known): void {
  body.inputs.forEach((input, i) => {
    const type = given[i];
    if (!input.type || (type?.kind === 'tensor' && type.shape)) input.type = type ?? input.type;
  });
  for (const { inner, outer } of body.captures) {
    inner.type = outer.type;
    const content = known.contents.get(outer);
    if (content) known.contents.set(inner, content);
    else known.symbolic.copy(outer, inner);
  }
  for (const node of body.nodes) inferNode(node, known);
}

function withoutShape(type: ValueType | undefined): ValueType | undefined {
  return type?.kind === 'tensor' ? { ...type, shape: undefined } : type;
}

/** Computes small outputs whose inputs are known. What fails here fails again, and is reported, when it runs. */
function follow(node: Node, op: OpDefinition, contents: Map<Value, HostTensor>): void {
  const traits = op.traits ?? [];
  if (traits.includes('random') || traits.includes('control')) return;
  const small = node.outputs.every((output) => !output || isSmall(output.type, node));
  if (!small) return;
  const inputs: (HostValue | null)[] = [];
  for (const read of node.inputs) {
    const input = read && (traits.includes('metadata') ? shellOf(read) : contentOf(read, contents));
    if (input === undefined) return;
    inputs.push(input);
  }
  let results: HostValue[];
  try {
    results = runNode(node, inputs);
  } catch (error) {
    if (error instanceof FiligreeError) return;
    throw error;
  }
  node.outputs.forEach((output, i) => {
    const result = results[i];
    if (output && result.kind === 'tensor') contents.set(output, result);
  });
}

/** Nodes without inputs hold their content already, whatever its size. */
function isSmall(type: ValueType | undefined, node: Node): boolean {
  if (type?.kind !== 'tensor' || !isConcrete(type.shape)) return false;
  return node.inputs.length === 0 || sizeOf(type.shape) <= CONTENT_LIMIT;
}

function contentOf(value: Value, contents: KnownContents): HostTensor | undefined {
  const content = value.constant ?? contents.get(value);
  return content?.kind === 'tensor' ? content : undefined;
}

/** A tensor without data, for operators that look at types and shapes alone. */
function shellOf(value: Value): HostTensor | undefined {
  const { type } = value;
  if (type?.kind !== 'tensor' || !isConcrete(type.shape)) return undefined;
  return { kind: 'tensor', dtype: type.dtype, dims: type.shape, data: new Uint8Array(0) };
}

class StaticContext extends NodeAccess implements InferContext {
  readonly #inputs: readonly (Value | null)[];
  readonly #known: Known;

  constructor(node: Node, known: Known) {
    super(node, 'load');
    this.#inputs = node.inputs;
    this.#known = known;
  }

  type(i: number): ValueType | undefined {
    return this.#inputs[i]?.type;
  }
  dtype(i: number): DType {
    const type = this.type(i);
    if (type?.kind === 'tensor') return type.dtype;
    const got = this.has(i) ? (type?.kind ?? 'of unknown type') : 'missing';
    throw this.error(`input ${i} is ${got}, expected a tensor`);
  }
  shape(i: number): Shape | undefined {
    const type = this.type(i);
    return type?.kind === 'tensor' ? type.shape : undefined;
  }
  constant(i: number): HostTensor | undefined {
    const value = this.#inputs[i];
    return value ? contentOf(value, this.#known.contents) : undefined;
  }
  integers(i: number): number[] | undefined {
    const content = this.constant(i);
    return content && isWhole(content.dtype) ? toIntegers(content) : undefined;
  }
  entries(i: number): readonly Dim[] | undefined {
    return this.#known.symbolic.read(this.#inputs[i]);
  }
}

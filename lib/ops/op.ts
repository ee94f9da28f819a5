/**
 * What an operator is: one definition with its signature, inference, reference and lowering.
 *
 * The reference is plain loops over decoded numbers with double accumulation. It is the oracle of the tests, folds
 * constants, and runs the nodes that have no native kernel.
 */

import { type FiligreeError, InternalError, ModelFormatError, RunError } from '../errors.ts';
import { type DType, isWhole } from '../ir/dtype.ts';
import { type Attribute, type AttributeType, type Graph, nodeText, type ValueType } from '../ir/graph.ts';
import type { Borders, Window } from '../ir/segments.ts';
import { type Dim, isConcrete, type Shape } from '../ir/shape.ts';
import { type HostTensor, type HostValue, toIntegers } from '../ir/tensor.ts';
import type { LowerContext } from './lower.ts';

/** What passes may ask about an operator instead of its name. */
export type Trait =
  /** Output element i depends on input elements i (after broadcasting) alone. */
  | 'elementwise'
  /** Reduces over axes. */
  | 'reduction'
  /** Output is the input's bytes under another shape. */
  | 'view'
  /** Reorders or selects elements without computing. */
  | 'movement'
  /** Depends on the types and shapes of the inputs alone, not on their contents (Shape, Size). */
  | 'metadata'
  /** Multiplies bytes: maps are small, and weights are what a run reads most. */
  | 'bytes'
  /** Draws random numbers: never folded, never merged. */
  | 'random'
  /** Has bodies that it runs. */
  | 'control';

/** Where an operator's node stands: attribute access with the checks that give good errors. */
export interface NodeReader {
  readonly op: string;
  readonly domain: string;
  readonly name: string;
  /** Version of the operator's domain in the model. */
  readonly version: number;
  /** Number of inputs, trailing omitted ones not counted. */
  readonly inputCount: number;
  /** Number of outputs listed by the node. */
  readonly outputCount: number;
  /** True where input `i` is present. */
  has(i: number): boolean;
  /** True where output `i` is wanted. */
  wants(i: number): boolean;
  hasAttribute(name: string): boolean;
  int(name: string, fallback?: number): number;
  float(name: string, fallback?: number): number;
  string(name: string, fallback?: string): string;
  ints(name: string, fallback?: readonly number[]): readonly number[];
  floats(name: string, fallback?: readonly number[]): readonly number[];
  strings(name: string, fallback?: readonly string[]): readonly string[];
  tensorAttribute(name: string): HostTensor | undefined;
  graph(name: string): Graph;
  typeAttribute(name: string): ValueType | undefined;
  /** An error about the model, naming the node: throw it. */
  error(message: string): FiligreeError;
}

/** What inference sees. Dimensions may be symbols or unknown. */
export interface InferContext extends NodeReader {
  /** Type of input `i`, undefined where absent or unknown. */
  type(i: number): ValueType | undefined;
  /** Element type of tensor input `i`; throws where the input is absent, unknown, or not a tensor. */
  dtype(i: number): DType;
  /** Shape of tensor input `i`, undefined where unknown or absent. */
  shape(i: number): Shape | undefined;
  /** The content of tensor input `i` where it is known. */
  constant(i: number): HostTensor | undefined;
  /** The content of an integer input as numbers, where known. */
  integers(i: number): number[] | undefined;
  /** The entries of an integer input that is a vector or a single number, as far as they are known; symbols for sizes. */
  entries(i: number): readonly Dim[] | undefined;
}

/** What the reference sees: every value is there. */
export interface ReferenceContext extends NodeReader {
  /** Input `i`; throws where absent or not a tensor. */
  tensor(i: number): HostTensor;
  /** Input `i`, or undefined where it is omitted. */
  optional(i: number): HostTensor | undefined;
  /** Input `i` of any kind; throws where it is omitted. */
  value(i: number): HostValue;
  /** The content of an integer input as numbers. */
  integers(i: number): number[];
  /** Runs a body on feeds in the order of its inputs; outer values are bound already. */
  runGraph(graph: Graph, feeds: readonly HostValue[]): HostValue[];
}

/** A run of a body that an operator asks for. */
export interface BodyRun {
  readonly graph: Graph;
  /** In the order of the body's inputs. */
  readonly feeds: readonly HostValue[];
}

/** An operator with bodies at work: asks for one run after the other, is answered with its outputs, gives its own. */
export type BodyRuns = Generator<BodyRun, HostValue[], HostValue[]>;

/** Does all the runs at once. */
export function runBodies(ctx: ReferenceContext, runs: BodyRuns): HostValue[] {
  let step = runs.next();
  while (!step.done) step = runs.next(ctx.runGraph(step.value.graph, step.value.feeds));
  return step.value;
}

/** What is known of a node's inputs where the question is whether the items of a batch stay apart. */
export interface RowInputs {
  readonly ranks: readonly number[];
  /** Of a batch of several items; empty for omitted inputs. */
  readonly dims: readonly (readonly number[])[];
  /** Inputs that are the same for every item and every batch, omitted ones among them; all others have items along axis 0. */
  readonly shared: readonly boolean[];
  /** The content of a shared input, where it is known. */
  numbers(i: number): readonly number[] | undefined;
}

/** True where `axis` (counted from the end where negative) is not axis 0. */
export function sparesRows(axis: number, rank: number): boolean {
  return (axis < 0 ? axis + rank : axis) > 0;
}

/** One operator of one domain, all its versions. */
export interface OpDefinition {
  readonly name: string;
  /** '' (ai.onnx) when omitted. */
  readonly domain?: string;
  /** First version that has the operator; later versions that changed it, ascending. */
  readonly since: readonly number[];
  /** Last version that has it, for operators that were removed. */
  readonly until?: number;
  /** Least and most inputs over all versions; Infinity for variadic ones. */
  readonly inputs: readonly [number, number];
  readonly outputs: readonly [number, number];
  /** Inputs among the least that a node may leave empty. */
  readonly omittable?: readonly number[];
  /** Every attribute of every version with its type (several where versions differ); anything else is refused. */
  readonly attributes?: Readonly<Record<string, AttributeType | readonly AttributeType[]>>;
  readonly traits?: readonly Trait[];
  /** Types of the outputs. May leave dimensions null or a shape undefined where they depend on data. */
  infer(ctx: InferContext): (ValueType | undefined)[];
  /** For operators with a body: types that the node's inputs give to the body's inputs. */
  bodyInputs?(ctx: InferContext): readonly (ValueType | undefined)[];
  /** Computes the outputs from the inputs. */
  reference(ctx: ReferenceContext): HostValue[];
  /**
   * For control flow: the reference in turns, so that whoever runs the bodies may wait, stop, or run them natively.
   * `reference` is then {@link runBodies} of it.
   */
  turns?(ctx: ReferenceContext): BodyRuns;
  /** Emits native steps. Returns a reason where this node has to run on its reference. */
  lower?(ctx: LowerContext): string | undefined;
  /**
   * True where row i of axis 0 of every output depends on row i of the inputs alone; inputs marked `shared` are the same
   * for all rows. Elementwise operators, views and windows need not say it.
   */
  keepsRows?(node: NodeReader, inputs: RowInputs): boolean;
  /** Inputs that tell nothing but sizes of the output: they may tell the size of the batch where rows are kept. */
  readonly sizeInputs?: readonly number[];
  /** True where row i of the output holds i more than row 0. */
  numbersRows?(node: NodeReader, inputs: RowInputs): boolean;
  /**
   * For operators that take what input 0 holds at places in input 1: which numbers there are of rows of axis 0, each one
   * or the first one along the last axis.
   */
  rowNumbers?(node: NodeReader): 'each' | 'first' | undefined;
  /**
   * True where elements of the outputs are affine functions of elements of the `varying` inputs, the same ones whatever
   * these hold. Views and movements are so in their first input.
   */
  affine?(varying: readonly boolean[]): boolean;
  /** Compares elements of two numbers. */
  readonly compares?: boolean;
  /** For convolutions and pools: the window that slides over input 0; `dims` gives the shape of an input. */
  window?(node: NodeReader, dims: (i: number) => readonly number[]): Window | undefined;
  /** For other operators that read neighbours of positions: the borders of input 0 that their kernel wants. */
  borders?(node: NodeReader): Borders | undefined;
  /** What happens to the channels, axis 1, of maps of `rank` dimensions where nothing happens to other axes. */
  channels?(node: NodeReader, rank: number): ChannelMove | undefined;
}

/**
 * Inputs become the channels of the output one after the other; the outputs are those of input 0; the output has some of
 * input 0, or all in another order.
 */
export type ChannelMove = 'join' | 'split' | 'slice' | 'shuffle';

/** Checks a definition's form and returns it. */
export function defineOp(definition: OpDefinition): OpDefinition {
  const ascending = definition.since.every((v, i, all) => i === 0 || v > all[i - 1]);
  if (!ascending || definition.since.length === 0) {
    throw new InternalError(`operator ${definition.name}: versions must ascend`);
  }
  return definition;
}

/** Key of an operator in tables: `Conv`, `com.microsoft.Attention`. */
export function opKey(domain: string, op: string): string {
  return domain ? `${domain}.${op}` : op;
}

/** The facts about a node that a {@link NodeReader} needs. */
export interface NodeFacts {
  readonly op: string;
  readonly domain: string;
  readonly name: string;
  readonly version: number;
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly inputs: readonly (unknown | null)[];
  readonly outputs: readonly (unknown | null)[];
}

/** Characters of a message: it may quote lists of the model, which may be of any length. */
const MESSAGE_LIMIT = 400;

/** Attribute access over a node; base of the three contexts. `phase` decides the class of error. */
export class NodeAccess implements NodeReader {
  readonly #node: NodeFacts;
  readonly #phase: 'load' | 'run';
  readonly inputCount: number;

  constructor(node: NodeFacts, phase: 'load' | 'run') {
    this.#node = node;
    this.#phase = phase;
    let count = node.inputs.length;
    while (count > 0 && node.inputs[count - 1] === null) count--;
    this.inputCount = count;
  }

  get op(): string {
    return this.#node.op;
  }
  get domain(): string {
    return this.#node.domain;
  }
  get name(): string {
    return this.#node.name;
  }
  get version(): number {
    return this.#node.version;
  }
  get outputCount(): number {
    return this.#node.outputs.length;
  }
  has(i: number): boolean {
    return i < this.#node.inputs.length && this.#node.inputs[i] !== null;
  }
  wants(i: number): boolean {
    return i < this.#node.outputs.length && this.#node.outputs[i] !== null;
  }
  hasAttribute(name: string): boolean {
    return this.#node.attributes.has(name);
  }
  int(name: string, fallback?: number): number {
    return this.#get('int', name, fallback);
  }
  float(name: string, fallback?: number): number {
    return this.#get('float', name, fallback);
  }
  string(name: string, fallback?: string): string {
    return this.#get('string', name, fallback);
  }
  ints(name: string, fallback?: readonly number[]): readonly number[] {
    return this.#get('ints', name, fallback);
  }
  floats(name: string, fallback?: readonly number[]): readonly number[] {
    return this.#get('floats', name, fallback);
  }
  strings(name: string, fallback?: readonly string[]): readonly string[] {
    return this.#get('strings', name, fallback);
  }
  tensorAttribute(name: string): HostTensor | undefined {
    return this.hasAttribute(name) ? this.#get<HostTensor>('tensor', name) : undefined;
  }
  graph(name: string): Graph {
    return this.#get('graph', name);
  }
  typeAttribute(name: string): ValueType | undefined {
    return this.hasAttribute(name) ? this.#get<ValueType>('type', name) : undefined;
  }

  error(message: string): FiligreeError {
    const node = this.#node;
    const details = { node: node.name, op: opKey(node.domain, node.op) };
    const clipped = message.length > MESSAGE_LIMIT ? `${message.slice(0, MESSAGE_LIMIT)}...` : message;
    const text = `${nodeText(node)}: ${clipped}`;
    return this.#phase === 'run' ? new RunError(text, details) : new ModelFormatError(text, details);
  }

  #get<T>(type: AttributeType, name: string, fallback?: T): T {
    const attribute = this.#node.attributes.get(name);
    if (!attribute) {
      if (fallback !== undefined) return fallback;
      throw this.error(`the attribute "${name}" (${type}) is missing`);
    }
    // Writers give an empty list either list type; both are empty.
    const empty = Array.isArray(attribute.value) && attribute.value.length === 0 && type.endsWith('s');
    if (attribute.type !== type && !empty) {
      throw this.error(`the attribute "${name}" is of type ${attribute.type}, expected ${type}`);
    }
    return attribute.value as T;
  }
}

/** The elements of an input that has to hold whole numbers. */
export function integerInput(ctx: ReferenceContext, i: number): number[] {
  const t = ctx.tensor(i);
  if (!isWhole(t.dtype)) throw ctx.error(`input ${i} is a tensor of ${t.dtype}, expected whole numbers`);
  return toIntegers(t);
}

/** Makes a non-negative axis, or throws. `rank` counts the axes; `inclusive` allows `rank` itself (Unsqueeze). */
export function normalizeAxis(ctx: NodeReader, axis: number, rank: number, what = 'axis'): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw ctx.error(`${what} ${axis} is outside [${-rank}, ${rank - 1}] for a tensor of rank ${rank}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** The concrete shape of an input, or a failure where inference is asked too early. */
export function concreteShape(ctx: InferContext, i: number): readonly number[] | undefined {
  const shape = ctx.shape(i);
  return isConcrete(shape) ? shape : undefined;
}

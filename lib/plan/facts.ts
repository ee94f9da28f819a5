/** What planning knows about values while it walks a graph: types, contents, uses. */

import { InternalError } from '../errors.ts';
import { type DType, isWhole } from '../ir/dtype.ts';
import { type Node, nodeText, readsOf, type Value, type ValueType } from '../ir/graph.ts';
import { type Borders, noBorders, type Window, widestBorders, windowBorders } from '../ir/segments.ts';
import { isConcrete, type Shape, sizeOf } from '../ir/shape.ts';
import { type HostTensor, type HostValue, toIntegers } from '../ir/tensor.ts';
import { findOp } from '../ops/index.ts';
import { runNode } from '../ops/interpret.ts';
import { type ChannelMove, type InferContext, NodeAccess } from '../ops/op.ts';
import type { Typed, TypedTensor } from './typed.ts';

/** Contents of up to this many elements are computed at planning where a shape depends on them. */
const FOLD_LIMIT = 4096;

class ConcreteInfer extends NodeAccess implements InferContext {
  readonly #inputs: readonly (Value | null)[];
  readonly #facts: Facts;

  constructor(node: Node, facts: Facts) {
    super(node, 'run');
    this.#inputs = node.inputs.map((value) => value && facts.resolve(value));
    this.#facts = facts;
  }

  #typed(i: number): Typed | undefined {
    const value = this.#inputs[i];
    return value ? this.#facts.typed(value) : undefined;
  }
  type(i: number): ValueType | undefined {
    const typed = this.#typed(i);
    if (typed?.kind === 'tensor') return { kind: 'tensor', dtype: typed.dtype, shape: typed.dims };
    return this.#inputs[i]?.type;
  }
  dtype(i: number): DType {
    const typed = this.#typed(i);
    if (typed?.kind === 'tensor') return typed.dtype;
    throw this.error(`input ${i} is ${typed ? 'not a tensor' : 'missing'}`);
  }
  shape(i: number): Shape | undefined {
    const typed = this.#typed(i);
    return typed?.kind === 'tensor' ? typed.dims : undefined;
  }
  constant(i: number): HostTensor | undefined {
    const value = this.#inputs[i];
    return value ? this.#facts.contentOf(value) : undefined;
  }
  integers(i: number): number[] | undefined {
    const content = this.constant(i);
    return content && isWhole(content.dtype) ? toIntegers(content) : undefined;
  }
  entries(i: number): number[] | undefined {
    return this.integers(i);
  }
}

/** The nodes that read each value. */
export type Uses = ReadonlyMap<Value, readonly Node[]>;

/** The facts of one walk. */
export class Facts {
  readonly #typed: Map<Value, Typed>;
  readonly #aliases: Map<Value, Value>;
  readonly #foldLimit: number;
  /** Values whose momentary content the walk looked at. */
  readonly asked = new Map<Value, HostTensor>();
  /** How often the walk looked for contents that the types of values do not tell. */
  looks = 0;
  readonly #derived = new Map<Value, HostTensor | null>();
  #uses: Uses = new Map();

  constructor(typed: ReadonlyMap<Value, Typed>, aliases: ReadonlyMap<Value, Value>, foldLimit = FOLD_LIMIT) {
    this.#foldLimit = foldLimit;
    this.#typed = new Map(typed);
    this.#aliases = new Map(aliases);
  }

  get aliases(): ReadonlyMap<Value, Value> {
    return this.#aliases;
  }

  /** The value that stands for `value`: a captured outer one, or the result of an inlined branch. */
  resolve(value: Value): Value {
    if (this.#aliases.size === 0) return value;
    let at = value;
    for (let next = this.#aliases.get(at); next; next = this.#aliases.get(at)) at = next;
    return at;
  }
  addAlias(from: Value, to: Value): void {
    this.#aliases.set(from, to);
  }

  /** Who reads the values of a graph. */
  findUses(nodes: readonly Node[]): Uses {
    const uses = new Map<Value, Node[]>();
    for (const node of nodes) {
      for (const read of readsOf(node)) {
        const value = this.resolve(read);
        const readers = uses.get(value);
        if (readers) readers.push(node);
        else uses.set(value, [node]);
      }
    }
    return uses;
  }
  setUses(uses: Uses): void {
    this.#uses = uses;
  }
  /** The nodes, of all that are left, that read the value. */
  readersOf(value: Value): readonly Node[] {
    return this.#uses.get(value) ?? [];
  }

  typed(value: Value): Typed | undefined {
    return this.#typed.get(value) ?? (value.constant && typeOfConstant(value.constant));
  }
  set(value: Value, typed: Typed): void {
    this.#typed.set(value, typed);
  }
  tensor(value: Value): TypedTensor {
    const typed = this.typed(value);
    if (typed?.kind !== 'tensor') throw new InternalError(`"${value.name}" is not a tensor of known shape`);
    return typed;
  }

  /** The content of a value, where it follows from constants, shapes, or small contents of this run. */
  contentOf(value: Value): HostTensor | undefined {
    const typed = this.typed(value);
    if (typed?.kind !== 'tensor') return undefined;
    if (typed.content) return typed.content;
    if (typed.momentary) {
      this.looks++;
      // A copy, because the caller may write to its tensor after the run.
      const content = this.asked.get(value) ?? { ...typed.momentary, data: typed.momentary.data.slice() };
      this.asked.set(value, content);
      return content;
    }
    if (sizeOf(typed.dims) > this.#foldLimit || !value.producer) return undefined;
    this.looks++;
    const known = this.#derived.get(value);
    if (known !== undefined) return known ?? undefined;
    const content = this.#evaluate(value, value.producer);
    this.#derived.set(value, content ?? null);
    return content;
  }

  #evaluate(value: Value, node: Node): HostTensor | undefined {
    const op = findOp(node.domain, node.op);
    const traits = op?.traits ?? [];
    if (!op || traits.includes('random') || traits.includes('control')) return undefined;
    const inputs: (HostValue | null)[] = [];
    for (const read of node.inputs) {
      const input = read && (traits.includes('metadata') ? this.#shell(read) : this.contentOf(this.resolve(read)));
      if (input === undefined) return undefined;
      inputs.push(input);
    }
    const result = runNode(node, inputs)[node.outputs.indexOf(value)];
    return result?.kind === 'tensor' ? result : undefined;
  }

  /** A tensor without its data, for operators that look at the type and shape alone. */
  #shell(read: Value): HostTensor | undefined {
    const typed = this.typed(this.resolve(read));
    if (typed?.kind !== 'tensor') return undefined;
    return { kind: 'tensor', dtype: typed.dtype, dims: typed.dims, data: new Uint8Array(0) };
  }

  /** Types of a node's outputs; undefined where one is not known before the node has run. */
  infer(node: Node): Typed[] | undefined {
    const op = findOp(node.domain, node.op);
    if (!op) throw new InternalError(`no operator ${nodeText(node)}`);
    const types = op.infer(new ConcreteInfer(node, this));
    const typed: Typed[] = [];
    for (let i = 0; i < node.outputs.length; i++) {
      if (!node.outputs[i]) {
        typed.push({ kind: 'opaque' });
        continue;
      }
      const type = types[i];
      if (type && type.kind !== 'tensor') typed.push({ kind: 'opaque' });
      else if (type && isConcrete(type.shape)) typed.push({ kind: 'tensor', dtype: type.dtype, dims: type.shape });
      else return undefined;
    }
    return typed;
  }

  /** Content of every output where all inputs have one that every run shares; undefined otherwise. */
  fold(node: Node, types: readonly Typed[]): HostValue[] | undefined {
    const op = findOp(node.domain, node.op);
    const traits = op?.traits ?? [];
    if (!op || traits.includes('random') || traits.includes('control')) return undefined;
    const small = types.every((type) => type.kind === 'tensor' && sizeOf(type.dims) <= this.#foldLimit);
    if (!small) return undefined;
    const inputs: (HostValue | null)[] = [];
    for (const read of node.inputs) {
      const typed = read && this.typed(this.resolve(read));
      const shared = typed?.kind === 'tensor' ? typed.content : undefined;
      const input = read && (traits.includes('metadata') ? this.#shell(read) : shared);
      if (input === undefined) return undefined;
      inputs.push(input);
    }
    return runNode(node, inputs);
  }

  /** The borders that kernels read of a value, directly or through elementwise operators and splits of channels. */
  #bordersOver(value: Value, depth = 0): Borders[] {
    const found: Borders[] = [];
    if (depth > 8) return found;
    for (const node of this.readersOf(value)) {
      const op = findOp(node.domain, node.op);
      const first = node.inputs[0] && this.resolve(node.inputs[0]);
      const window = op?.window && first === value ? this.windowOf(node) : undefined;
      const borders = first === value ? op?.borders?.(new NodeAccess(node, 'run')) : undefined;
      if (window) found.push(windowBorders(window));
      if (borders) found.push(borders);
      const move = this.channelMove(node);
      const lasts = op?.traits?.includes('elementwise') || move === 'split' || move === 'slice';
      for (const output of lasts ? node.outputs : []) {
        if (output) found.push(...this.#bordersOver(output, depth + 1));
      }
    }
    return found;
  }

  /** What a node does to the channels of a feature map; undefined where it does something else. */
  channelMove(node: Node): ChannelMove | undefined {
    const { channels } = findOp(node.domain, node.op) ?? {};
    const [from, to] = [node.inputs[0], node.outputs.find((output) => output)].map((value) => {
      const typed = channels && value ? this.typed(this.resolve(value)) : undefined;
      return typed?.kind === 'tensor' ? typed.dims : [];
    });
    if (!channels || from.length < 3 || from.length > 5 || to.length !== from.length) return undefined;
    const others = from.every((dim, axis) => axis === 1 || dim === to[axis]);
    return others ? channels(new NodeAccess(node, 'run'), from.length) : undefined;
  }

  /** The window of a convolution or pool, where its weights' shape is known. */
  windowOf(node: Node): Window | undefined {
    const dims = (i: number): readonly number[] => {
      const read = node.inputs[i];
      const typed = read ? this.typed(this.resolve(read)) : undefined;
      return typed?.kind === 'tensor' ? typed.dims : [];
    };
    return findOp(node.domain, node.op)?.window?.(new NodeAccess(node, 'run'), dims);
  }

  bordersAhead(value: Value): Borders {
    return this.#bordersOver(value).reduce(widestBorders, noBorders);
  }

  /** Product of the strides of the windows that follow, along the deepest path. */
  stridesAhead(value: Value, depth = 0): [number, number] {
    let rows = 1;
    let columns = 1;
    if (depth > 200) return [rows, columns];
    for (const node of this.readersOf(value)) {
      const op = findOp(node.domain, node.op);
      const follows = op?.window || op?.traits?.includes('elementwise') || this.channelMove(node);
      for (const output of follows ? node.outputs : []) {
        if (!output) continue;
        const [y, x] = this.#stridesCached(output, depth + 1);
        // A window moves over its first input alone; another is a residual.
        const window = op?.window && node.inputs[0] === value ? this.windowOf(node) : undefined;
        rows = Math.max(rows, y * (window?.strides[1] ?? 1));
        columns = Math.max(columns, x * (window?.strides[2] ?? 1));
      }
    }
    return [rows, columns];
  }
  readonly #strides = new Map<Value, [number, number]>();
  #stridesCached(value: Value, depth: number): [number, number] {
    let strides = this.#strides.get(value);
    if (!strides) {
      strides = this.stridesAhead(value, depth);
      this.#strides.set(value, strides);
    }
    return strides;
  }
}

const constantTypes = new WeakMap<HostValue, Typed>();

/** The same object for the same constant. */
function typeOfConstant(constant: HostValue): Typed {
  let typed = constantTypes.get(constant);
  if (!typed) {
    typed = typedOf(constant, true);
    constantTypes.set(constant, typed);
  }
  return typed;
}

/** The type of a content; `shared` for contents that every run has. */
export function typedOf(content: HostValue, shared: boolean): Typed {
  if (content.kind !== 'tensor') return { kind: 'opaque' };
  const { dtype, dims } = content;
  if (shared) return { kind: 'tensor', dtype, dims, content };
  const small = sizeOf(dims) <= 64;
  return { kind: 'tensor', dtype, dims, ...(small ? { momentary: content } : {}) };
}

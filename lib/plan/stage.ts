/**
 * Plans a stretch of a graph for concrete shapes: native plans, and between them the nodes that run on references.
 *
 * A stage ends where a shape depends on data: the runtime runs it, reads the shapes, and plans the next stage.
 */

import { InternalError, MemoryError, RunError } from '../errors.ts';
import { byteLength } from '../ir/dtype.ts';
import { bodiesOf, type Graph, type Node, nodeText, readsOf, type Value } from '../ir/graph.ts';
import { MAX_ELEMENTS, shapeText, sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { findOp } from '../ops/index.ts';
import type { LowerContext } from '../ops/lower.ts';
import type { EncodedPlan } from './builder.ts';
import { type Conclusion, Conclusions, conclude } from './conclusions.ts';
import type { Deed } from './deeds.ts';
import { Facts, type Uses } from './facts.ts';
import { Joins } from './joins.ts';
import { NodeLowering, type NodeMemory, type ValueFacts } from './lowering.ts';
import { Part, type PlanContext } from './part.ts';
import type { Typed, TypedTensor } from './typed.ts';

/** What is left to run of a graph. */
export interface Rest {
  readonly nodes: readonly Node[];
  readonly outputs: readonly Value[];
  /** Values that stand for others, from inlined branches. */
  readonly aliases: ReadonlyMap<Value, Value>;
}

export interface NativeSection {
  readonly kind: 'native';
  readonly plan: EncodedPlan;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly outputTypes: readonly TypedTensor[];
}

export interface ReferenceSection {
  readonly kind: 'reference';
  readonly node: Node;
  /** The node's inputs, with aliases resolved. */
  readonly inputs: readonly (Value | null)[];
  /** Outer values of the node's bodies: as the bodies name them, and what holds them. */
  readonly captures: readonly (readonly [Value, Value])[];
  /** Why no kernel runs it. */
  readonly reason: string;
}

export type Section = NativeSection | ReferenceSection;

export interface Stage {
  readonly sections: readonly Section[];
  /** Contents that planning looked at: the stage holds for these alone. */
  readonly asked: ReadonlyMap<Value, HostTensor>;
  /** Shapes of what the stage computes. */
  readonly shapes: ReadonlyMap<Value, readonly number[]>;
  /** Contents known at planning, that readers outside kernels may want. */
  readonly known: ReadonlyMap<Value, HostTensor>;
  readonly rest: Rest | undefined;
  /** Values at hand that the rest reads. */
  readonly survivors: readonly Value[];
  /** The values to return, when there is no rest. */
  readonly outputs: readonly Value[];
}

/** The nodes that give anything. */
const givers = ({ nodes }: Graph): Node[] => nodes.filter((node) => node.outputs.some((output) => output));

/** The whole of a graph. */
export function wholeGraph(graph: Graph): Rest {
  return { nodes: givers(graph), outputs: graph.outputs, aliases: new Map() };
}

/** What outlives plans: those of one program, but for what packings are known by, which programs share. */
export class PlanMemory {
  readonly nodes: WeakMap<Node, NodeMemory>;
  readonly conclusions = new Conclusions();
  readonly deeds = new WeakMap<Conclusion, readonly Deed[]>();
  /** How many nodes were lowered by their operator, which may have looked at weights. */
  lowered = 0;
  /** Who reads what, of the graph planned last. */
  #uses: { readonly graph: readonly unknown[]; readonly of: Uses } | undefined;

  constructor(nodes = new WeakMap<Node, NodeMemory>()) {
    this.nodes = nodes;
  }

  /** The uses of a graph that these parts identify, as found by `find` or before. */
  usesOf(graph: readonly unknown[], find: () => Uses): Uses {
    const known = this.#uses;
    const same = known?.graph.length === graph.length && graph.every((part, i) => part === known.graph[i]);
    if (!known || !same) this.#uses = { graph, of: find() };
    return (this.#uses as { readonly of: Uses }).of;
  }
}

/**
 * Plans the next stage of `rest`. `typed` holds the types (and small contents) of the values at hand. A generator, so
 * that the caller may let others run between nodes.
 */
export function* planStage(
  rest: Rest,
  typed: ReadonlyMap<Value, Typed>,
  context: PlanContext,
  memory: PlanMemory,
): Generator<void, Stage> {
  const planner = new StagePlanner(rest, typed, context, memory);
  return yield* planner.run();
}

/** Nodes that are planned at a stretch, where that is quick. */
const STRETCH = 8;

/** The output of a view is its first input's bytes. */
function lowerView(ctx: LowerContext): undefined {
  ctx.alias(0, 0);
}

class StagePlanner {
  readonly #facts: Facts;
  readonly #joins: Joins;
  readonly #context: PlanContext;
  readonly #memory: PlanMemory;
  readonly #outputs: readonly Value[];
  /** The outputs as they are named while steps are emitted. */
  #results: ReadonlySet<Value> = new Set();
  readonly #sections: Section[] = [];
  readonly #known = new Map<Value, HostTensor>();
  /** What is known of nodes that have to run. */
  readonly #running = new Map<Node, Conclusion>();
  readonly #nodes: Node[];
  /** What is planned: the nodes at hand, and the branches taken. */
  readonly #graph: unknown[];
  readonly #lowerFacts: ValueFacts;
  #at = 0;
  #part: Part | undefined;

  constructor(rest: Rest, typed: ReadonlyMap<Value, Typed>, context: PlanContext, memory: PlanMemory) {
    this.#facts = new Facts(typed, rest.aliases);
    this.#joins = new Joins(this.#facts);
    this.#context = context;
    this.#memory = memory;
    memory.conclusions.begin();
    this.#nodes = [...rest.nodes];
    this.#graph = [rest];
    this.#outputs = rest.outputs;
    this.#lowerFacts = {
      typeOf: (value) => this.#facts.tensor(value),
      contentOf: (value) => this.#facts.contentOf(value),
      diesAt: (value, node) => this.#isLastReader(value, node),
      stridesAhead: (value) => this.#facts.stridesAhead(value),
    };
  }

  *run(): Generator<void, Stage> {
    const dynamic = yield* this.#inferAll();
    this.#facts.setUses(this.#memory.usesOf(this.#graph, () => this.#facts.findUses(this.#nodes)));
    this.#results = new Set(this.#outputs.map((output) => this.#facts.resolve(output)));
    const end = this.#at;
    yield* this.#lookAhead(end);
    for (this.#at = 0; this.#at < end; ) {
      const node = this.#nodes[this.#at++];
      const conclusion = this.#running.get(node);
      const repeated = !conclusion || this.#repeat(node, conclusion);
      if (!repeated) yield* this.#emit(node, conclusion);
      if (!repeated || this.#at % STRETCH === 0) yield;
    }
    if (dynamic) {
      this.#at++;
      yield* this.#reference(dynamic, 'the shape of its result depends on data');
      yield;
    }
    return yield* this.#finish(dynamic !== undefined);
  }

  /** Types of all nodes up to the first whose shapes depend on data, which is returned. */
  *#inferAll(): Generator<void, Node | undefined> {
    while (this.#at < this.#nodes.length) {
      const node = this.#nodes[this.#at];
      if (this.#inlineBranch(node)) continue;
      const conclusion = this.#conclude(node);
      if (!conclusion) return node;
      this.#take(node, conclusion);
      this.#at++;
      if (this.#at % STRETCH === 0) yield;
    }
    return undefined;
  }

  /** Finds out what windows want of the values before them, in turns from the last to the first: the facts remember it. */
  *#lookAhead(end: number): Generator<void, void> {
    const nodes = this.#nodes.slice(0, end);
    if (!nodes.some(({ domain, op }) => findOp(domain, op)?.window)) return;
    for (const [i, node] of nodes.reverse().entries()) {
      for (const output of node.outputs) if (output) this.#facts.stridesAhead(output);
      if (i % STRETCH === 0) yield;
    }
  }

  /** Refuses a value of impossible sizes, or that no memory holds, before anything is made for it. */
  #checkMemory(node: Node, types: readonly Typed[]): void {
    for (const type of types) {
      if (type.kind !== 'tensor' || type.dtype === 'string') continue;
      if (!type.dims.every((dim) => Number.isInteger(dim) && dim >= 0)) {
        throw new RunError(`${nodeText(node)}: an output of shape ${shapeText(type.dims)}`, { node: node.name });
      }
      const elements = sizeOf(type.dims);
      // Strides are counted over the other axes of an empty tensor too.
      if (elements === 0 && sizeOf(type.dims.filter((dim) => dim > 0)) > MAX_ELEMENTS) {
        const text = `${nodeText(node)}: an empty output of shape ${shapeText(type.dims)} is too large`;
        throw new RunError(text, { node: node.name });
      }
      if (byteLength(type.dtype, elements) <= this.#context.memoryLimit) continue;
      const text = `${nodeText(node)}: an output of ${elements} elements ${shapeText(type.dims)} is larger than memory`;
      throw new MemoryError(text, { node: node.name, elements });
    }
  }

  *#finish(more: boolean): Generator<void, Stage> {
    yield* this.#closePart(this.#at);
    const rest = { nodes: this.#nodes.slice(this.#at), outputs: this.#outputs, aliases: this.#facts.aliases };
    return {
      sections: this.#sections,
      asked: this.#facts.asked,
      shapes: this.#shapes(),
      known: this.#known,
      rest: more ? rest : undefined,
      survivors: more ? this.#survivors(rest) : [],
      outputs: this.#outputs.map((value) => this.#facts.resolve(value)),
    };
  }

  #shapes(): Map<Value, readonly number[]> {
    const shapes = new Map<Value, readonly number[]>();
    for (const [node, { outputs: types }] of this.#running) {
      node.outputs.forEach((output, i) => {
        const type = types[i];
        if (output && type?.kind === 'tensor') shapes.set(output, type.dims);
      });
    }
    return shapes;
  }

  /** What the rest reads and does not compute, constants left out. */
  #survivors(rest: Rest): Value[] {
    const computed = new Set(rest.nodes.flatMap((node) => node.outputs));
    const read = [...rest.nodes.flatMap(readsOf), ...rest.outputs].map((value) => this.#facts.resolve(value));
    return [...new Set(read)].filter((value) => !computed.has(value) && !value.constant);
  }

  /** Replaces an If whose condition is known by the nodes of the branch taken. */
  #inlineBranch(node: Node): boolean {
    if (node.op !== 'If' || node.domain !== '') return false;
    const condition = node.inputs[0] && this.#facts.contentOf(this.#facts.resolve(node.inputs[0]));
    if (!condition || sizeOf(condition.dims) !== 1) return false;
    const branch = node.attributes.get((condition.data as Uint8Array)[0] ? 'then_branch' : 'else_branch');
    if (branch?.type !== 'graph') throw new InternalError(`${nodeText(node)} has no branch`);
    const body = branch.value;
    this.#graph.push(body);
    for (const { inner, outer } of body.captures) this.#facts.addAlias(inner, outer);
    node.outputs.forEach((output, i) => {
      if (output) this.#facts.addAlias(output, body.outputs[i]);
    });
    this.#nodes.splice(this.#at, 1, ...givers(body));
    return true;
  }

  /** Types of a node's outputs, and contents where they follow; undefined where they are not known before it has run. */
  #conclude(node: Node): Conclusion | undefined {
    const inputs = node.inputs.map((value) => value && this.#facts.typed(this.#facts.resolve(value)));
    const { conclusions } = this.#memory;
    const known = conclusions.find(node, inputs);
    if (known) return known;
    const { looks } = this.#facts;
    const types = this.#facts.infer(node);
    if (!types) return undefined;
    this.#checkMemory(node, types);
    const conclusion = conclude(inputs, types, this.#facts.fold(node, types), conclusions.last(node));
    // What looked further than at types holds for this run alone.
    const lasts = this.#facts.looks === looks && bodiesOf(node).length === 0;
    if (lasts) conclusions.add(node, conclusion);
    return conclusion;
  }

  #take(node: Node, conclusion: Conclusion): void {
    const { outputs, contents } = conclusion;
    for (const [i, output] of node.outputs.entries()) {
      if (!output) continue;
      this.#facts.set(output, outputs[i]);
      const content = contents?.[i];
      if (content?.kind === 'tensor') this.#known.set(output, content);
    }
    if (!contents) this.#running.set(node, conclusion);
  }

  *#emit(node: Node, conclusion: Conclusion): Generator<void, void> {
    const reason = this.#lower(node, conclusion);
    if (reason !== undefined) yield* this.#reference(node, reason);
  }

  /** Does again what a lowering for the same types did. */
  #repeat(node: Node, conclusion: Conclusion): boolean {
    const deeds = this.#memory.deeds.get(conclusion);
    return deeds !== undefined && this.#lowering(node, this.#openPart()).repeat(deeds);
  }

  /** Emits native steps; the reason where that is not possible. */
  #lower(node: Node, conclusion: Conclusion): string | undefined {
    const op = findOp(node.domain, node.op);
    const lower = op?.lower ?? (op?.traits?.includes('view') ? lowerView : undefined);
    if (!lower) return 'the operator has no kernel';
    const native = (typed: Typed | null | undefined): boolean => typed?.kind === 'tensor' && typed.dtype !== 'string';
    const fits =
      node.inputs.every((value, i) => !value || native(conclusion.inputs[i])) &&
      conclusion.outputs.every((type, i) => !node.outputs[i] || native(type));
    if (!fits) return 'it handles strings, sequences, optionals or maps';
    const part = this.#openPart();
    const mark = part.builder.stepCount;
    const { looks } = this.#facts;
    const lowering = this.#lowering(node, part);
    this.#memory.lowered++;
    const reason = lower(lowering);
    if (reason !== undefined) {
      if (part.builder.stepCount !== mark) throw new InternalError(`${nodeText(node)}: gave up after emitting steps`);
      for (const output of node.outputs) if (output) part.forget(output);
    } else if (lowering.deeds && this.#facts.looks === looks) {
      this.#memory.deeds.set(conclusion, lowering.deeds);
    }
    return reason;
  }

  #openPart(): Part {
    this.#part ??= new Part(
      this.#context,
      (value) => this.#facts.tensor(value),
      (value) => this.#facts.bordersAhead(value),
      this.#joins,
    );
    return this.#part;
  }

  #lowering(node: Node, part: Part): NodeLowering {
    let memory = this.#memory.nodes.get(node);
    if (!memory) {
      memory = new Map();
      this.#memory.nodes.set(node, memory);
    }
    const inputs = node.inputs.map((value) => value && this.#facts.resolve(value));
    return new NodeLowering(node, inputs, part, this.#lowerFacts, memory);
  }

  #isLastReader(value: Value, node: Node): boolean {
    if (this.#isOutput(value)) return false;
    const readers = this.#facts.readersOf(value);
    return readers.length > 0 && readers.at(-1) === node;
  }
  #isOutput(value: Value): boolean {
    return this.#results.has(value);
  }

  *#reference(node: Node, reason: string): Generator<void, void> {
    yield* this.#closePart(this.#at - 1);
    const captures: (readonly [Value, Value])[] = [];
    for (const body of bodiesOf(node)) {
      for (const { outer } of body.captures) captures.push([outer, this.#facts.resolve(outer)]);
    }
    const inputs = node.inputs.map((value) => value && this.#facts.resolve(value));
    this.#sections.push({ kind: 'reference', node, inputs, captures, reason });
  }

  /** Ends the native plan in the making: what nodes from number `from` on and the caller read becomes its outputs. */
  *#closePart(from: number): Generator<void, void> {
    const part = this.#part;
    this.#part = undefined;
    if (!part) return;
    const left = new Set<Value>();
    for (const node of this.#nodes.slice(from)) {
      for (const read of readsOf(node)) left.add(this.#facts.resolve(read));
    }
    for (const output of this.#outputs) left.add(this.#facts.resolve(output));
    const results = part.computed().filter((value) => left.has(value));
    if (results.length === 0) return;
    const plan = yield* part.finish(results, this.#nodes[Math.max(0, this.#at - 1)]);
    const outputTypes = part.outputs.map((value) => this.#facts.tensor(value));
    this.#sections.push({ kind: 'native', plan, inputs: part.inputs, outputs: part.outputs, outputTypes });
  }
}

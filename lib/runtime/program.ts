/**
 * Runs a graph: finds or plans its stages for the shapes at hand and executes their sections.
 *
 * Execution is a generator of requests, so that one description serves runs on the event loop's side (awaiting) and
 * synchronous ones.
 */

import { InternalError, RunError } from '../errors.ts';
import { dtypeInfo, type NumericStorage, storageLength } from '../ir/dtype.ts';
import type { Graph, Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import type { DimsOf } from '../ops/arithmetic.ts';
import { runNode, startTurns } from '../ops/interpret.ts';
import type { BodyRuns } from '../ops/op.ts';
import type { EncodedPlan } from '../plan/builder.ts';
import { typedOf } from '../plan/facts.ts';
import type { PlanContext } from '../plan/part.ts';
import {
  type NativeSection,
  PlanMemory,
  planStage,
  type ReferenceSection,
  type Rest,
  type Section,
  type Stage,
  wholeGraph,
} from '../plan/stage.ts';
import type { Typed } from '../plan/typed.ts';
import { copyFeeds } from './feed-copies.ts';
import type { NativePlan } from './native.ts';
import type { RestoredStage } from './stage-store.ts';
import type { Weights } from './weights.ts';

/** What an execution asks of its driver. */
export type Request =
  | { readonly kind: 'breathe' }
  | { readonly kind: 'prepare'; readonly plan: EncodedPlan }
  | {
      readonly kind: 'run';
      readonly plan: NativePlan;
      readonly section: NativeSection;
      readonly dimsOf: DimsOf;
      readonly inputs: readonly NumericStorage[];
      /** Which inputs nobody changes while the run lasts. */
      readonly owned: readonly boolean[];
      readonly outputs: readonly (NumericStorage | null)[];
    }
  /** Tells that a node ran on its reference: from when (performance.now()), and for how many milliseconds. */
  | {
      readonly kind: 'reference';
      readonly section: ReferenceSection;
      readonly dimsOf: DimsOf;
      readonly from: number;
      readonly elapsed: number;
    };

/** What a `run` request is answered with. */
export type Answer = readonly (NumericStorage | ArrayBuffer)[] | undefined;

export type Execution<T> = Generator<Request, T, Answer>;

/** Runs an execution to its end on this thread. */
export type SyncDriver = <T>(execution: Execution<T>) => T;

interface PlannedSection {
  readonly section: Section;
  readonly plan: NativePlan | undefined;
}

interface PlannedStage {
  readonly stage: Stage;
  readonly sections: readonly PlannedSection[];
  readonly next: StageCache | undefined;
  /** Values that are read after the first section has begun. */
  readonly late: ReadonlySet<Value>;
  /** Executions that are not over. */
  users: number;
  /** Out of its cache: its plans go with the last user. */
  evicted: boolean;
}

/** Plans of one rest, by shapes. The least recently used go first. */
class StageCache {
  readonly rest: Rest;
  readonly #entries = new Map<string, PlannedStage[]>();

  constructor(rest: Rest) {
    this.rest = rest;
  }

  find(key: string, values: ReadonlyMap<Value, HostValue>): PlannedStage | undefined {
    const stages = this.#entries.get(key);
    const found = stages?.find(({ stage }) => sameContents(stage.asked, values));
    if (stages && found) {
      this.#entries.delete(key);
      this.#entries.set(key, stages);
    }
    return found;
  }

  /** Keeps a stage; returns those that had to go. */
  add(key: string, stage: PlannedStage, limit: number): PlannedStage[] {
    const stages = this.#entries.get(key) ?? [];
    stages.push(stage);
    this.#entries.set(key, stages);
    if (stages.length > limit) return stages.splice(0, 1);
    if (this.#entries.size <= limit) return [];
    const [oldest] = this.#entries.keys();
    const gone = this.#entries.get(oldest) ?? [];
    this.#entries.delete(oldest);
    return gone;
  }

  get stages(): PlannedStage[] {
    return [...this.#entries.values()].flat();
  }
}

function lateReads({ sections, outputs, survivors }: Stage): Set<Value> {
  const late = new Set<Value>([...outputs, ...survivors]);
  for (const [i, section] of sections.entries()) {
    if (i === 0 && section.kind === 'native') continue;
    for (const value of section.inputs) if (value) late.add(value);
    if (section.kind === 'reference') for (const [, value] of section.captures) late.add(value);
  }
  return late;
}

function sameContents(asked: ReadonlyMap<Value, HostTensor>, values: ReadonlyMap<Value, HostValue>): boolean {
  for (const [value, content] of asked) {
    const now = values.get(value);
    if (now?.kind !== 'tensor') return false;
    for (let i = 0; i < content.data.length; i++) if (content.data[i] !== now.data[i]) return false;
  }
  return true;
}

/** Work in turns, with a breath between any two; `after` follows each. */
function* inBreaths<T>(work: Generator<void, T>, after?: () => void): Execution<T> {
  for (;;) {
    const step = work.next();
    after?.();
    if (step.done) return step.value;
    yield { kind: 'breathe' };
  }
}

/** What plans for values are known by: copies of the values have the same key. */
function keyOf(values: ReadonlyMap<Value, HostValue>): string {
  const words: string[] = [];
  for (const content of values.values()) {
    words.push(content.kind === 'tensor' ? `${content.dtype}[${content.dims.join()}]` : content.kind);
  }
  return words.join(';');
}

/** What planning sees of values: small ones with their contents, so that they may not change meanwhile. */
function typesOf(values: ReadonlyMap<Value, HostValue>): Map<Value, Typed> {
  return new Map([...values].map(([value, content]) => [value, typedOf(content, false)]));
}

/** Whose memory an execution uses. */
export interface Memory {
  /** Memory of the caller for some outputs; the engine allocates the others. */
  readonly targets?: ReadonlyMap<Value, NumericStorage> | undefined;
  /** Collects the buffers that the engine allocates. */
  readonly fresh?: Set<ArrayBufferLike>;
  /** Bindings whose arrays belong to a caller that may change them once the call has returned. */
  readonly foreign?: ReadonlySet<Value>;
}

/** Keeps stages of a program beyond this process. */
export interface ProgramStore {
  /** The stage for inputs of these types, in turns. */
  restore(types: string): Generator<void, RestoredStage | undefined>;
  save(types: string, stage: Stage): void;
}

/** What the programs of one session share. */
export interface ProgramContext {
  readonly plan: PlanContext;
  readonly weights: Weights;
  readonly planMemory: PlanMemory;
  /** Plans kept for each graph and rest. */
  readonly planLimit: number;
}

/** One graph, main or body, with its plans. */
export class Program {
  readonly #graph: Graph;
  readonly #context: ProgramContext;
  readonly #first: StageCache;
  readonly #bodies = new Map<Graph, Program>();
  readonly #sync: SyncDriver;
  readonly #store: ProgramStore | undefined;

  constructor(graph: Graph, context: ProgramContext, sync: SyncDriver, store?: ProgramStore) {
    this.#store = store;
    this.#graph = graph;
    this.#context = context;
    this.#first = new StageCache(wholeGraph(graph));
    this.#sync = sync;
  }

  /** Stages planned so far, for inspection. */
  get stages(): readonly Stage[] {
    const collect = (cache: StageCache): Stage[] =>
      cache.stages.flatMap((planned) => [planned.stage, ...(planned.next ? collect(planned.next) : [])]);
    return collect(this.#first);
  }

  /** Runs the graph on `bindings` of its inputs and captures. */
  *execute(bindings: ReadonlyMap<Value, HostValue>, memory: Memory = {}): Execution<HostValue[]> {
    let cache = this.#first;
    let values = new Map(bindings);
    const used: PlannedStage[] = [];
    try {
      let key = keyOf(values);
      if (memory.foreign) {
        const first = cache.find(key, values);
        yield* copyFeeds(values, memory.foreign, (value) => !first || first.late.has(value));
      }
      for (;;) {
        const planned = yield* this.#plan(cache, key, values);
        planned.users++;
        used.push(planned);
        for (const { section, plan } of planned.sections) {
          if (section.kind === 'native') yield* this.#native(section, plan as NativePlan, planned, values, memory);
          else yield* this.#reference(section, planned, values);
        }
        if (!planned.next) return planned.stage.outputs.map((value) => this.#read(value, planned, values));
        values = this.#surviving(planned, values);
        key = keyOf(values);
        cache = planned.next;
      }
    } finally {
      for (const planned of used) {
        planned.users--;
        this.#releaseUnused(planned);
      }
    }
  }

  /** Plans for the types at hand without running; for warming up. Stops where a shape depends on data. */
  *prepare(bindings: ReadonlyMap<Value, HostValue>): Execution<Stage> {
    return (yield* this.#plan(this.#first, keyOf(bindings), bindings)).stage;
  }

  /** The first stage for inputs of these types, for looking at: nothing is packed or kept. */
  *sketch(typed: ReadonlyMap<Value, Typed>): Execution<Stage> {
    return yield* inBreaths(planStage(this.#first.rest, typed, this.#context.plan, new PlanMemory()));
  }

  /** The stage for these values, which `key` belongs to. */
  *#plan(cache: StageCache, key: string, values: ReadonlyMap<Value, HostValue>): Execution<PlannedStage> {
    const known = cache.find(key, values) ?? (cache === this.#first ? yield* this.#restored(key, values) : undefined);
    if (known) return known;
    const { plan, planMemory, weights } = this.#context;
    let { lowered } = planMemory;
    const stage = yield* inBreaths(planStage(cache.rest, typesOf(values), plan, planMemory), () => {
      // Operators look at a few weights of each layer, which can bring in megabytes around each.
      if (planMemory.lowered !== lowered) weights.dropFilePages();
      lowered = planMemory.lowered;
    });
    const sections: PlannedSection[] = [];
    for (const section of stage.sections) {
      if (section.kind === 'native') {
        yield { kind: 'prepare', plan: section.plan };
        sections.push({ section, plan: weights.instantiate(section.plan) });
        yield { kind: 'breathe' };
      } else {
        sections.push({ section, plan: undefined });
      }
    }
    const kept = this.#keep(cache, key, values, stage, sections);
    if (cache === this.#first && kept.stage === stage) this.#store?.save(key, stage);
    return kept;
  }

  /** Puts a stage into its cache, or gives it up where another run has planned the same while this one waited. */
  #keep(
    cache: StageCache,
    key: string,
    values: ReadonlyMap<Value, HostValue>,
    stage: Stage,
    sections: readonly PlannedSection[],
  ): PlannedStage {
    const raced = cache.find(key, values);
    const next = stage.rest && new StageCache(stage.rest);
    const made: PlannedStage = { stage, sections, next, late: lateReads(stage), users: 0, evicted: false };
    for (const gone of raced ? [made] : cache.add(key, made, this.#context.planLimit)) {
      gone.evicted = true;
      this.#releaseUnused(gone);
    }
    return raced ?? made;
  }

  /** The stage that the store has for these values. */
  *#restored(key: string, values: ReadonlyMap<Value, HostValue>): Execution<PlannedStage | undefined> {
    if (!this.#store) return undefined;
    const restored = yield* inBreaths(this.#store.restore(key));
    if (!restored) return undefined;
    const { stage, plans } = restored;
    const sections = stage.sections.map((section, i) => ({ section, plan: plans[i] }));
    if (sameContents(stage.asked, values)) return this.#keep(this.#first, key, values, stage, sections);
    for (const plan of plans) this.#context.weights.release(plan);
    return undefined;
  }

  /** True where a stage for these values is planned. */
  has(bindings: ReadonlyMap<Value, HostValue>): boolean {
    return this.#first.find(keyOf(bindings), bindings) !== undefined;
  }

  /** True where a stage for these values is at hand, if only in the store. */
  *isPlanned(bindings: ReadonlyMap<Value, HostValue>): Execution<boolean> {
    const key = keyOf(bindings);
    return (this.#first.find(key, bindings) ?? (yield* this.#restored(key, bindings))) !== undefined;
  }

  /** Frees an evicted stage and all that follow it. Who uses one of those uses this one too. */
  #releaseUnused({ evicted, users, sections, next }: PlannedStage): void {
    if (!evicted || users > 0) return;
    for (const { plan } of sections) if (plan) this.#context.weights.release(plan);
    for (const stage of next?.stages ?? []) this.#releaseUnused({ ...stage, evicted: true });
  }

  *#native(
    section: NativeSection,
    plan: NativePlan,
    planned: PlannedStage,
    values: Map<Value, HostValue>,
    { targets, fresh, foreign }: Memory,
  ): Execution<void> {
    const inputs = section.inputs.map((value) => {
      const content = this.#read(value, planned, values);
      if (content.kind !== 'tensor') throw new InternalError(`"${value.name}" is a ${content.kind} for a kernel`);
      return content.data as NumericStorage;
    });
    const outputs = section.outputs.map((value) => targets?.get(value) ?? null);
    const dimsOf = dimsFrom(planned, values);
    // Without knowing whose its values are, a body takes none for its own.
    const owned = section.inputs.map((value) => foreign !== undefined && !foreign.has(value));
    const results = yield { kind: 'run', plan, section, dimsOf, inputs, owned, outputs };
    section.outputs.forEach((value, i) => {
      const type = section.outputTypes[i];
      const result = (results as readonly (NumericStorage | ArrayBuffer)[])[i];
      if (result instanceof ArrayBuffer) fresh?.add(result);
      values.set(value, hostTensor(type.dtype, type.dims, result));
    });
  }

  *#reference(section: ReferenceSection, planned: PlannedStage, values: Map<Value, HostValue>): Execution<void> {
    const { node } = section;
    const from = performance.now();
    const inputs = section.inputs.map((value) => value && this.#read(value, planned, values));
    const outer = new Map(section.captures.map(([as, value]) => [as, this.#read(value, planned, values)] as const));
    const turns = startTurns(node, inputs);
    const results = turns
      ? yield* this.#turns(turns, outer)
      : runNode(node, inputs, outer, (body, feeds, from) => this.#sync(this.#body(body, feeds, from)));
    node.outputs.forEach((output, i) => {
      if (output) values.set(output, results[i]);
    });
    const elapsed = performance.now() - from;
    yield { kind: 'reference', section, dimsOf: dimsFrom(planned, values), from, elapsed };
  }

  /** Runs the bodies that a control-flow node asks for, with a breath between any two: a loop may not end by itself. */
  *#turns(turns: BodyRuns, outer: ReadonlyMap<Value, HostValue>): Execution<HostValue[]> {
    let step = turns.next();
    while (!step.done) {
      yield { kind: 'breathe' };
      step = turns.next(yield* this.#body(step.value.graph, step.value.feeds, outer));
    }
    return step.value;
  }

  #body(body: Graph, feeds: readonly HostValue[], outer: ReadonlyMap<Value, HostValue>): Execution<HostValue[]> {
    let program = this.#bodies.get(body);
    if (!program) {
      program = new Program(body, this.#context, this.#sync);
      this.#bodies.set(body, program);
    }
    const bindings = new Map<Value, HostValue>();
    body.inputs.forEach((input, i) => {
      const feed = feeds[i] ?? body.defaults?.get(input);
      if (!feed) throw new RunError(`graph "${body.name}": input "${input.name}" has no value`, { input: input.name });
      bindings.set(input, feed);
    });
    for (const { inner, outer: from } of body.captures) {
      const content = from.constant ?? outer.get(from);
      if (!content) throw new InternalError(`graph "${body.name}": captured "${from.name}" has no value`);
      bindings.set(inner, content);
    }
    return program.execute(bindings);
  }

  #read(value: Value, planned: PlannedStage, values: ReadonlyMap<Value, HostValue>): HostValue {
    const content = values.get(value) ?? value.constant ?? planned.stage.known.get(value);
    if (!content) throw new InternalError(`graph "${this.#graph.name}": "${value.name}" is read before it is computed`);
    return content;
  }

  /** What the rest reads. */
  #surviving(planned: PlannedStage, values: ReadonlyMap<Value, HostValue>): Map<Value, HostValue> {
    const kept = new Map<Value, HostValue>();
    for (const value of planned.stage.survivors) kept.set(value, this.#read(value, planned, values));
    return kept;
  }
}

/** Dimensions as a stage planned them, or of the values at hand. */
function dimsFrom({ stage }: PlannedStage, values: ReadonlyMap<Value, HostValue>): DimsOf {
  return (value) => {
    const planned = stage.shapes.get(value);
    if (planned) return planned;
    const content = values.get(value);
    return content?.kind === 'tensor' ? content.dims : undefined;
  };
}

/** A tensor over a result of the engine. */
export function hostTensor(
  dtype: HostTensor['dtype'],
  dims: readonly number[],
  memory: NumericStorage | ArrayBuffer,
): HostTensor {
  const { storage } = dtypeInfo(dtype);
  if (!storage) throw new InternalError(`no memory holds ${dtype}`);
  const length = storageLength(dtype, sizeOf(dims));
  const data = memory instanceof ArrayBuffer ? new storage(memory, 0, length) : memory;
  return { kind: 'tensor', dtype, dims, data };
}

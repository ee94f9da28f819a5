/** A model ready to run on contents: what Session, the command line and the adapters share. */

import { MemoryError, RunError } from '../errors.ts';
import type { NumericStorage } from '../ir/dtype.ts';
import type { Value } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { type LoadOptions, loadingModel, loadModel } from '../onnx/load.ts';
import { imposeSparsity } from '../passes/impose-sparsity.ts';
import { optimize, optimizing } from '../passes/index.ts';
import { multipliesBytes, rowsAreIndependent } from '../plan/rows.ts';
import { PlanMemory, type Stage } from '../plan/stage.ts';
import type { Typed } from '../plan/typed.ts';
import { type DriveOptions, driveAsync, driveSync, inTurns } from './driver.ts';
import { AT_CALL_BYTES, copyAtCall, feedIsGone, isShared } from './feed-copies.ts';
import { thisMachine } from './machine.ts';
import { openModelFile } from './model-file.ts';
import type { Precision } from './options.ts';
import { JOINT_PANEL, panelSize, panelSizes } from './panel-size.ts';
import { batchOf, cutBatch, cutJointly, haveRows, type Panel, type Panels, RowCollector, sliceRows } from './panels.ts';
import { type Execution, type Memory, Program, type ProgramStore, type SyncDriver } from './program.ts';
import { ownResults } from './results.ts';
import { StageStore } from './stage-store.ts';
import { Weights } from './weights.ts';

export interface CompileOptions extends LoadOptions {
  readonly threads?: number;
  readonly priority?: number;
  readonly planCacheSize?: number;
  readonly optimization?: 'none' | 'all';
  /** False runs every weight through dense kernels: for comparisons. */
  readonly sparse?: boolean;
  /** `bf16` lets dense products round their operands to bfloat16, where the machine has such products. */
  readonly precision?: Precision;
  /** Share of the weights to make zero before planning, by magnitude: outputs are then no longer the model's. */
  readonly imposeSparsity?: number;
  /** A folder that keeps plans and packed weights for the next start; of use for models from files. */
  readonly cache?: string;
}

/** The store of a model from a file whose weights are its own. */
function storeOf(source: string | Uint8Array, options: CompileOptions): StageStore | undefined {
  const { cache, imposeSparsity, externalData, threads = thisMachine().cores } = options;
  if (!cache || typeof source !== 'string' || imposeSparsity || externalData) return undefined;
  const { sparse = true, optimization = 'all', precision = 'float32' } = options;
  return StageStore.open(cache, source, { threads, sparse, optimization, precision });
}

/** Kinds of items whose panels are remembered. */
const MOST_ITEM_KINDS = 64;

/** Remembers a fact about a kind of items. */
function remember<T>(facts: Map<string, T>, key: string, fact: T): T {
  if (facts.size >= MOST_ITEM_KINDS) facts.clear();
  facts.set(key, fact);
  return fact;
}

/** What items of a batch are, but for how many. */
function itemKey(feeds: readonly (HostValue | undefined)[]): string {
  return feeds.map((feed) => (feed?.kind === 'tensor' ? `${feed.dtype}[${feed.dims.slice(1).join()}]` : '')).join(';');
}

/** What a single run may ask for. */
export type ContentRunOptions = Pick<DriveOptions, 'signal' | 'onProfile' | 'onReference'> & {
  /** Feeds that nobody else changes, by position: read where they lie. */
  readonly held?: ReadonlyMap<number, unknown>;
  /** Memory of the caller for outputs, by position. */
  readonly targets?: ReadonlyMap<number, NumericStorage>;
};

export class CompiledModel {
  #model: Model;
  readonly threads: number;
  readonly #options: CompileOptions;
  readonly #store: StageStore | undefined;
  #program: Program;
  /** Plans for one thread, for panels of a batch. */
  #panelProgram: Program;
  /** Where the model stands as its store knows it, without nodes: how to load it after all. */
  #source: string | undefined;
  #completing: Promise<void> | undefined;
  /** Whether items of a batch can be computed apart, by what an item's feeds are. */
  readonly #separable = new Map<string, boolean>();
  #multipliesBytes: boolean | undefined;
  /** Items of a panel, by what an item's feeds are. */
  readonly #panelSizes = new Map<string, number>();
  readonly #weights: Weights;
  readonly #drive: DriveOptions;
  #disposed = false;
  /** Asynchronous runs and preparations under way. */
  #busy = 0;

  /** Loads and rewrites a model on this thread, which it holds meanwhile. */
  static openSync(source: string | Uint8Array, options: CompileOptions = {}): CompiledModel {
    const store = storeOf(source, options);
    const kept = store?.model();
    if (kept) return new CompiledModel(kept, options, store, source as string);
    return new CompiledModel(CompiledModel.#loadSync(source, options, store), options, store);
  }

  static #loadSync(source: string | Uint8Array, options: CompileOptions, store?: StageStore): Model {
    const model = loadModel(source, { files: store?.opener ?? openModelFile, ...options });
    if ((options.optimization ?? 'all') === 'all') optimize(model.graph);
    return model;
  }

  /** The same, letting others run in between. */
  static async open(source: string | Uint8Array, options: CompileOptions = {}): Promise<CompiledModel> {
    const store = storeOf(source, options);
    const kept = store?.model();
    if (kept) return new CompiledModel(kept, options, store, source as string);
    return new CompiledModel(await CompiledModel.#load(source, options, store), options, store);
  }

  static async #load(source: string | Uint8Array, options: CompileOptions, store?: StageStore): Promise<Model> {
    const model = await inTurns(loadingModel(source, { files: store?.opener ?? openModelFile, ...options }));
    if ((options.optimization ?? 'all') === 'all') await inTurns(optimizing(model.graph));
    return model;
  }

  private constructor(model: Model, options: CompileOptions, store?: StageStore, source?: string) {
    const machine = thisMachine();
    this.threads = options.threads ?? machine.cores;
    this.#options = options;
    this.#store = store;
    this.#source = source;
    this.#model = model;
    if (options.imposeSparsity) imposeSparsity(model.graph, options.imposeSparsity);
    this.#drive = { threads: this.threads, priority: options.priority ?? 0 };
    this.#weights = new Weights(machine);
    // Loading has looked at what lies between the weights.
    this.#weights.dropFilePages();
    [this.#program, this.#panelProgram] = this.#programs();
  }

  /** The model; of one that was taken from a store, inputs and outputs alone. */
  get model(): Model {
    return this.#model;
  }

  /** Programs for all threads, and for one. */
  #programs(): [Program, Program] {
    const { kernels, jit, memory, ...machine } = thisMachine();
    const { sparse = true, planCacheSize = 256, precision } = this.#options;
    const bf16 = precision === 'bf16' && machine.bf16;
    const { nodes } = new PlanMemory();
    const program = (threads: number): Program => {
      const plan = {
        kernels,
        threads,
        vectorLanes: machine.vectorLanes,
        l2: machine.l2,
        jit,
        sparse,
        bf16,
        memoryLimit: memory,
      };
      const context = {
        plan,
        weights: this.#weights,
        planMemory: new PlanMemory(nodes),
        planLimit: planCacheSize,
      };
      const sync: SyncDriver = (body) => driveSync(body, { ...this.#drive, threads });
      return new Program(this.#model.graph, context, sync, this.#programStore(threads));
    };
    return [program(this.threads), program(1)];
  }

  #programStore(threads: number): ProgramStore | undefined {
    const store = this.#store;
    if (!store) return undefined;
    const key = (types: string): string => `${types}|${threads}`;
    return {
      restore: (types) => store.restore(key(types), this.#model.graph, this.#weights),
      save: (types, stage) => {
        const saving = this.#whileLive(() => store.save(key(types), this.#model, stage, this.#weights));
        // A session that is disposed meanwhile keeps nothing.
        saving.catch(() => {});
      },
    };
  }

  #adopt(model: Model): void {
    this.#model = model;
    this.#source = undefined;
    this.#multipliesBytes = undefined;
    [this.#program, this.#panelProgram] = this.#programs();
  }

  /** False where a store's model may have to be loaded itself for these contents. */
  #isReady(feeds: readonly (HostValue | undefined)[]): boolean {
    return this.#source === undefined || (!this.#mayBeCut(feeds) && this.#program.has(this.#bind(feeds)));
  }

  /** Loads a model that was taken from a store, where the store has no plan for these contents. */
  async #complete(feeds: readonly (HostValue | undefined)[]): Promise<void> {
    const source = this.#source;
    if (source === undefined || this.#isReady(feeds)) return;
    const planned = this.#program.isPlanned(this.#bind(feeds));
    if (!this.#mayBeCut(feeds) && (await driveAsync(planned, this.#weights, this.#drive))) return;
    const loading = (): Promise<Model> => CompiledModel.#load(source, this.#options, this.#store);
    this.#completing ??= loading().then((model) => this.#adopt(model));
    await this.#completing;
  }

  #completeSync(feeds: readonly (HostValue | undefined)[]): void {
    if (this.#source === undefined || this.#program.has(this.#bind(feeds))) return;
    if (driveSync(this.#program.isPlanned(this.#bind(feeds)), this.#drive)) return;
    this.#adopt(CompiledModel.#loadSync(this.#source, this.#options, this.#store));
  }

  /** Stages planned so far. */
  get stages(): readonly Stage[] {
    return [...this.#program.stages, ...this.#panelProgram.stages];
  }

  /** Bytes of all packed weights. */
  get packedBytes(): number {
    return this.#weights.packedBytes;
  }

  /**
   * Runs on contents in the order of the model's inputs; undefined takes an input's default. Results are the caller's:
   * an output that kernels write is the target's data itself where there is one, else memory that nothing else uses.
   */
  async run(feeds: readonly (HostValue | undefined)[], options: ContentRunOptions = {}): Promise<HostValue[]> {
    return this.#whileLive(() => this.#run(feeds, options));
  }

  async #run(
    given: readonly (HostValue | undefined)[],
    { targets: asked, held, ...rest }: ContentRunOptions,
  ): Promise<HostValue[]> {
    const drive = { ...this.#drive, ...rest };
    let feeds = given;
    const whole = asked !== undefined || held !== undefined;
    if (!this.#isReady(feeds) || (!whole && this.#lacksPanelSize(feeds))) {
      // Feeds may change once this call has returned.
      feeds = given.map((feed) => (feed?.kind === 'tensor' ? copyAtCall(feed) : feed));
      await this.#complete(feeds);
      if (!whole) await this.#weighPanels(feeds);
    }
    const panels = whole ? undefined : this.#panelsFor(feeds);
    if (panels) return this.#runPanels(feeds as readonly HostTensor[], panels, drive);
    // The engine writes large ones in place, which has to stay where it is.
    const targets =
      asked && new Map([...asked].filter(([, data]) => isShared(data) || data.byteLength <= AT_CALL_BYTES));
    const fresh = new Set<ArrayBufferLike>();
    const foreign = new Set(this.model.graph.inputs.filter((_, i) => feeds[i] && !held?.has(i)));
    const results = await driveAsync(this.#execution(feeds, { targets, fresh, foreign }), this.#weights, drive);
    return ownResults(results, fresh, targets);
  }

  /** Counts asynchronous work; what was disposed goes with the last of it. */
  async #whileLive<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) throw new RunError('the session is disposed');
    this.#busy++;
    try {
      return await work();
    } finally {
      this.#busy--;
      if (this.#disposed && this.#busy === 0) this.#weights.dispose();
    }
  }

  /** The same on this thread. */
  runSync(feeds: readonly (HostValue | undefined)[], options: ContentRunOptions = {}): HostValue[] {
    const { targets, ...rest } = options;
    if (this.#disposed) throw new RunError('the session is disposed');
    this.#completeSync(feeds);
    const fresh = new Set<ArrayBufferLike>();
    const results = driveSync(this.#execution(feeds, { targets, fresh }), { ...this.#drive, ...rest });
    return ownResults(results, fresh, targets);
  }

  /** Plans for the shapes of these contents without running; stops where a shape depends on data. */
  async prepare(feeds: readonly (HostValue | undefined)[]): Promise<Stage> {
    return this.#whileLive(() => this.#prepare(feeds));
  }

  async #prepare(feeds: readonly (HostValue | undefined)[]): Promise<Stage> {
    await this.#complete(feeds);
    await this.#weighPanels(feeds);
    const panels = this.#panelsFor(feeds);
    if (!panels) return driveAsync(this.#program.prepare(this.#bind(feeds)), this.#weights, this.#drive);
    const [round] = panels.rounds;
    const program = round ? this.#panelProgram : this.#program;
    const part = feeds.map((feed) => sliceRows(feed as HostTensor, round ? round[0] : panels.rest[0]));
    return driveAsync(program.prepare(this.#bind(part)), this.#weights, this.#drive);
  }

  /** Refuses further runs, and frees native memory: now, or when the runs under way have ended. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#busy === 0) this.#weights.dispose();
  }

  /** True for a batch that is cut where its items can be computed apart. */
  #mayBeCut(feeds: readonly (HostValue | undefined)[]): boolean {
    const batch = batchOf(feeds) ?? 1;
    return batch > 1 && batch >= this.threads;
  }

  /** True for a batch whose panels depend on their size, which has not been weighed. */
  #lacksPanelSize(feeds: readonly (HostValue | undefined)[]): boolean {
    if (!this.#mayBeCut(feeds) || this.#panelSizes.has(itemKey(feeds))) return false;
    const matters = (batchOf(feeds) ?? 1) >= 2 * this.threads || this.#bytes;
    return matters && this.#isSeparable(feeds);
  }

  async #weighPanels(feeds: readonly (HostValue | undefined)[]): Promise<void> {
    if (!this.#lacksPanelSize(feeds)) return;
    const stages: Stage[] = [];
    const sizes = panelSizes(this.#bytes);
    for (const size of sizes) {
      const typed = new Map<Value, Typed>();
      this.model.graph.inputs.forEach((input, i) => {
        const { dtype, dims } = feeds[i] as HostTensor;
        typed.set(input, { kind: 'tensor', dtype, dims: [size, ...dims.slice(1)] });
      });
      try {
        stages.push(await driveAsync(this.#panelProgram.sketch(typed), this.#weights, this.#drive));
      } catch (error) {
        // A batch of fewer items may fit where a panel of this size does not.
        if (error instanceof MemoryError) break;
        throw error;
      }
    }
    const wished = panelSize(stages, thisMachine(), this.threads);
    const most = stages.length < sizes.length ? sizes[Math.max(stages.length - 1, 0)] : wished;
    remember(this.#panelSizes, itemKey(feeds), Math.min(wished, most));
  }

  /** True where items can be computed apart. */
  #isSeparable(feeds: readonly (HostValue | undefined)[]): boolean {
    const results = this.model.graph.outputs.map(({ type }) => (type?.kind === 'tensor' ? type.dtype : undefined));
    if (!haveRows(results)) return false;
    const key = itemKey(feeds);
    const dims = feeds.map((feed) => (feed as HostTensor).dims);
    return this.#separable.get(key) ?? remember(this.#separable, key, rowsAreIndependent(this.model.graph, dims));
  }

  /** The panels of a batch whose items can be computed apart. */
  #panelsFor(feeds: readonly (HostValue | undefined)[]): Panels | undefined {
    if (!this.#mayBeCut(feeds)) return undefined;
    const batch = batchOf(feeds) as number;
    const size = this.#panelSizes.get(itemKey(feeds)) ?? (this.#bytes ? JOINT_PANEL : 1);
    const joint = this.#bytes && size >= JOINT_PANEL;
    const panels = joint ? cutJointly(batch, size) : cutBatch(batch, this.threads, size);
    return panels && this.#isSeparable(feeds) ? panels : undefined;
  }

  /** True where the network multiplies bytes. */
  get #bytes(): boolean {
    this.#multipliesBytes ??= multipliesBytes(this.model.graph);
    return this.#multipliesBytes;
  }

  async #runPanels(given: readonly HostTensor[], panels: Panels, drive: DriveOptions): Promise<HostValue[]> {
    const { batch, rounds, rest } = panels;
    const { inputs } = this.model.graph;
    const collected = new RowCollector(batch);
    const foreign = new Set(inputs);
    const sizes = given.map(({ data }) => data.length);
    // Panels of a round are taken at the call; where there is none, all read copies.
    let feeds = rounds.length > 0 ? given : given.map(copyAtCall);
    const run = async (panel: Panel, program: Program, threads: number): Promise<void> => {
      feeds.forEach(({ data }, i) => {
        if (data.length !== sizes[i]) throw feedIsGone(inputs[i].name);
      });
      const execution = program.execute(this.#bind(feeds.map((feed) => sliceRows(feed, panel))), { foreign });
      collected.add(await driveAsync(execution, this.#weights, { ...drive, threads }), panel);
    };
    for (const round of rounds) {
      const queue = [...round];
      const stream = async (): Promise<void> => {
        try {
          for (let panel = queue.shift(); panel; panel = queue.shift()) await run(panel, this.#panelProgram, 1);
        } catch (error) {
          queue.length = 0;
          throw error;
        }
      };
      const streams = Array.from({ length: this.threads }, stream);
      // The first panels have been taken; the others read copies, which are made while those run.
      if (feeds === given && (rest.length > 0 || rounds.length > 1 || queue.length > 0)) feeds = given.map(copyAtCall);
      // Nothing may read the feeds any more when the caller hears of a failure.
      const settled = await Promise.allSettled(streams);
      for (const each of settled) if (each.status === 'rejected') throw each.reason;
    }
    for (const panel of rest) await run(panel, this.#program, this.threads);
    return collected.outputs;
  }

  #execution(
    feeds: readonly (HostValue | undefined)[],
    { targets, ...memory }: Omit<Memory, 'targets'> & Pick<ContentRunOptions, 'targets'>,
  ): Execution<HostValue[]> {
    const { outputs } = this.model.graph;
    const byValue = targets && new Map([...targets].map(([i, target]) => [outputs[i], target] as const));
    return this.#program.execute(this.#bind(feeds), { ...memory, targets: byValue });
  }

  #bind(feeds: readonly (HostValue | undefined)[]): Map<Value, HostValue> {
    const bindings = new Map<Value, HostValue>();
    this.model.graph.inputs.forEach((value, i) => {
      const content = feeds[i] ?? this.model.graph.defaults?.get(value);
      if (!content) throw new RunError(`input "${value.name}" has no value`, { input: value.name });
      bindings.set(value, content);
    });
    return bindings;
  }
}

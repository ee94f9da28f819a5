/** A model ready to run on contents: what Session, the command line and the adapters share. */

import { setImmediate } from 'node:timers/promises';
import { RunError } from '../errors.ts';
import type { NumericStorage } from '../ir/dtype.ts';
import type { Value } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { HostValue } from '../ir/tensor.ts';
import { type LoadOptions, loadModel } from '../onnx/load.ts';
import { optimize, optimizing } from '../passes/index.ts';
import type { Stage } from '../plan/stage.ts';
import { type DriveOptions, driveAsync, driveSync } from './driver.ts';
import { thisMachine } from './machine.ts';
import { openModelFile } from './model-file.ts';
import { type Execution, Program } from './program.ts';
import { Weights } from './weights.ts';

export interface CompileOptions extends LoadOptions {
  readonly threads?: number;
  readonly priority?: number;
  readonly planCacheSize?: number;
  readonly optimization?: 'none' | 'all';
  /** False runs every weight through dense kernels: for comparisons. */
  readonly sparse?: boolean;
}

/** What a single run may ask for. */
export type ContentRunOptions = Pick<DriveOptions, 'signal' | 'onProfile'> & {
  /** Memory of the caller for outputs, by position. */
  readonly targets?: ReadonlyMap<number, NumericStorage>;
};

export class CompiledModel {
  readonly model: Model;
  readonly threads: number;
  readonly #program: Program;
  readonly #weights: Weights;
  readonly #drive: DriveOptions;
  #disposed = false;

  /** Loads and rewrites a model on this thread, which it holds meanwhile. */
  static openSync(source: string | Uint8Array, options: CompileOptions = {}): CompiledModel {
    const model = loadModel(source, { files: openModelFile, ...options });
    if ((options.optimization ?? 'all') === 'all') optimize(model.graph);
    return new CompiledModel(model, options);
  }

  /** The same, letting others run in between. */
  static async open(source: string | Uint8Array, options: CompileOptions = {}): Promise<CompiledModel> {
    const model = loadModel(source, { files: openModelFile, ...options });
    if ((options.optimization ?? 'all') === 'all') {
      await setImmediate();
      for (const _ of optimizing(model.graph)) await setImmediate();
    }
    return new CompiledModel(model, options);
  }

  private constructor(model: Model, options: CompileOptions) {
    const machine = thisMachine();
    this.threads = options.threads ?? machine.cores;
    this.model = model;
    this.#drive = { threads: this.threads, priority: options.priority ?? 0 };
    this.#weights = new Weights(machine);
    const sparse = options.sparse ?? true;
    const { kernels, jit, memory } = machine;
    const plan = { kernels, threads: this.threads, jit, sparse, memoryLimit: memory };
    const shared = { plan, weights: this.#weights, memories: new WeakMap(), planLimit: options.planCacheSize ?? 32 };
    this.#program = new Program(this.model.graph, shared, (body) => driveSync(body, this.#drive));
  }

  /** Stages planned so far. */
  get stages(): readonly Stage[] {
    return this.#program.stages;
  }

  /** Bytes of all packed weights. */
  get packedBytes(): number {
    return this.#weights.packedBytes;
  }

  /** Runs on contents in the order of the model's inputs; undefined takes an input's default. */
  async run(feeds: readonly (HostValue | undefined)[], options: ContentRunOptions = {}): Promise<HostValue[]> {
    const { targets, ...rest } = options;
    return driveAsync(this.#execution(feeds, targets), this.#weights, { ...this.#drive, ...rest });
  }

  /** The same on this thread. */
  runSync(feeds: readonly (HostValue | undefined)[], options: ContentRunOptions = {}): HostValue[] {
    const { targets, ...rest } = options;
    return driveSync(this.#execution(feeds, targets), { ...this.#drive, ...rest });
  }

  /** Plans for the shapes of these contents without running; stops where a shape depends on data. */
  async prepare(feeds: readonly (HostValue | undefined)[]): Promise<Stage> {
    return driveAsync(this.#program.prepare(this.#bind(feeds)), this.#weights, this.#drive);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#weights.dispose();
  }

  #execution(
    feeds: readonly (HostValue | undefined)[],
    targets: ReadonlyMap<number, NumericStorage> | undefined,
  ): Execution<HostValue[]> {
    if (this.#disposed) throw new RunError('the session is disposed');
    const outputs = this.model.graph.outputs;
    const memory = targets && new Map([...targets].map(([i, target]) => [outputs[i], target] as const));
    return this.#program.execute(this.#bind(feeds), memory);
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

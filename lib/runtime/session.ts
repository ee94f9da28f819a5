/** A loaded model, ready to run. */

import { InputError, OptionError, RunError } from '../errors.ts';
import type { NumericStorage } from '../ir/dtype.ts';
import type { Value } from '../ir/graph.ts';
import type { Model, Port } from '../ir/model.ts';
import type { HostValue } from '../ir/tensor.ts';
import { loadModel } from '../onnx/load.ts';
import { optimize } from '../passes/index.ts';
import { type DriveOptions, driveAsync, driveSync } from './driver.ts';
import { contentOfFeed, type RunValue, valueForCaller } from './feeds.ts';
import { thisMachine } from './machine.ts';
import { openModelFile } from './model-file.ts';
import { checkRunOptions, checkSessionOptions, type RunOptions, type SessionOptions } from './options.ts';
import { type Execution, Program } from './program.ts';
import { Weights } from './weights.ts';

/** Feeds and results by name. */
export type RunValues = Readonly<Record<string, RunValue>>;

/**
 * A model with its plans and packed weights.
 *
 * Runs may overlap: each uses working memory of its own. Plans are made at the first run of every combination of input
 * shapes and kept.
 */
export class Session {
  /** The inputs a run takes, with declared types; symbolic dimensions by name. */
  readonly inputs: readonly Port[];
  /** The outputs a run gives. */
  readonly outputs: readonly Port[];
  /** The model as loaded and rewritten. */
  readonly model: Model;
  readonly program: Program;
  readonly #weights: Weights;
  readonly #drive: DriveOptions;
  readonly #symbols: ReadonlyMap<string, number>;
  #disposed = false;

  private constructor(model: Model, options: SessionOptions) {
    const machine = thisMachine();
    const threads = options.threads ?? machine.cores;
    this.model = model;
    this.inputs = model.inputs;
    this.outputs = model.outputs;
    this.#drive = { threads, priority: options.priority ?? 0 };
    this.#symbols = new Map(Object.entries(options.dimensions ?? {}));
    this.#weights = new Weights(machine);
    const plan = { kernels: machine.kernels, threads, jit: machine.jit };
    const shared = { plan, weights: this.#weights, memories: new WeakMap(), planLimit: options.planCacheSize ?? 32 };
    this.program = new Program(model.graph, shared, (body) => driveSync(body, this.#drive));
  }

  /**
   * Loads a model from a path, or from the bytes of an ONNX file (which must not change while the session lives).
   * Throws ModelFormatError, UnsupportedError (every node that cannot run) or OptionError.
   */
  static async load(source: string | Uint8Array | ArrayBufferLike, options: SessionOptions = {}): Promise<Session> {
    checkSessionOptions(options);
    const bytes = typeof source === 'string' || source instanceof Uint8Array ? source : viewOf(source);
    const externalData = new Map(Object.entries(options.externalData ?? {}));
    const model = loadModel(bytes, { externalData, files: openModelFile });
    if ((options.optimization ?? 'all') === 'all') optimize(model.graph);
    return new Session(model, options);
  }

  /**
   * Runs the model off the event loop. `feeds` has a tensor for every input without a default. Throws InputError before
   * anything runs where a feed does not fit, RunError where the data does not, AbortError when the signal says so.
   */
  async run(feeds: RunValues, options: RunOptions = {}): Promise<Record<string, RunValue>> {
    checkRunOptions(options);
    const execution = this.#execution(feeds, options);
    const drive = options.signal ? { ...this.#drive, signal: options.signal } : this.#drive;
    return this.#collect(await driveAsync(execution, this.#weights, drive), options);
  }

  /** The same on this thread, which it holds until the result is there. */
  runSync(feeds: RunValues, options: RunOptions = {}): Record<string, RunValue> {
    checkRunOptions(options);
    return this.#collect(driveSync(this.#execution(feeds, options), this.#drive), options);
  }

  /** Frees plans, packed weights and working memory. Runs under way end as usual; later ones are refused. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#weights.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #execution(feeds: RunValues, options: RunOptions): Execution<HostValue[]> {
    if (this.#disposed) throw new RunError('the session is disposed');
    for (const name of options.outputs ?? []) {
      if (!this.outputs.some((port) => port.name === name)) {
        const known = this.outputs.map((port) => port.name).join(', ');
        throw new OptionError(`session.run: the model has no output "${name}"; it has ${known}`, { output: name });
      }
    }
    return this.program.execute(this.#bind(feeds));
  }

  #bind(feeds: RunValues): Map<Value, HostValue> {
    if (typeof feeds !== 'object' || feeds === null) {
      throw new InputError(
        `feeds have to be an object of tensors by input name, got ${feeds === null ? 'null' : typeof feeds}`,
      );
    }
    const bindings = new Map<Value, HostValue>();
    const symbols = new Map(this.#symbols);
    const { graph } = this.model;
    const given = new Set(Object.keys(feeds));
    this.inputs.forEach((port, i) => {
      given.delete(port.name);
      const feed = feeds[port.name];
      const value = graph.inputs[i];
      const fallback = graph.defaults?.get(value);
      if (feed === undefined && !fallback) {
        throw new InputError(`input "${port.name}" is missing`, { input: port.name });
      }
      bindings.set(value, feed === undefined ? (fallback as HostValue) : contentOfFeed(port, feed, symbols));
    });
    const [unknown] = given;
    if (unknown !== undefined) {
      const known = this.inputs.map((port) => port.name).join(', ');
      throw new InputError(`the model has no input "${unknown}"; it has ${known}`, { input: unknown });
    }
    return bindings;
  }

  #collect(results: readonly HostValue[], options: RunOptions): Record<string, RunValue> {
    const values: Record<string, RunValue> = {};
    this.outputs.forEach((port, i) => {
      if (!options.outputs || options.outputs.includes(port.name)) values[port.name] = valueForCaller(results[i]);
    });
    return values;
  }
}

function viewOf(source: ArrayBufferLike): Uint8Array {
  const shared = typeof SharedArrayBuffer !== 'undefined' && source instanceof SharedArrayBuffer;
  if (source instanceof ArrayBuffer || shared) return new Uint8Array(source);
  throw new OptionError(`Session.load: expected a path or bytes, got ${typeof source}`);
}

/** Memory of the caller for an output. */
export type OutputTarget = NumericStorage;

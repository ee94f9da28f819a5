/** A loaded model, ready to run. */

import { InputError, OptionError } from '../errors.ts';
import type { Port } from '../ir/model.ts';
import type { HostValue } from '../ir/tensor.ts';
import { Batcher, type BatcherOptions } from './batcher.ts';
import { CompiledModel } from './compiled.ts';
import { contentOfFeed, type RunValue, valueForCaller } from './feeds.ts';
import { thisMachine } from './machine.ts';
import { checkRunOptions, checkSessionOptions, type RunOptions, type SessionOptions } from './options.ts';

import { type StatefulHost, StatefulSession } from './stateful.ts';
import { type StreamOptions, streamResults } from './stream.ts';

/** Feeds by the names of inputs, or results by the names of outputs. */
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
  readonly #compiled: CompiledModel;
  readonly #symbols: ReadonlyMap<string, number>;

  private constructor(compiled: CompiledModel, options: SessionOptions) {
    this.#compiled = compiled;
    this.inputs = compiled.model.inputs;
    this.outputs = compiled.model.outputs;
    this.#symbols = new Map(Object.entries(options.dimensions ?? {}));
  }

  /**
   * Loads a model from a path (external data is looked for beside it), or from the bytes of an ONNX file, which must not
   * change while the session lives. Rejects with ModelFormatError, UnsupportedError (which lists every node that cannot
   * run), OptionError or NativeLoadError.
   */
  static async load(source: string | Uint8Array | ArrayBufferLike, options: SessionOptions = {}): Promise<Session> {
    const { externalData, ...rest } = checkSessionOptions(options);
    const bytes = typeof source === 'string' || source instanceof Uint8Array ? source : viewOf(source);
    const external = externalData && { externalData: new Map(Object.entries(externalData)) };
    return new Session(await CompiledModel.open(bytes, { ...rest, ...external }), options);
  }

  /**
   * Runs the model off the event loop. `feeds` has a tensor for every input without a default. Rejects with InputError
   * before anything runs where a feed does not fit, RunError where the data does not, MemoryError where a tensor would not
   * fit into memory, AbortError when the signal says so.
   *
   * Feeds of up to 16 MiB are taken at the call: they may be changed or transferred as soon as it has returned. Larger
   * ones and those in a SharedArrayBuffer have to be left alone until the promise settles: a run whose feed changes
   * sees old or new contents, and one whose feed is transferred or resized may reject with InputError. Results are the
   * caller's own memory, and may be transferred.
   */
  async run(feeds: RunValues, options: RunOptions = {}): Promise<Record<string, RunValue>> {
    this.#check(options);
    const { signal } = options;
    return this.#collect(await this.#compiled.run(this.#contents(feeds), { signal }), options);
  }

  /**
   * The same on this thread, which it holds until the result is there: for calls of microseconds, and Workers. Throws what
   * {@link run} rejects with. The signal is looked at by `run` alone.
   */
  runSync(feeds: RunValues, options: RunOptions = {}): Record<string, RunValue> {
    this.#check(options);
    return this.#collect(this.#compiled.runSync(this.#contents(feeds)), options);
  }

  /**
   * Runs every request of a stream and gives their results, one by one. Reads ahead no further than `concurrency`
   * batches; a request that fails ends the stream with its error. Leaving the loop ends the source.
   */
  stream(
    source: AsyncIterable<RunValues> | Iterable<RunValues>,
    options: StreamOptions = {},
  ): AsyncGenerator<Record<string, RunValue>, void> {
    return streamResults((feeds) => this.run(feeds), source, { ...options, batch: this.#batchOf(options.batch) });
  }

  /**
   * Joins requests that come at about the same time into batches along axis 0, which is right for networks that
   * compute the rows of a batch apart. Where an output's first dimension is fixed, requests run one by one. Throws
   * OptionError.
   */
  batcher(options: BatcherOptions = {}): Batcher {
    const busy = Math.ceil(thisMachine().cores / this.#compiled.threads);
    return new Batcher((feeds) => this.run(feeds), {
      ...options,
      maxBatch: this.#batchOf(options.maxBatch),
      concurrency: options.concurrency ?? busy + 1,
    });
  }

  /**
   * A session with memory: `bindings` names, for each input that is state, the output that is its next value
   * (`{ 'past.0.key': 'present.0.key' }`). `initial` gives first values; inputs of declared size begin with zeros.
   * Throws OptionError for unknown names, and for an input of open size without a first value.
   */
  withState(bindings: Readonly<Record<string, string>>, initial: RunValues = {}): StatefulSession {
    const { inputs, outputs } = this;
    const host: StatefulHost = {
      inputs,
      outputs,
      content: (port, feed) => contentOfFeed(port, feed, new Map(this.#symbols)),
      run: (feeds, held, signal) => this.#compiled.run(this.#contents(feeds, held), { signal, held }),
      value: valueForCaller,
    };
    return new StatefulSession(host, bindings, initial);
  }

  /**
   * Frees plans, packed weights and working memory, as soon as the runs under way have ended as usual; later ones are
   * refused with RunError. A second call does nothing.
   */
  async dispose(): Promise<void> {
    this.#compiled.dispose();
  }

  /** {@link dispose}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /** One where an output cannot follow the batch. */
  #batchOf(asked: number | undefined): number | undefined {
    const fixed = this.outputs.some(
      ({ type }) => type.kind !== 'tensor' || typeof (type.shape?.[0] ?? '') === 'number',
    );
    return fixed ? Math.min(asked ?? 1, 1) : asked;
  }

  #check(options: RunOptions): void {
    for (const name of checkRunOptions(options).outputs ?? []) {
      if (this.outputs.some((port) => port.name === name)) continue;
      const known = this.outputs.map((port) => port.name).join(', ');
      throw new OptionError(`session.run: the model has no output "${name}"; it has ${known}`, { output: name });
    }
  }

  #contents(feeds: RunValues, held: ReadonlyMap<number, HostValue> = new Map()): (HostValue | undefined)[] {
    if (typeof feeds !== 'object' || feeds === null) {
      throw new InputError(`feeds have to be an object of tensors by input name, got ${feeds}`);
    }
    const unknown = Object.keys(feeds).find((name) => !this.inputs.some((port) => port.name === name));
    if (unknown !== undefined) {
      const known = this.inputs.map((port) => port.name).join(', ');
      throw new InputError(`the model has no input "${unknown}"; it has ${known}`, { input: unknown });
    }
    const symbols = new Map(this.#symbols);
    return this.inputs.map((port, i) => {
      const kept = held.get(i);
      if (kept) return kept;
      const feed = feeds[port.name];
      if (feed !== undefined) return contentOfFeed(port, feed, symbols);
      if (this.#hasDefault(i)) return undefined;
      throw new InputError(`input "${port.name}" is missing`, { input: port.name });
    });
  }

  #hasDefault(i: number): boolean {
    const { graph } = this.#compiled.model;
    return graph.defaults?.has(graph.inputs[i]) ?? false;
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

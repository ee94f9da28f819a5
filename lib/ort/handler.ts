/** A loaded model behind the session interface of onnxruntime-common. */

import type { InferenceSession, InferenceSessionHandler, SessionHandler, Tensor } from 'onnxruntime-common';
import { RunError, UnsupportedError } from '../errors.ts';
import type { NumericStorage } from '../ir/dtype.ts';
import type { Model, Port } from '../ir/model.ts';
import { isFresh, type Shape } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { CompiledModel } from '../runtime/compiled.ts';
import { isOrtType, valueForCaller } from '../runtime/feeds.ts';
import { checkOutputLocation, checkRunOptions, checkSessionOptions, precisionOf } from './options.ts';
import { feedContent, fillTarget, sharesBuffer, targetContent } from './tensors.ts';
import { Trace } from './trace.ts';

type Options = InferenceSession.SessionOptions;

/** More threads than any machine has cores: what asks for more gets all. */
const MAX_THREADS = 1024;

function metadataOf({ name, type }: Port): InferenceSession.ValueMetadata {
  if (type.kind !== 'tensor') return { name, isTensor: false };
  if (!isOrtType(type.dtype)) {
    const message = `"${name}" is a tensor of ${type.dtype}, which onnxruntime-common has no type for; use Session of filigree`;
    throw new UnsupportedError(message, { name, dtype: type.dtype });
  }
  return { name, isTensor: true, type: type.dtype, shape: (type.shape ?? []).map((dim) => dim ?? '') };
}

/** A declared shape with what the graph tells beyond it: sizes, and names where there is none. */
function refined(declared: Shape | undefined, inferred: Shape | undefined): Shape | undefined {
  const known = inferred?.map((dim) => (isFresh(dim) ? null : dim));
  if (!declared || !known || declared.length !== known.length) return declared ?? known;
  return declared.map((dim, i) => (typeof known[i] === 'number' ? known[i] : (dim ?? known[i])));
}

/** The outputs of a model with types as far as they are known before a run. */
function knownOutputs({ graph, outputs }: Model): Port[] {
  return outputs.map(({ name, type }, i) => {
    const inferred = graph.outputs[i].type;
    if (type.kind !== 'tensor' || inferred?.kind !== 'tensor') return { name, type };
    return { name, type: { ...type, shape: refined(type.shape, inferred.shape) } };
  });
}

/** A copy of a model's bytes, or of weights; those that were transferred are none. */
const copyOf = (bytes: Uint8Array): Uint8Array => (bytes.length > 0 ? new Uint8Array(bytes) : new Uint8Array(0));

/** Runs a model for an InferenceSession. */
export class SessionRunner implements InferenceSessionHandler {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[];
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[];
  readonly #compiled: CompiledModel;
  readonly #sizes: ReadonlyMap<string, number>;
  /** Inputs without a default; feeds for the others are ignored, as onnxruntime-node does. */
  readonly #required: readonly boolean[];
  #trace: Trace | undefined;
  #released = false;

  /** Loads a model. Bytes are copied: the caller may do with its own what it likes once the promise settles. */
  static async load(source: string | Uint8Array, options: Options): Promise<SessionRunner> {
    checkSessionOptions(options);
    const threads = options.intraOpNumThreads && Math.min(options.intraOpNumThreads, MAX_THREADS);
    const given = (options.externalData ?? []) as readonly { path: string; data: Uint8Array }[];
    const compiled = await CompiledModel.open(typeof source === 'string' ? source : copyOf(source), {
      ...(threads ? { threads } : {}),
      precision: precisionOf(options),
      optimization: options.graphOptimizationLevel === 'disabled' ? 'none' : 'all',
      externalData: new Map(given.map(({ path, data }) => [path.replace(/^\.\//, ''), copyOf(data)])),
    });
    try {
      return new SessionRunner(compiled, options);
    } catch (error) {
      compiled.dispose();
      throw error;
    }
  }

  private constructor(compiled: CompiledModel, options: Options) {
    const { graph, inputs, outputs } = compiled.model;
    this.#compiled = compiled;
    this.#required = graph.inputs.map((value) => !graph.defaults?.has(value));
    this.#sizes = new Map(Object.entries(options.freeDimensionOverrides ?? {}));
    const required = inputs.filter((_, i) => this.#required[i]);
    this.inputNames = required.map(({ name }) => name);
    this.outputNames = outputs.map(({ name }) => name);
    this.inputMetadata = required.map(metadataOf);
    this.outputMetadata = knownOutputs(compiled.model).map(metadataOf);
    checkOutputLocation(options.preferredOutputLocation, this.outputNames);
    if (options.enableProfiling) this.#trace = new Trace(options.profileFilePrefix as string);
  }

  async run(
    feeds: SessionHandler.FeedsType,
    fetches: SessionHandler.FetchesType,
    options: InferenceSession.RunOptions,
  ): Promise<SessionHandler.ReturnType> {
    this.#checkLive();
    checkRunOptions(options);
    const { inputs, outputs } = this.#compiled.model;
    const contents = inputs.map((port, i) =>
      this.#required[i] ? feedContent(port, feeds[port.name], this.#sizes) : undefined,
    );
    const given = new Map<number, HostTensor>();
    for (const [i, port] of outputs.entries()) {
      if (!(port.name in fetches)) continue;
      if (port.type.kind !== 'tensor') throw new UnsupportedError(`output "${port.name}" is not a tensor`);
      if (fetches[port.name]) given.set(i, targetContent(port, fetches[port.name]));
    }
    const results = await this.#execute(contents, given);
    const values: Record<string, Tensor> = {};
    for (const [i, port] of outputs.entries()) {
      if (!(port.name in fetches)) continue;
      const target = given.get(i);
      if (target) fillTarget(port, target, results[i] as HostTensor);
      values[port.name] = fetches[port.name] ?? (valueForCaller(results[i]) as Tensor);
    }
    return values;
  }

  async #execute(
    contents: readonly (HostValue | undefined)[],
    given: ReadonlyMap<number, HostTensor>,
  ): Promise<HostValue[]> {
    // Memory that feeds use too is filled after the run: the engine may read them while it writes.
    const apart = [...given].filter(([, target]) => !contents.some((feed) => feed && sharesBuffer(target, feed)));
    const targets = new Map<number, NumericStorage>();
    for (const [i, { data }] of apart) if (ArrayBuffer.isView(data)) targets.set(i, data);
    const from = performance.now();
    const results = await this.#compiled.run(contents, {
      ...(targets.size > 0 ? { targets } : {}),
      ...(this.#trace ? { onProfile: this.#trace.onProfile } : {}),
    });
    this.#trace?.run(from);
    return results;
  }

  async dispose(): Promise<void> {
    this.#checkLive();
    this.#released = true;
    this.#compiled.dispose();
    this.#finishTrace();
  }

  /** Does nothing: a session profiles from the start, or not at all. */
  startProfiling(): void {}

  /** Ends profiling and writes the trace file. */
  endProfiling(): void {
    this.#checkLive();
    this.#finishTrace();
  }

  #finishTrace(): void {
    this.#trace?.write();
    this.#trace = undefined;
  }

  #checkLive(): void {
    if (this.#released) throw new RunError('Session already disposed.');
  }
}

/** Runs whose state stays inside: outputs of one run are inputs of the next. */

import { InputError, OptionError } from '../errors.ts';
import { dtypeInfo } from '../ir/dtype.ts';
import type { Port } from '../ir/model.ts';
import { isConcrete, shapeText } from '../ir/shape.ts';
import { allocate, type HostValue } from '../ir/tensor.ts';
import type { RunValue } from './feeds.ts';

/** What a stateful session needs of the session it runs on. */
export interface StatefulHost {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** A feed as content, checked. */
  content(port: Port, feed: RunValue): HostValue;
  /** Runs with what is held for some inputs, by position; all outputs. */
  run(
    feeds: Readonly<Record<string, RunValue>>,
    held: ReadonlyMap<number, HostValue>,
    signal: AbortSignal | undefined,
  ): Promise<HostValue[]>;
  /** A result as the caller's own. */
  value(content: HostValue): RunValue;
}

/**
 * A session with memory, made by {@link Session.withState}: key-value caches of a decoder, states of a recurrent
 * network. Bound inputs take what the bound outputs gave in the run before; neither is copied nor seen by the caller.
 * Runs are done in the order of their calls. A run that fails leaves the state as it was.
 */
export class StatefulSession {
  readonly #host: StatefulHost;
  /** Output by input, both by position. */
  readonly #bindings: ReadonlyMap<number, number>;
  #state: Map<number, HostValue>;
  #last: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(
    host: StatefulHost,
    bindings: Readonly<Record<string, string>>,
    initial: Readonly<Record<string, RunValue>>,
  ) {
    this.#host = host;
    this.#bindings = new Map(
      Object.entries(bindings).map(([input, output]) => [
        positionOf(host.inputs, input, 'input'),
        positionOf(host.outputs, output, 'output'),
      ]),
    );
    this.#state = this.#begin(initial);
  }

  #begin(initial: Readonly<Record<string, RunValue>>): Map<number, HostValue> {
    const { inputs } = this.#host;
    const unbound = Object.keys(initial).find(
      (name) => ![...this.#bindings.keys()].some((i) => inputs[i].name === name),
    );
    if (unbound !== undefined) throw new OptionError(`withState: "${unbound}" is no bound input`, { input: unbound });
    return new Map(
      [...this.#bindings.keys()].map((i) => {
        const port = inputs[i];
        const given = initial[port.name];
        return [i, given === undefined ? zerosFor(port) : detached(this.#host.content(port, given))];
      }),
    );
  }

  /**
   * Runs with feeds for the inputs that are not bound; gives the outputs that are not bound. Throws InputError for a
   * feed of a bound input, and as {@link Session.run} does.
   */
  run(
    feeds: Readonly<Record<string, RunValue>>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Record<string, RunValue>> {
    const { inputs } = this.#host;
    const bound = [...this.#bindings.keys()].find((i) => feeds[inputs[i].name] !== undefined);
    if (bound !== undefined) {
      const name = inputs[bound].name;
      return Promise.reject(new InputError(`input "${name}" is bound to an output: it takes no feed`, { input: name }));
    }
    const result = this.#last.then(() => this.#run(feeds, options.signal));
    this.#last = result.catch(() => {});
    return result;
  }

  async #run(feeds: Readonly<Record<string, RunValue>>, signal: AbortSignal | undefined) {
    const results = await this.#host.run(feeds, this.#state, signal);
    this.#state = new Map([...this.#bindings].map(([input, output]) => [input, results[output]]));
    const kept = new Set(this.#bindings.values());
    const values: Record<string, RunValue> = {};
    this.#host.outputs.forEach(({ name }, i) => {
      if (!kept.has(i)) values[name] = this.#host.value(results[i]);
    });
    return values;
  }

  /** Copies of the state, by input, once the runs called so far have ended. */
  async state(): Promise<Record<string, RunValue>> {
    await this.#last;
    const { inputs } = this.#host;
    return Object.fromEntries(
      [...this.#state].map(([i, content]) => [inputs[i].name, this.#host.value(detached(content))]),
    );
  }

  /** Begins anew, once the runs called so far have ended: with what is given, and zeros for the rest. */
  async reset(initial: Readonly<Record<string, RunValue>> = {}): Promise<void> {
    const state = this.#begin(initial);
    const resetting = this.#last.then(() => {
      this.#state = state;
    });
    this.#last = resetting;
    await resetting;
  }
}

function positionOf(ports: readonly Port[], name: string, kind: string): number {
  const at = ports.findIndex((port) => port.name === name);
  if (at >= 0) return at;
  const known = ports.map((port) => port.name).join(', ');
  throw new OptionError(`withState: the model has no ${kind} "${name}"; it has ${known}`, { [kind]: name });
}

function zerosFor({ name, type }: Port): HostValue {
  if (type.kind !== 'tensor' || !isConcrete(type.shape) || !dtypeInfo(type.dtype).storage) {
    const shape = type.kind === 'tensor' ? shapeText(type.shape) : type.kind;
    throw new OptionError(`withState: input "${name}" ${shape} needs an initial value, its size is open`, {
      input: name,
    });
  }
  const count = type.shape.reduce((a, b) => a * b, 1);
  return { kind: 'tensor', dtype: type.dtype, dims: [...type.shape], data: allocate(type.dtype, count) };
}

const detached = (content: HostValue): HostValue =>
  content.kind === 'tensor' ? { ...content, dims: [...content.dims], data: content.data.slice() } : content;

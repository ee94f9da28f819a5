/** The two ways to run an execution: awaiting the engine, or on this thread. */

import { setImmediate } from 'node:timers/promises';
import { AbortError, FiligreeError, InputError, InternalError, MemoryError, RunError } from '../errors.ts';
import { nodeText } from '../ir/graph.ts';
import { opKey } from '../ops/op.ts';
import { onAbort } from './abort.ts';
import { type AbortToken, type NativeRunOptions, native } from './native.ts';
import type { Answer, Execution, Request } from './program.ts';
import type { Weights } from './weights.ts';

/** Loading and planning hold the event loop little longer than this at a stretch (milliseconds). */
const SLICE = 2;

export interface DriveOptions {
  readonly threads: number;
  readonly priority?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called after each native section with what it measured on how many threads, where profiling is on. */
  readonly onProfile?: (request: RunRequest, times: Float64Array, threads: number) => void;
  /** Called after each node that ran on its reference, those in its bodies before it. */
  readonly onReference?: (request: ReferenceRequest) => void;
}

const classes = {
  ...{ ERR_INPUT: InputError, ERR_RUN: RunError, ERR_MEMORY: MemoryError, ERR_ABORTED: AbortError },
  ERR_INTERNAL: InternalError,
} as const;

export type RunRequest = Extract<Request, { kind: 'run' }>;
export type ReferenceRequest = Extract<Request, { kind: 'reference' }>;

/** Errors of the engine as the public classes; the number of an instruction becomes the name of its node. */
function publicError(error: unknown, request?: RunRequest): unknown {
  if (error instanceof FiligreeError || !(error instanceof Error)) return error;
  const known = classes[(error as { code?: string }).code as keyof typeof classes];
  if (!known) return error;
  const [, number, rest] = /^instruction (\d+) \([^)]*\): (.*)$/s.exec(error.message) ?? [];
  const node = number === undefined ? undefined : request?.section.plan.steps[Number(number)]?.node;
  if (!node) return new known(error.message, {}, { cause: error });
  return new known(
    `${nodeText(node)}: ${rest}`,
    { node: node.name, op: opKey(node.domain, node.op) },
    { cause: error },
  );
}

function nativeOptions(options: DriveOptions, steps: number, token?: AbortToken): NativeRunOptions {
  const { threads, priority = 0, onProfile } = options;
  const profile = onProfile && new Float64Array(2 * steps);
  return { threads, priority, ...(profile ? { profile } : {}), ...(token ? { token } : {}) };
}

/** Does work of this thread, letting others run in between. */
export async function inTurns<T>(work: Generator<unknown, T>): Promise<T> {
  await setImmediate();
  for (let since = performance.now(); ; ) {
    const step = work.next();
    if (step.done) return step.value;
    if (performance.now() - since > SLICE) {
      await setImmediate();
      since = performance.now();
    }
  }
}

function runToEnd<T>(execution: Execution<T>, options: DriveOptions): T {
  let answer: Answer;
  try {
    for (;;) {
      const step = execution.next(answer);
      if (step.done) return step.value;
      answer = undefined;
      const request = step.value;
      if (request.kind === 'reference') options.onReference?.(request);
      if (request.kind !== 'run') continue;
      const run = nativeOptions(options, request.section.plan.steps.length);
      try {
        answer = native().runSync(request.plan, request.inputs, request.outputs, run);
      } catch (error) {
        throw publicError(error, request);
      }
      if (run.profile) options.onProfile?.(request, run.profile, options.threads);
    }
  } finally {
    end(execution);
  }
}

/** Runs to the end on this thread; idle threads of the pool help. */
export function driveSync<T>(execution: Execution<T>, options: DriveOptions): T {
  try {
    return runToEnd(execution, options);
  } catch (error) {
    throw publicError(error);
  }
}

/** Lets an execution that was left in the middle give back what it holds. */
function end<T>(execution: Execution<T>): void {
  execution.return(undefined as T);
}

/** Runs to the end off the event loop. */
export async function driveAsync<T>(execution: Execution<T>, weights: Weights, options: DriveOptions): Promise<T> {
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal);
  const token = signal && native().abortToken();
  const forget = signal && token && onAbort(signal, () => native().abort(token));
  try {
    return await drive(execution, weights, options, token);
  } catch (error) {
    throw signal?.aborted ? abortError(signal) : publicError(error);
  } finally {
    end(execution);
    forget?.();
    if (token) native().release(token);
  }
}

let lastTurn = 0;

/**
 * Lets the event loop turn where it has not for a while: it stays with the engine's completions as long as more of them
 * come, and short runs that start the next ones never end.
 */
async function turnOfOthers(): Promise<void> {
  if (performance.now() - lastTurn <= SLICE) return;
  await setImmediate();
  lastTurn = performance.now();
}

async function drive<T>(
  execution: Execution<T>,
  weights: Weights,
  options: DriveOptions,
  token: AbortToken | undefined,
): Promise<T> {
  let since = performance.now();
  let answer: Answer;
  for (;;) {
    const step = execution.next(answer);
    if (step.done) return step.value;
    answer = undefined;
    const request = step.value;
    if (request.kind === 'run') {
      const run = nativeOptions(options, request.section.plan.steps.length, token);
      try {
        answer = await native().run(request.plan, request.inputs, request.outputs, { ...run, owned: request.owned });
      } catch (error) {
        throw publicError(error, request);
      }
      if (run.profile) options.onProfile?.(request, run.profile, options.threads);
      await turnOfOthers();
      since = performance.now();
    } else if (request.kind === 'prepare') {
      await inTurns(weights.preparing(request.plan));
      since = performance.now();
    } else {
      if (request.kind === 'reference') options.onReference?.(request);
      if (performance.now() - since > SLICE) {
        await setImmediate();
        since = performance.now();
      }
    }
    if (options.signal?.aborted) throw abortError(options.signal);
  }
}

function abortError(signal: AbortSignal): AbortError {
  return new AbortError('the run was aborted by its signal', {}, { cause: signal.reason });
}

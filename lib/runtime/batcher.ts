/** Joins requests that come at about the same time into batches. */

import { OptionError, RunError } from '../errors.ts';
import { type Runner, runTogether, signatureOf, type Values } from './batching.ts';
import type { RunValue } from './feeds.ts';

/** Options of Session.batcher. */
export interface BatcherOptions {
  /** Most requests in a batch. 16 by default. */
  readonly maxBatch?: number;
  /** Milliseconds a request waits for others to join it. 2 by default; 0 joins what one turn of the event loop brings. */
  readonly maxDelayMs?: number;
  /** Requests waiting beyond which new ones are refused with RunError. 1024 by default. */
  readonly maxQueue?: number;
}

interface Waiting {
  readonly feeds: Values;
  readonly resolve: (results: Record<string, RunValue>) => void;
  readonly reject: (error: unknown) => void;
}

/** Runs requests of equal signature as one, along axis 0. */
export class Batcher {
  readonly #run: Runner;
  readonly #maxBatch: number;
  readonly #maxDelay: number;
  readonly #maxQueue: number;
  readonly #queues = new Map<string, { waiting: Waiting[]; timer: NodeJS.Timeout }>();
  #queued = 0;
  #closed = false;

  constructor(run: Runner, { maxBatch = 16, maxDelayMs = 2, maxQueue = 1024 }: BatcherOptions = {}) {
    const bounds = { maxBatch: [maxBatch, 1], maxDelayMs: [maxDelayMs, 0], maxQueue: [maxQueue, 1] };
    for (const [name, [value, least]] of Object.entries(bounds)) {
      if (!(value >= least) || (name !== 'maxDelayMs' && !Number.isSafeInteger(value))) {
        throw new OptionError(`batcher: option "${name}" has to be at least ${least}, got ${value}`, { option: name });
      }
    }
    this.#run = run;
    this.#maxBatch = maxBatch;
    this.#maxDelay = maxDelayMs;
    this.#maxQueue = maxQueue;
  }

  /** Requests that wait for their batch to begin. */
  get queued(): number {
    return this.#queued;
  }

  /**
   * Runs a request, joined by others. Rejects with InputError where it cannot be batched, RunError where it is one too
   * many. The feeds have to be left alone until the promise settles.
   */
  async run(feeds: Values): Promise<Record<string, RunValue>> {
    if (this.#closed) throw new RunError('the batcher is closed');
    if (this.#queued >= this.#maxQueue) {
      throw new RunError(`${this.#queued} requests wait, no more are taken`, { maxQueue: this.#maxQueue });
    }
    const signature = signatureOf(feeds);
    return new Promise((resolve, reject) => {
      let queue = this.#queues.get(signature);
      if (!queue) {
        queue = { waiting: [], timer: setTimeout(() => this.#flush(signature), this.#maxDelay) };
        this.#queues.set(signature, queue);
      }
      queue.waiting.push({ feeds, resolve, reject });
      this.#queued++;
      if (queue.waiting.length >= this.#maxBatch) this.#flush(signature);
    });
  }

  /** Runs what waits, and takes no more. */
  close(): void {
    this.#closed = true;
    for (const signature of [...this.#queues.keys()]) this.#flush(signature);
  }

  #flush(signature: string): void {
    const queue = this.#queues.get(signature);
    if (!queue) return;
    clearTimeout(queue.timer);
    this.#queues.delete(signature);
    this.#queued -= queue.waiting.length;
    void this.#runBatch(queue.waiting);
  }

  async #runBatch(waiting: readonly Waiting[]): Promise<void> {
    const results = await runTogether(
      this.#run,
      waiting.map(({ feeds }) => feeds),
    );
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') waiting[i].resolve(result.value);
      else waiting[i].reject(result.reason);
    }
  }
}

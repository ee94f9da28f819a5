/** Joins requests that come at about the same time into batches. */

import { OptionError, QueueFullError, RunError } from '../errors.ts';
import { type Runner, runTogether, signatureOf, type Values } from './batching.ts';
import type { RunValue } from './feeds.ts';

/** Options of {@link Session.batcher}. */
export interface BatcherOptions {
  /** Most requests in a batch. 16 by default. */
  readonly maxBatch?: number;
  /** Milliseconds a request waits for others to join it. 2 by default; 0 joins what one turn of the event loop brings. */
  readonly maxDelayMs?: number;
  /** Requests waiting beyond which new ones are refused with {@link QueueFullError}. 1024 by default. */
  readonly maxQueue?: number;
  /** Batches under way at once; others wait, and grow meanwhile. 2 by default, more for sessions of fewer threads. */
  readonly concurrency?: number;
}

interface Waiting {
  readonly feeds: Values;
  readonly resolve: (results: Record<string, RunValue>) => void;
  readonly reject: (error: unknown) => void;
}

/** Requests of one signature that will be a batch. */
interface Queue {
  readonly signature: string;
  readonly waiting: Waiting[];
  readonly timer: NodeJS.Timeout;
}

/** Runs requests of equal signature as one, along axis 0. Made by {@link Session.batcher}. */
export class Batcher {
  readonly #run: Runner;
  readonly #maxBatch: number;
  readonly #maxDelay: number;
  readonly #maxQueue: number;
  readonly #concurrency: number;
  /** Batches that requests may join still. */
  readonly #open = new Map<string, Queue>();
  /** Batches that are full or whose time has come, the longest first. */
  readonly #due = new Set<Queue>();
  #queued = 0;
  #running = 0;
  #closed = false;
  /** Resolve the promises of close(). */
  readonly #ends: (() => void)[] = [];

  /** @internal */
  constructor(run: Runner, { maxBatch = 16, maxDelayMs = 2, maxQueue = 1024, concurrency = 2 }: BatcherOptions = {}) {
    const counts = { maxBatch: [maxBatch, 1], maxQueue: [maxQueue, 1], concurrency: [concurrency, 1] };
    for (const [name, [value, least]] of Object.entries({ ...counts, maxDelayMs: [maxDelayMs, 0] })) {
      if (!(value >= least) || (name !== 'maxDelayMs' && !Number.isSafeInteger(value))) {
        throw new OptionError(`batcher: option "${name}" has to be at least ${least}, got ${value}`, { option: name });
      }
    }
    this.#run = run;
    this.#maxBatch = maxBatch;
    this.#maxDelay = maxDelayMs;
    this.#maxQueue = maxQueue;
    this.#concurrency = concurrency;
  }

  /** Requests that wait for their batch to begin. */
  get queued(): number {
    return this.#queued;
  }

  /**
   * Runs a request, joined by others. Rejects with InputError where it cannot be batched, QueueFullError where it is one
   * too many, RunError after {@link close}. The feeds have to be left alone until the promise settles.
   */
  async run(feeds: Readonly<Record<string, RunValue>>): Promise<Record<string, RunValue>> {
    if (this.#closed) throw new RunError('the batcher is closed');
    if (this.#queued >= this.#maxQueue) {
      throw new QueueFullError(`${this.#queued} requests wait, no more are taken`, { maxQueue: this.#maxQueue });
    }
    const signature = signatureOf(feeds);
    return new Promise((resolve, reject) => {
      const queue = this.#open.get(signature) ?? this.#begin(signature);
      queue.waiting.push({ feeds, resolve, reject });
      this.#queued++;
      if (queue.waiting.length < this.#maxBatch) return;
      this.#open.delete(signature);
      this.#becomesDue(queue);
    });
  }

  /** Takes no more requests, runs those that wait without delay, and resolves when all have been answered. */
  close(): Promise<void> {
    this.#closed = true;
    for (const queue of this.#open.values()) this.#becomesDue(queue);
    return new Promise((resolve) => {
      this.#ends.push(resolve);
      this.#endIfIdle();
    });
  }

  #endIfIdle(): void {
    if (this.#running > 0 || this.#queued > 0) return;
    for (const end of this.#ends.splice(0)) end();
  }

  #begin(signature: string): Queue {
    const timer = setTimeout(() => this.#becomesDue(queue), this.#maxDelay);
    const queue: Queue = { signature, waiting: [], timer };
    this.#open.set(signature, queue);
    return queue;
  }

  #becomesDue(queue: Queue): void {
    clearTimeout(queue.timer);
    this.#due.add(queue);
    this.#startDue();
  }

  #startDue(): void {
    for (const queue of this.#due) {
      if (this.#running >= this.#concurrency) return;
      this.#due.delete(queue);
      if (this.#open.get(queue.signature) === queue) this.#open.delete(queue.signature);
      this.#queued -= queue.waiting.length;
      this.#running++;
      void this.#runBatch(queue.waiting);
    }
  }

  async #runBatch(waiting: readonly Waiting[]): Promise<void> {
    const results = await runTogether(
      this.#run,
      waiting.map(({ feeds }) => feeds),
    );
    this.#running--;
    this.#startDue();
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') waiting[i].resolve(result.value);
      else waiting[i].reject(result.reason);
    }
    this.#endIfIdle();
  }
}

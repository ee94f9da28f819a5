/** A stream of requests through a session. */

import { OptionError } from '../errors.ts';
import { type Runner, runTogether, signatureOf, type Values } from './batching.ts';
import type { RunValue } from './feeds.ts';

/** Options of {@link Session.stream}. */
export interface StreamOptions {
  /** Requests that run as one, joined along axis 0, where their shapes allow. 1 by default. */
  readonly batch?: number;
  /** Batches under way at once, which is also how far the stream reads ahead. 2 by default. */
  readonly concurrency?: number;
  /** Results in the order of the requests (default), or as they come. */
  readonly ordered?: boolean;
}

type Results = Record<string, RunValue>;

/** A batch under way; `done` never rejects. */
interface Task {
  done: Promise<Task>;
  settled: PromiseSettledResult<Results>[];
}

function startTask(run: Runner, requests: readonly Values[]): Task {
  const task = { settled: [] } as unknown as Task;
  task.done = runTogether(run, requests).then((settled) => {
    task.settled = settled;
    return task;
  });
  return task;
}

function checkCount(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new OptionError(`session.stream: option "${name}" has to be a whole number of at least 1, got ${value}`);
  }
}

/** Batches of requests of one signature. */
async function* batchesOf(source: AsyncIterable<Values> | Iterable<Values>, size: number): AsyncGenerator<Values[]> {
  let batch: Values[] = [];
  let signature = '';
  for await (const feeds of source) {
    const next = size > 1 ? signatureOf(feeds) : '';
    if (batch.length > 0 && next !== signature) {
      yield batch;
      batch = [];
    }
    signature = next;
    batch.push(feeds);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

/** Runs every request of `source`; a request that fails ends the stream with its error. */
export async function* streamResults(
  run: Runner,
  source: AsyncIterable<Values> | Iterable<Values>,
  { batch = 1, concurrency = 2, ordered = true }: StreamOptions = {},
): AsyncGenerator<Results, void> {
  checkCount(batch, 'batch');
  checkCount(concurrency, 'concurrency');
  const batches = batchesOf(source, batch);
  const running: Task[] = [];
  let pull: Promise<{ read: IteratorResult<Values[]> }> | undefined;
  let ended = false;
  try {
    for (;;) {
      if (!ended && running.length < concurrency) pull ??= batches.next().then((read) => ({ read }));
      const waits = [...running.slice(0, ordered ? 1 : undefined).map(({ done }) => done), ...(pull ? [pull] : [])];
      if (waits.length === 0) return;
      const event = await Promise.race(waits);
      if ('read' in event) {
        pull = undefined;
        if (event.read.done) ended = true;
        else running.push(startTask(run, event.read.value));
        continue;
      }
      running.splice(running.indexOf(event), 1);
      for (const result of event.settled) {
        if (result.status === 'rejected') throw result.reason;
        yield result.value;
      }
    }
  } finally {
    // A read under way may fail after the stream has ended: nobody waits for it.
    pull?.catch(() => undefined);
    void batches.return(undefined).catch(() => undefined);
  }
}

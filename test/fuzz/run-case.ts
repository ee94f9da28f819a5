/** One case: change a model, load it, run it, and judge what came. */

import { FiligreeError, InternalError, NativeLoadError } from '../../lib/errors.ts';
import { storageLength } from '../../lib/ir/dtype.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import type { HostTensor, HostValue } from '../../lib/ir/tensor.ts';
import type { RunValue, TensorLike } from '../../lib/runtime/feeds.ts';
import type { SessionOptions } from '../../lib/runtime/options.ts';
import { Session } from '../../lib/runtime/session.ts';
import { feedsFor } from './feeds.ts';
import { Random } from './random.ts';

/** What became of a case. */
export interface Outcome {
  /** `ran`, `unfed` (an input too large to make), or the code of the error that refused it. */
  readonly result: string;
  /** Set where the library misbehaved: what happened. */
  readonly defect?: string;
}

/** Milliseconds after which a run is told to stop. */
const PATIENCE = 2000;
export function optionsFor(random: Random): SessionOptions {
  return {
    threads: 1 + random.below(2),
    optimization: random.chance(0.2) ? 'none' : 'all',
    sparse: random.chance(0.9),
    scheduler: random.chance(0.1) ? 'throughput' : 'latency',
  };
}

const asFeed = (value: HostValue): RunValue =>
  value.kind === 'tensor' ? { type: value.dtype, dims: value.dims, data: value.data } : value;

/** Feeds by the names of the session's inputs. */
export function named(session: Session, feeds: readonly HostValue[]): Record<string, RunValue> {
  return Object.fromEntries(session.inputs.map(({ name }, i) => [name, asFeed(feeds[i] as HostValue)]));
}

/** Says what is wrong with results: a length that is not what the dimensions need. */
function checkResults(results: Readonly<Record<string, RunValue>>): string | undefined {
  for (const [name, value] of Object.entries(results)) {
    if (!('dims' in value)) continue;
    const { type, dims, data } = value as TensorLike;
    const want = storageLength(type as HostTensor['dtype'], sizeOf(dims));
    const have = (data as { length: number }).length;
    if (have !== want) return `output "${name}" of ${type} [${dims}] has ${have} entries, not ${want}`;
  }
  return undefined;
}

export function judge(error: unknown): Outcome {
  if (error instanceof FiligreeError && !(error instanceof InternalError || error instanceof NativeLoadError)) {
    return { result: error.code };
  }
  const text =
    error instanceof Error ? `${error.stack}${error.cause ? `\n${String(error.cause)}` : ''}` : String(error);
  return { result: 'defect', defect: `not a typed error of bad input: ${text}` };
}

/** Loads and runs the bytes. `seed` decides options and feeds; `origin` is the model they come from. */
export async function runCase(bytes: Uint8Array, seed: string, origin: string): Promise<Outcome> {
  const random = new Random(`${seed} run`);
  let session: Session | undefined;
  try {
    // From a stream of its own: feeds of a seed stay what they were.
    const precision = new Random(`${seed} precision`).chance(0.2) ? 'bf16' : 'float32';
    session = await Session.load(bytes, { ...optionsFor(random), precision });
    const values = feedsFor(random, session.inputs, origin);
    if (!values) return { result: 'unfed' };
    const feeds = named(session, values);
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), PATIENCE);
    try {
      // Nothing stops a synchronous run: its loops have to end.
      const sync = random.chance(0.1) && !Buffer.from(bytes).includes('Loop');
      const results = sync ? session.runSync(feeds) : await session.run(feeds, { signal: stop.signal });
      const defect = checkResults(results);
      return defect ? { result: 'defect', defect } : { result: 'ran' };
    } finally {
      clearTimeout(timer);
    }
  } catch (error) {
    return judge(error);
  } finally {
    await session?.dispose();
  }
}

/** One case: change a model, load it, run it, and judge what came. */

import { FiligreeError, InternalError, NativeLoadError } from '../../lib/errors.ts';
import { dtypeInfo, isFloat, type NumericStorage, storageLength } from '../../lib/ir/dtype.ts';
import type { Port } from '../../lib/ir/model.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { allocate, type HostTensor, type HostValue } from '../../lib/ir/tensor.ts';
import type { RunValue, TensorLike } from '../../lib/runtime/feeds.ts';
import type { SessionOptions } from '../../lib/runtime/options.ts';
import { Session } from '../../lib/runtime/session.ts';
import { storedFeeds } from './corpus.ts';
import { edgeFloat, edgeInteger, Random } from './random.ts';

/** What became of a case. */
export interface Outcome {
  /** `ran`, `unfed` (an input too large to make), or the code of the error that refused it. */
  readonly result: string;
  /** Set where the library misbehaved: what happened. */
  readonly defect?: string;
}

/** Milliseconds after which a run is told to stop. */
const PATIENCE = 2000;
const MAX_FEED_ELEMENTS = 1 << 16;

/** Made-up sizes for what a model leaves open. */
function dimsOf(random: Random, port: Port, symbols: Map<string, number>): number[] {
  const shape = port.type.kind === 'tensor' ? port.type.shape : undefined;
  if (!shape) return Array.from({ length: random.below(5) }, () => random.below(4));
  return shape.map((dim) => {
    if (typeof dim === 'number') return dim;
    const size = random.chance(0.05) ? 0 : 1 + random.below(4);
    if (dim === null) return size;
    symbols.set(dim, symbols.get(dim) ?? size);
    return symbols.get(dim) as number;
  });
}

function fill(random: Random, { dtype, data }: HostTensor): void {
  const wild = random.chance(0.15);
  const { kind, bits } = dtypeInfo(dtype);
  const entries = data as NumericStorage;
  for (let i = 0; i < entries.length; i++) {
    if (Array.isArray(data)) data[i] = random.pick(['', 'a', 'text', '1.5', '\u{1f600}']);
    else if ((kind === 'int' || kind === 'uint') && bits === 64) {
      (entries as BigInt64Array)[i] = wild ? BigInt.asIntN(64, edgeInteger(random, 1n)) : BigInt(random.below(3));
    } else if (entries instanceof Float32Array || entries instanceof Float64Array) {
      entries[i] = wild && random.chance(0.3) ? edgeFloat(random) : random.unit() * 2 - 1;
    } else if (isFloat(dtype)) entries[i] = wild ? random.below(65536) : 0x3800 + random.below(1024);
    else if (kind === 'bool') entries[i] = random.below(2);
    else entries[i] = wild ? Number(BigInt.asIntN(32, edgeInteger(random, 1n))) : random.below(3);
  }
}

/** A feed for the port, or undefined where it would be too large. */
function makeFeed(random: Random, port: Port, symbols: Map<string, number>): HostValue | undefined {
  const { type } = port;
  if (type.kind === 'sequence') return { kind: 'sequence', items: [] };
  if (type.kind === 'optional') return { kind: 'optional', value: null };
  if (type.kind === 'map') {
    const entries = new Map<string | bigint, number>([[type.keyType === 'string' ? 'a' : 1n, 0.5]]);
    return { kind: 'map', keyType: type.keyType, valueType: 'float32', entries };
  }
  const dims = dimsOf(random, port, symbols);
  const count = sizeOf(dims);
  if (!(count <= MAX_FEED_ELEMENTS)) return undefined;
  const made: HostTensor = { kind: 'tensor', dtype: type.dtype, dims, data: allocate(type.dtype, count) };
  fill(random, made);
  return made;
}

const asFeed = (value: HostValue): RunValue =>
  value.kind === 'tensor' ? { type: value.dtype, dims: value.dims, data: value.data } : value;

function feedsFor(random: Random, session: Session, origin: string): Record<string, RunValue> | undefined {
  const stored = random.chance(0.7) ? storedFeeds(origin, session.inputs) : [];
  const symbols = new Map<string, number>();
  const feeds: [string, RunValue][] = [];
  for (const [i, port] of session.inputs.entries()) {
    const value = stored[i] ?? makeFeed(random, port, symbols);
    if (!value) return undefined;
    feeds.push([port.name, asFeed(value)]);
  }
  return Object.fromEntries(feeds);
}

function optionsFor(random: Random): SessionOptions {
  return {
    threads: 1 + random.below(2),
    optimization: random.chance(0.2) ? 'none' : 'all',
    sparse: random.chance(0.9),
    scheduler: random.chance(0.1) ? 'throughput' : 'latency',
  };
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

function judge(error: unknown): Outcome {
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
    session = await Session.load(bytes, optionsFor(random));
    const feeds = feedsFor(random, session, origin);
    if (!feeds) return { result: 'unfed' };
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

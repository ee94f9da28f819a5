/** Options of sessions and runs: every key checked, unknown ones refused. */

import { OptionError } from '../errors.ts';

/** How a session shares out the cores: for the shortest time of one run, or for the most items a second. */
export type Scheduler = 'latency' | 'throughput';

/** How exact dense products are: float32 throughout, or operands rounded to bfloat16 and summed in float32. */
export type Precision = 'float32' | 'bf16';

/** Options of {@link Session.load}. Unknown ones are refused with OptionError. */
export interface SessionOptions {
  /** Most threads a run uses; by default the usable cores (affinity and control group). They are shared by sessions. */
  readonly threads?: number;
  /** `latency` (default): all threads share each step. `throughput`: the items of a batch are dealt to threads. */
  readonly scheduler?: Scheduler;
  /** Plans (one a combination of input shapes) that are kept; the least recently used go first. 256 by default. */
  readonly planCacheSize?: number;
  /** Contents of external data by location, for models given as bytes. */
  readonly externalData?: Readonly<Record<string, Uint8Array>>;
  /** Sizes for symbolic dimensions of the inputs, by the names the model gives them. */
  readonly dimensions?: Readonly<Record<string, number>>;
  /** `none` runs the graph as it is written; `all` (default) applies every rewrite. */
  readonly optimization?: 'none' | 'all';
  /** `false` runs every weight through dense kernels: for comparisons. `true` by default. */
  readonly sparse?: boolean;
  /**
   * `float32` (default), or `bf16`: dense convolutions and matrix products may round their operands to bfloat16,
   * with sums in float32, where the processor is faster at that than at float32 (AMX, AVX512_BF16 of AMD). Elsewhere, and
   * in layers of few nonzeros, nothing changes.
   */
  readonly precision?: Precision;
  /**
   * A folder that keeps plans and packed weights, so that the next start of a model from a file neither rewrites, plans
   * nor packs it again. It is made where its parent exists, and may be shared by processes and models; nothing is kept by
   * default.
   */
  readonly cache?: string;
  /** Runs of a higher priority start first among sessions that wait for the pool. 0 by default. */
  readonly priority?: number;
}

/** Options of {@link Session.run}. */
export interface RunOptions {
  /** Names of the outputs to return; all by default. */
  readonly outputs?: readonly string[];
  /** Stops the run between two steps: it rejects with AbortError. */
  readonly signal?: AbortSignal;
}

type Rule = (value: unknown) => string | undefined;

const wholeFrom =
  (least: number): Rule =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= least ? undefined : `a whole number of at least ${least}`;
const oneOf =
  (...names: string[]): Rule =>
  (value) =>
    names.includes(value as string) ? undefined : names.map((name) => `"${name}"`).join(' or ');
const recordOf =
  (what: string, test: (value: unknown) => boolean): Rule =>
  (value) =>
    typeof value === 'object' && value !== null && Object.values(value).every(test)
      ? undefined
      : `an object of ${what}`;

const sessionRules: Readonly<Record<keyof SessionOptions, Rule>> = {
  threads: wholeFrom(1),
  scheduler: oneOf('latency', 'throughput'),
  planCacheSize: wholeFrom(1),
  externalData: recordOf('Uint8Array', (value) => value instanceof Uint8Array),
  dimensions: recordOf('whole numbers', (value) => Number.isSafeInteger(value) && (value as number) >= 0),
  optimization: oneOf('none', 'all'),
  sparse: (value) => (typeof value === 'boolean' ? undefined : 'true or false'),
  precision: oneOf('float32', 'bf16'),
  cache: (value) => (typeof value === 'string' && value !== '' ? undefined : 'the path of a folder'),
  priority: (value) => (Number.isSafeInteger(value) ? undefined : 'a whole number'),
};

const runRules: Readonly<Record<keyof RunOptions, Rule>> = {
  outputs: (value) =>
    Array.isArray(value) && value.every((name) => typeof name === 'string') ? undefined : 'an array of output names',
  signal: (value) => (value instanceof AbortSignal ? undefined : 'an AbortSignal'),
};

function check<T extends object>(options: T, rules: Readonly<Record<string, Rule>>, where: string): T {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError(`${where}: expected an object of options, got ${options === null ? 'null' : typeof options}`);
  }
  for (const [key, value] of Object.entries(options)) {
    const rule = rules[key];
    if (!rule) {
      const known = Object.keys(rules).join(', ');
      throw new OptionError(`${where}: unknown option "${key}"; known are ${known}`, { option: key });
    }
    const expected = value === undefined ? undefined : rule(value);
    if (expected)
      throw new OptionError(`${where}: option "${key}" has to be ${expected}, got ${show(value)}`, { option: key });
  }
  return options;
}

function show(value: unknown): string {
  return typeof value === 'string'
    ? `"${value}"`
    : typeof value === 'object'
      ? Object.prototype.toString.call(value)
      : String(value);
}

export const checkSessionOptions = (options: SessionOptions): SessionOptions =>
  check(options, sessionRules, 'Session.load');
export const checkRunOptions = (options: RunOptions): RunOptions => check(options, runRules, 'session.run');

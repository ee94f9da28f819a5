/**
 * Predicts how long the steps of a plan take on more cores than the machine has.
 *
 * A step's units are dealt to cores by list scheduling; a barrier ends each step that is shared; no step is faster than
 * memory delivers its bytes. docs/design/030-scaling.md has the assumptions.
 */

/** One step as measured on one core. Times are nanoseconds. */
export interface Step {
  readonly name: string;
  readonly ns: number;
  /** Independent units: what the step can be cut into. */
  readonly units: number;
  /** Share of the time of each unit, where they are not alike; as many as units. */
  readonly weights?: readonly number[];
  /** What the kernel believes to cost, by which the engine decides how many threads to use; `ns` where not given. */
  readonly estimate?: number;
  /** Bytes of weights, and of other operands. */
  readonly constantBytes: number;
  readonly dataBytes: number;
}

/** A run of a model: steps, and what no core can help with. */
export interface Work {
  readonly steps: readonly Step[];
  /** Nanoseconds outside of steps: the way into native code, nodes without kernels. */
  readonly serialNs: number;
  /** Bytes of all weights as kernels read them. */
  readonly packedBytes: number;
}

export interface Target {
  /** Bytes a nanosecond (GB/s) that memory delivers to all cores together. */
  readonly bandwidth: number;
  /** Bytes of the last cache, of the whole machine, and of a core's own: what stays within does not load memory. */
  readonly cacheBytes: number;
  readonly coreCacheBytes: number;
  /** Nanoseconds of a barrier of that many threads. */
  readonly barrier: (threads: number) => number;
}

/** Where the time of a run goes; the sum is the latency. */
export interface Latency {
  readonly ns: number;
  /** What the shared steps would take with their units dealt evenly. */
  readonly workNs: number;
  /** Steps and gaps that one core does alone. */
  readonly serialNs: number;
  /** Waiting for the core with most units. */
  readonly unevenNs: number;
  readonly barrierNs: number;
  readonly memoryNs: number;
}

const SERIAL_COST = 4000;
const COST_PER_THREAD = 10_000;

/** Threads that the engine gives a step of this estimated cost (native/engine/plan.cc). */
export function threadsFor(estimate: number, units: number, cores: number): number {
  if (!(estimate >= SERIAL_COST) || units < 2) return 1;
  return Math.min(Math.max(2, Math.ceil(estimate / COST_PER_THREAD)), units, cores);
}

/** The time until the last of `cores` cores is done: each unit in turn goes to the core that is free first. */
export function listSchedule(units: readonly number[], cores: number): number {
  const ends = new Array<number>(cores).fill(0);
  for (const unit of units) {
    let free = 0;
    for (let core = 1; core < cores; core++) if (ends[core]! < ends[free]!) free = core;
    ends[free]! += unit;
  }
  return Math.max(...ends);
}

function longestShare({ ns, units, weights }: Step, threads: number): number {
  if (!weights) return (ns / units) * Math.ceil(units / threads);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const times = weights.map((weight) => (ns * weight) / total);
  return listSchedule(times, threads);
}

/**
 * Bytes that a step brings from memory when `runs` runs are under way at once. All weights are read before one is read
 * again; a step finds what the step before it wrote where the caches hold the operands of such a step of every run.
 */
function memoryBytes(step: Step, work: Work, target: Target, runs: number): number {
  const weights = work.packedBytes > target.cacheBytes ? step.constantBytes : 0;
  const leaves = runs * step.dataBytes > target.cacheBytes && step.dataBytes > target.coreCacheBytes;
  return weights + (leaves ? step.dataBytes : 0);
}

/** One run with all cores. */
export function latencyOf(work: Work, cores: number, target: Target): Latency {
  let workNs = 0;
  let { serialNs } = work;
  let unevenNs = 0;
  let barrierNs = 0;
  let memoryNs = 0;
  for (const step of work.steps) {
    const threads = threadsFor(step.estimate ?? step.ns, step.units, cores);
    const share = threads === 1 ? step.ns : longestShare(step, threads);
    if (threads === 1 && cores > 1) serialNs += step.ns;
    else workNs += step.ns / threads;
    if (threads > 1) {
      unevenNs += share - step.ns / threads;
      barrierNs += target.barrier(threads);
      memoryNs += Math.max(0, memoryBytes(step, work, target, 1) / target.bandwidth - share);
    }
  }
  const ns = workNs + serialNs + unevenNs + barrierNs + memoryNs;
  return { ns, workNs, serialNs, unevenNs, barrierNs, memoryNs };
}

export interface Throughput {
  /** Runs a second. */
  readonly runs: number;
  /** Runs at once, each on one core. */
  readonly streams: number;
  readonly limit: 'cores' | 'memory';
}

function throughputWith(work: Work, streams: number, target: Target): Throughput {
  const alone = latencyOf(work, 1, target).ns;
  const bytes = work.steps.reduce((sum, step) => sum + memoryBytes(step, work, target, streams), 0);
  const byMemory = bytes > 0 ? target.bandwidth / bytes : Number.POSITIVE_INFINITY;
  const byCores = streams / alone;
  return { runs: Math.min(byCores, byMemory) * 1e9, streams, limit: byMemory < byCores ? 'memory' : 'cores' };
}

/** Runs at once, each on one core: as many as give most, which caches may make fewer than the cores. */
export function throughputOf(work: Work, cores: number, target: Target): Throughput {
  let best = throughputWith(work, 1, target);
  for (let streams = 2; streams <= cores; streams++) {
    const each = throughputWith(work, streams, target);
    if (each.runs > best.runs) best = each;
  }
  return best.streams < cores ? { ...best, limit: 'memory' } : best;
}

/** How a barrier grows with threads, from that of two. */
export function barrierGrowth(kind: 'linear' | 'logarithmic', ofTwo: number): (threads: number) => number {
  return (threads) => ofTwo * (kind === 'linear' ? threads - 1 : Math.log2(threads));
}

/** What the processor reaches on this instruction set: measured once a process and number of threads. */

import type { Node } from '../ir/graph.ts';
import { PlanBuilder } from '../plan/builder.ts';
import { type Isa, lanesOf, thisMachine } from './machine.ts';
import { native } from './native.ts';

/** Bytes a nanosecond (GB/s) of reading data that lies in memory of `bytes`. */
export interface ReadRate {
  readonly level: 'L1' | 'L2' | 'L3' | 'memory';
  /** Data up to this size counts as lying there. */
  readonly bytes: number;
  readonly rate: number;
}

/** Bounds of `threads` threads together. */
export interface Peaks {
  readonly threads: number;
  /** Multiply-adds of float32 a nanosecond. */
  readonly fma: number;
  /** Multiply-adds of bytes for one of float32: dot products of four, pairs of 16-bit products, or tiles. */
  readonly byteFactor: number;
  /** Multiply-adds of bfloat16 for one of float32, on vectors or tiles. */
  readonly bf16Factor: number;
  /** The nearest first. */
  readonly reads: readonly ReadRate[];
}

const FMA_ROUNDS = 50_000;
const CHAINS = 12;
const READ_BYTES = 16 * 2 ** 20;
const REPEATS = 8;
/** Enough to leave the caches that one machine's processes can hope for, and little enough to be quick. */
const MEMORY_BYTES = 128 * 2 ** 20;

const byteFactors: Readonly<Record<Isa, number>> = {
  portable: 1,
  avx2: 2,
  avx512: 2,
  avx512vnni: 4,
  avx512bf16: 4,
  amx: 32,
};

const none: Node = {
  ...{ name: 'measurement', op: '', domain: '', version: 1, inputs: [], outputs: [], captures: [] },
  attributes: new Map(),
};

/**
 * Least nanoseconds of a step whose result has one line a thread. The same step runs once before it: threads join a
 * run a little after its beginning.
 */
function leastTime(kernel: string, input: Float32Array | undefined, rounds: number, threads: number): number {
  const { isa, kernels } = thisMachine();
  const addon = native();
  const builder = new PlanBuilder(kernels);
  const operands = (input ? [builder.input(input.byteLength)] : []).concat(builder.output(64 * threads));
  const types = operands.map((buffer) => ({ dtype: 'float32' as const, dims: [], buffer }));
  for (let i = 0; i < 2; i++) builder.step(none, kernel, types, { rounds });
  const plan = addon.plan(isa, builder.finish().numbers, []);
  const output = new Float32Array(16 * threads);
  const profile = new Float64Array(4);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < REPEATS; i++) {
    addon.runSync(plan, input ? [input] : [], [output], { threads, profile });
    best = Math.min(best, profile[3]);
  }
  addon.release(plan);
  return best;
}

function readRate(bytes: number, threads: number): number {
  const input = new Float32Array(native().alignedBuffer(Math.ceil(bytes / 4096) * 4096));
  const rounds = Math.max(1, Math.ceil(READ_BYTES / bytes));
  return (input.byteLength * rounds) / leastTime('measure.load.f32', input, rounds, threads);
}

function measure(threads: number): Peaks {
  const addon = native();
  const { l1d, l2, l3 } = addon.hardware();
  const isa = addon.isa();
  const [first, second] = [l1d || 32 * 1024, l2 || 512 * 1024];
  const third = Math.max(l3, 4 * second * threads);
  const operations = FMA_ROUNDS * CHAINS * lanesOf[isa];
  return {
    threads,
    // Cores have their own arithmetic and nearest caches: one of them is measured.
    fma: (threads * operations) / leastTime('measure.fma.f32', undefined, FMA_ROUNDS, 1),
    byteFactor: byteFactors[isa],
    bf16Factor: isa === 'amx' ? 16 : 2,
    reads: [
      { level: 'L1', bytes: first * threads, rate: threads * readRate(first / 2, 1) },
      { level: 'L2', bytes: second * threads, rate: threads * readRate(second / 2, 1) },
      { level: 'L3', bytes: third, rate: readRate(third / 4, threads) },
      { level: 'memory', bytes: Number.POSITIVE_INFINITY, rate: readRate(MEMORY_BYTES, threads) },
    ],
  };
}

const known = new Map<number, Peaks>();

/** The bounds of `threads` threads; takes about a tenth of a second the first time. */
export function peaksOf(threads: number): Peaks {
  let peaks = known.get(threads);
  if (!peaks) {
    peaks = measure(threads);
    known.set(threads, peaks);
  }
  return peaks;
}

/** Milliseconds that reading `bytes` takes where a set of `resident` bytes is walked again and again. */
export function readTime(peaks: Peaks, bytes: number, resident: number): number {
  const level = peaks.reads.find((each) => resident <= each.bytes) ?? peaks.reads[peaks.reads.length - 1];
  return bytes / level.rate / 1e6;
}

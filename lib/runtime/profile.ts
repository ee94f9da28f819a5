/** Where the time of runs goes: by node, against what the machine could do. */

import type { Node } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostValue } from '../ir/tensor.ts';
import { type DimsOf, macsOf, weightsOf } from '../ops/arithmetic.ts';
import { isRounded } from '../ops/bf16-products.ts';
import { opKey } from '../ops/op.ts';
import type { NativeSection } from '../plan/stage.ts';
import { densityOf } from '../sparse/density.ts';
import type { CompiledModel } from './compiled.ts';
import type { ReferenceRequest, RunRequest } from './driver.ts';
import { type NativePlan, type NativePlanInfo, native } from './native.ts';
import { type Peaks, peaksOf, readTime } from './peaks.ts';

/** One node of the rewritten graph, with all its steps. Times and sizes are of one run. */
export interface LayerProfile {
  readonly name: string;
  readonly op: string;
  /** The kernel that takes most of the time; `reference` where none runs the node. */
  readonly kernel: string;
  /** Why no kernel runs it. */
  readonly reason?: string;
  /** Dimensions of the first output, where known. */
  readonly dims: readonly number[] | undefined;
  /** Milliseconds, conversions for this node included; the median of the runs. */
  readonly ms: number;
  /** Share of the time of all layers. */
  readonly share: number;
  /** Multiply-adds with nonzero weights, and with all weights. */
  readonly macs: number | undefined;
  readonly denseMacs: number | undefined;
  /** Share of zeros in the weight, where it has one. */
  readonly zeros: number | undefined;
  /** Bytes of constants, and of activations read or written, each buffer once a step. */
  readonly constantBytes: number;
  readonly dataBytes: number;
  readonly gflops: number | undefined;
  readonly gbytes: number;
  /** Least milliseconds that arithmetic or reading take on this machine; undefined for references. */
  readonly boundMs: number | undefined;
  readonly steps: readonly { readonly kernel: string; readonly ms: number }[];
}

/** A span of a run's time line, in milliseconds since the run began. */
export interface ProfileSpan {
  readonly name: string;
  readonly op: string;
  readonly kernel: string;
  readonly from: number;
  readonly ms: number;
  /** Spans of one lane do not overlap, but for references and the kernels in their bodies. */
  readonly lane: number;
}

/** Bytes of the arena in use at one step. */
export interface MemoryPoint {
  readonly name: string;
  readonly bytes: number;
}

export interface Profile {
  readonly runs: number;
  readonly threads: number;
  /** Runs of parts of a batch at once, each on one thread; 1 where a run uses all threads. */
  readonly panels: number;
  /** Milliseconds of a whole run, profiling included: median and least. */
  readonly wallMs: number;
  readonly leastMs: number;
  /** Sum over the layers. */
  readonly layersMs: number;
  readonly peaks: Peaks;
  readonly layers: readonly LayerProfile[];
  /** The last run. */
  readonly spans: readonly ProfileSpan[];
  /** Along the steps of one run. */
  readonly memory: readonly MemoryPoint[];
}

/** Steps that only bring values into another form. */
const isConversion = (kernel: string): boolean =>
  /^(segments\.|copy|fill|strided|rows\.bf16|panels\.bf16)/.test(kernel);

interface Accumulated {
  readonly node: Node;
  readonly dimsOf: DimsOf;
  reason: string | undefined;
  /** Milliseconds by kernel of each run. */
  readonly kernels: Map<string, number[]>;
  calls: number;
  macs: number | undefined;
  constantBytes: number;
  dataBytes: number;
  /** Least milliseconds of reading. */
  readMs: number;
  /** Products for one of float32, at most. */
  rate: number;
}

/** Collects what sections report over several runs. */
class Collector {
  readonly layers = new Map<Node, Accumulated>();
  readonly #peaks: Peaks;
  readonly #threads: number;
  readonly #resident: () => number;
  readonly #infos = new Map<NativePlan, NativePlanInfo>();
  spans: ProfileSpan[] = [];
  memory: MemoryPoint[] = [];
  panels = 1;
  #run = -1;
  #began = 0;

  constructor(threads: number, resident: () => number) {
    this.#threads = threads;
    this.#peaks = peaksOf(threads);
    this.#resident = resident;
  }

  begin(): void {
    this.#run++;
    this.#began = performance.now();
    this.spans = [];
    this.memory = [];
  }

  readonly onProfile = (request: RunRequest, times: Float64Array, threads: number): void => {
    const { section, plan, dimsOf } = request;
    const alone = threads < this.#threads;
    if (alone) this.panels = this.#threads;
    const info = this.#infoOf(plan);
    const last = section.plan.steps.reduce((end, _, i) => Math.max(end, times[2 * i] + times[2 * i + 1]), 0);
    const began = performance.now() - this.#began - last / 1e6;
    const lane = this.#laneFor(began);
    section.plan.steps.forEach(({ node, kernel }, i) => {
      const ms = times[2 * i + 1] / 1e6;
      const layer = this.#layer(node, dimsOf);
      this.#add(layer, kernel, ms * (alone ? 1 / this.#threads : 1));
      this.#count(layer, kernel, info, i);
      const from = began + times[2 * i] / 1e6;
      this.spans.push({ name: node.name, op: opKey(node.domain, node.op), kernel, from, ms, lane });
    });
    this.#countMacs(section, dimsOf);
    section.plan.steps.forEach(({ node }, i) => {
      this.memory.push({ name: node.name, bytes: section.plan.liveBytes[i] });
    });
  };

  readonly onReference = ({ section, dimsOf, from, elapsed }: ReferenceRequest): void => {
    const { node, reason } = section;
    const start = from - this.#began;
    // What ran in the node's bodies has reported already: it counts there.
    const inner = this.spans.filter((span) => span.from >= start).reduce((sum, span) => sum + span.ms, 0);
    const layer = this.#layer(node, dimsOf);
    // Conversions of its inputs may have made the layer.
    layer.reason = reason;
    this.#add(layer, 'reference', Math.max(0, elapsed - inner));
    if (this.#run === 0) {
      layer.calls++;
      addMacs(layer, node, dimsOf);
    }
    const op = opKey(node.domain, node.op);
    this.spans.push({ name: node.name, op, kernel: 'reference', from: start, ms: elapsed, lane: 0 });
  };

  #infoOf(plan: NativePlan): NativePlanInfo {
    let info = this.#infos.get(plan);
    if (!info) {
      info = native().planInfo(plan);
      this.#infos.set(plan, info);
    }
    return info;
  }

  /** The first lane that is free at `from`. */
  #laneFor(from: number): number {
    const ends: number[] = [];
    for (const span of this.spans) {
      if (span.kernel !== 'reference') ends[span.lane] = Math.max(ends[span.lane] ?? 0, span.from + span.ms);
    }
    for (let lane = 0; ; lane++) if ((ends[lane] ?? 0) <= from + 1e-3) return lane;
  }

  #layer(node: Node, dimsOf: DimsOf): Accumulated {
    let layer = this.layers.get(node);
    if (!layer) {
      const sizes = { calls: 0, macs: undefined, constantBytes: 0, dataBytes: 0, readMs: 0, rate: 1 };
      layer = { node, dimsOf, reason: undefined, kernels: new Map(), ...sizes };
      this.layers.set(node, layer);
    }
    return layer;
  }

  #add(layer: Accumulated, kernel: string, ms: number): void {
    let times = layer.kernels.get(kernel);
    if (!times) {
      times = [];
      layer.kernels.set(kernel, times);
    }
    while (times.length <= this.#run) times.push(0);
    times[this.#run] += ms;
  }

  #count(layer: Accumulated, kernel: string, info: NativePlanInfo, step: number): void {
    if (this.#run > 0) return;
    // A gather reads the rows it takes, wherever they come from.
    const gathers = kernel.startsWith('gather');
    const constants = gathers ? 0 : info.constantBytes[step];
    const data = info.dataBytes[step];
    layer.constantBytes += constants;
    layer.dataBytes += data;
    layer.readMs += readTime(this.#peaks, constants, this.#resident()) + readTime(this.#peaks, data, data);
    if (/\.(u8|i8|s8)$/.test(kernel)) layer.rate = this.#peaks.byteFactor;
    if (isRounded(kernel)) layer.rate = this.#peaks.bf16Factor;
  }

  #countMacs({ plan }: NativeSection, dimsOf: DimsOf): void {
    if (this.#run > 0) return;
    for (const node of new Set(plan.steps.map((step) => step.node))) {
      addMacs(this.#layer(node, dimsOf), node, dimsOf);
    }
  }
}

function addMacs(layer: Accumulated, node: Node, dimsOf: DimsOf): void {
  const macs = macsOf(node, dimsOf);
  if (macs !== undefined) layer.macs = (layer.macs ?? 0) + macs;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/** Share of the nonzeros in a node's weights, which all meet the same number of rows; undefined where it has none. */
function nonzeroShare(node: Node): number | undefined {
  const tensors = weightsOf(node).map(({ tensor }) => tensor);
  const all = tensors.reduce((sum, { dims }) => sum + sizeOf(dims), 0);
  const nonzeros = tensors.reduce((sum, tensor) => sum + sizeOf(tensor.dims) * densityOf(tensor), 0);
  return tensors.length === 0 ? undefined : nonzeros / Math.max(1, all);
}

function layerProfile(layer: Accumulated, runs: number, total: number, peaks: Peaks): LayerProfile {
  const { node, reason, constantBytes, dataBytes } = layer;
  const steps = [...layer.kernels].map(([kernel, times]) => ({ kernel, ms: median(padded(times, runs)) }));
  const ms = timeOf(layer, runs);
  const own = steps.filter(({ kernel }) => !isConversion(kernel));
  const main = (own.length ? own : steps).reduce((a, b) => (b.ms > a.ms ? b : a));
  const density = nonzeroShare(node);
  const macs = layer.macs === undefined ? undefined : layer.macs * (density ?? 1);
  const arithmeticMs = (macs ?? 0) / (peaks.fma * layer.rate) / 1e6;
  return {
    name: node.name,
    op: opKey(node.domain, node.op),
    kernel: main.kernel,
    ...(reason === undefined ? {} : { reason }),
    dims: node.outputs[0] ? layer.dimsOf(node.outputs[0]) : undefined,
    ...{ ms, share: total > 0 ? ms / total : 0, macs, denseMacs: layer.macs },
    zeros: density === undefined ? undefined : 1 - density,
    ...{ constantBytes, dataBytes },
    gflops: macs === undefined || ms === 0 ? undefined : (2 * macs) / ms / 1e6,
    gbytes: ms === 0 ? 0 : (constantBytes + dataBytes) / ms / 1e6,
    boundMs: main.kernel === 'reference' ? undefined : Math.max(arithmeticMs, layer.readMs),
    steps,
  };
}

function padded(times: readonly number[], runs: number): number[] {
  return [...times, ...new Array<number>(runs - times.length).fill(0)];
}

/** Median over the runs of a layer's whole time. */
function timeOf(layer: Accumulated, runs: number): number {
  const sums = new Array<number>(runs).fill(0);
  for (const times of layer.kernels.values()) {
    times.forEach((ms, run) => {
      sums[run] += ms;
    });
  }
  return median(sums);
}

/** Runs a model `runs` times with a clock at every step. The model should have run on these feeds before. */
export async function profileRuns(
  compiled: CompiledModel,
  feeds: readonly (HostValue | undefined)[],
  runs: number,
): Promise<Profile> {
  const { threads } = compiled;
  const collector = new Collector(threads, () => compiled.packedBytes);
  const walls: number[] = [];
  for (let run = 0; run < runs; run++) {
    collector.begin();
    const start = performance.now();
    await compiled.run(feeds, { onProfile: collector.onProfile, onReference: collector.onReference });
    walls.push(performance.now() - start);
  }
  const peaks = peaksOf(threads);
  const accumulated = [...collector.layers.values()].filter((layer) => layer.kernels.size > 0);
  const layersMs = accumulated.reduce((sum, layer) => sum + timeOf(layer, runs), 0);
  const layers = accumulated.map((layer) => layerProfile(layer, runs, layersMs, peaks));
  const { spans, memory, panels } = collector;
  const [wallMs, leastMs] = [median(walls), Math.min(...walls)];
  return { runs, threads, panels, wallMs, leastMs, layersMs, peaks, layers, spans, memory };
}

/** Layers of one operator together. */
export interface OperatorProfile {
  readonly op: string;
  readonly count: number;
  readonly ms: number;
  readonly share: number;
  readonly macs: number;
  readonly gflops: number;
  readonly gbytes: number;
  /** Undefined where one of the layers has none. */
  readonly boundMs: number | undefined;
  readonly kernels: readonly string[];
}

/** Sums by operator, the one with most time first. */
export function byOperator(layers: readonly LayerProfile[]): OperatorProfile[] {
  const groups = new Map<string, LayerProfile[]>();
  for (const layer of layers) groups.set(layer.op, [...(groups.get(layer.op) ?? []), layer]);
  const sums = [...groups].map(([op, group]): OperatorProfile => {
    const sum = (of: (layer: LayerProfile) => number): number => group.reduce((total, layer) => total + of(layer), 0);
    const ms = sum((layer) => layer.ms);
    const macs = sum((layer) => layer.macs ?? 0);
    const bytes = sum((layer) => layer.constantBytes + layer.dataBytes);
    const bounded = group.every((layer) => layer.boundMs !== undefined);
    return {
      ...{ op, count: group.length, ms, share: sum((layer) => layer.share), macs },
      gflops: ms > 0 ? (2 * macs) / ms / 1e6 : 0,
      gbytes: ms > 0 ? bytes / ms / 1e6 : 0,
      boundMs: bounded ? sum((layer) => layer.boundMs as number) : undefined,
      kernels: [...new Set(group.map((layer) => layer.kernel))],
    };
  });
  return sums.sort((a, b) => b.ms - a.ms);
}

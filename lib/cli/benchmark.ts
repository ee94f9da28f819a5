/** `filigree benchmark`: times runs of a model. */

import { basename } from 'node:path';
import { OptionError } from '../errors.ts';
import type { HostValue } from '../ir/tensor.ts';
import { packageVersion } from '../package.ts';
import { thisMachine } from '../runtime/machine.ts';
import type { Command } from './command.ts';
import { modelOptions, openModel, warnImposed } from './model-options.ts';

/** Largest resident set of this process in MB, as the system counts it. */
function peakResident(): number {
  return process.resourceUsage().maxRSS / 1024;
}

/** Value below which the share `q` of the sorted times lies. */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

interface Timing {
  readonly times: number[];
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
}

/** Runs for `seconds`, at least `least` times, `streams` at once. */
async function measure(run: () => Promise<unknown>, streams: number, seconds: number, least: number): Promise<Timing> {
  const times: number[] = [];
  const cpu = process.cpuUsage();
  const start = performance.now();
  const end = start + seconds * 1000;
  const stream = async (): Promise<void> => {
    while (performance.now() < end || times.length < least) {
      const t = performance.now();
      await run();
      times.push(performance.now() - t);
    }
  };
  await Promise.all(Array.from({ length: streams }, stream));
  const { user, system } = process.cpuUsage(cpu);
  return { times, cpuSeconds: (user + system) / 1e6, wallSeconds: (performance.now() - start) / 1000 };
}

export const benchmarkCommand: Command = {
  name: 'benchmark',
  summary: 'Times a model on seeded inputs.',
  usage: 'MODEL [--batch N] [--shape NAME=DIMS,...] [--threads T] [--seconds S] ...',
  positionals: [1, 1],
  options: {
    ...modelOptions,
    scheduler: { type: 'string', value: 'S', help: 'latency (default): a run uses all threads; throughput: one each' },
    streams: { type: 'string', value: 'K', help: 'runs at once (1; the threads for throughput)' },
    seconds: { type: 'string', value: 'S', help: 'how long to measure (3)' },
    warmup: { type: 'string', value: 'S', help: 'how long to warm up, 5 runs at most (1)' },
  },
  notes: 'Floats are seeded around zero, integers are ones. Times are milliseconds of a run, that is of a whole batch.',
  async run(args, out) {
    const [path] = args.positionals;
    const threads = args.count('threads', thisMachine().cores, 1);
    const scheduler = args.text('scheduler') ?? 'latency';
    if (scheduler !== 'latency' && scheduler !== 'throughput') {
      throw new OptionError(`--scheduler: expected latency or throughput, got "${scheduler}"`, { option: 'scheduler' });
    }
    const perRun = scheduler === 'throughput' ? 1 : threads;
    const streams = args.count('streams', scheduler === 'throughput' ? threads : 1, 1);
    const { compiled, feeds, batch, imposed, precision, loadMs } = openModel(args, perRun);
    const planning = performance.now();
    await compiled.prepare(feeds);
    const planned = performance.now();
    const run = (): Promise<HostValue[]> => compiled.run(feeds);
    const warmEnd = performance.now() + args.number('warmup', 1) * 1000;
    for (let i = 0; i < 5 && (i === 0 || performance.now() < warmEnd); i++) await run();
    const { times, cpuSeconds, wallSeconds } = await measure(run, streams, args.number('seconds', 3), 5);
    times.sort((a, b) => a - b);
    const items = times.length * batch;
    const result = {
      engine: 'filigree',
      version: packageVersion(),
      model: basename(path, '.onnx'),
      ...{ batch, threads, scheduler, streams, isa: thisMachine().isa, precision },
      median_ms: quantile(times, 0.5),
      min_ms: times[0],
      p90_ms: quantile(times, 0.9),
      p99_ms: quantile(times, 0.99),
      n: times.length,
      items_per_s: items / wallSeconds,
      cpu_s_per_item: cpuSeconds / items,
      peak_rss_mb: peakResident(),
      load_s: (loadMs + planned - planning) / 1000,
      plan_s: (planned - planning) / 1000,
      ...(imposed ? { imposed_sparsity: imposed } : {}),
    };
    compiled.dispose();
    warnImposed(imposed, out);
    const ms = (x: number): string => `${x.toFixed(3)} ms`;
    out.line(
      `${result.model}, batch ${batch}, ${threads} threads, ${scheduler}, ${streams} at once, ${result.isa}, ${precision}`,
    );
    out.line(
      `median ${ms(result.median_ms)}  min ${ms(result.min_ms)}  p90 ${ms(result.p90_ms)}  p99 ${ms(result.p99_ms)}`,
    );
    out.line(
      `${result.items_per_s.toFixed(1)} items/s, ${(result.cpu_s_per_item * 1000).toFixed(3)} ms of CPU an item`,
    );
    out.line(
      `loaded and planned in ${result.load_s.toFixed(2)} s, peak memory ${result.peak_rss_mb.toFixed(0)} MB, ${times.length} runs`,
    );
    out.result(result);
    return 0;
  },
};

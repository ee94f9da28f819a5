/** Predicts latency and throughput of a model on 1 to 64 cores from the times of its steps on one core of this machine. */

import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { gatherInputs, parseShapes } from '../../lib/cli/feeds.ts';
import { OptionError } from '../../lib/errors.ts';
import type { HostValue } from '../../lib/ir/tensor.ts';
import { CompiledModel } from '../../lib/runtime/compiled.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { native } from '../../lib/runtime/native.ts';
import { peaksOf } from '../../lib/runtime/peaks.ts';
import { countList, numberList, oneCount, oneNumber, runMain } from '../report/arguments.ts';
import type { Chart } from '../report/chart.ts';
import { publish, reportHelp, reportOptions } from '../report/report.ts';
import type { Column } from '../report/table.ts';
import { measureBarrier, measureLatency, measureThroughput, measureWork } from './measure.ts';
import { barrierGrowth, type Latency, latencyOf, type Target, throughputOf, type Work } from './simulate.ts';

const help = `usage: npm run bench:scaling -- MODEL [--cores 1,2,4,8,16,32,64] [--bandwidth GB/s] ...

Predicts latency (a run on all cores) and throughput (a run on each core) from steps measured on one core.

  --cores LIST             (1,2,4,8,16,32,64)
  --batch N                size of the first dimension (1)
  --bandwidth GB/s         of the memory of the machine to predict (what all usable cores here reach)
  --cache MIB              last cache of that machine, all of it (this machine's)
  --barrier NS             of two threads (measured; 300 where there is one core)
  --barrier-growth KIND    linear (threads - 1, default) or logarithmic
  --impose-sparsity SHARE  prune the weights first
  --shape TEXT             shapes and symbolic sizes as \`filigree benchmark\` takes them
  --runs N                 runs to take the steps' least times of (20)
  --seconds S              for each measurement beside a prediction, of as many cores as there are (0.5)
${reportHelp}`;

interface Row {
  readonly cores: number;
  readonly latency: Latency;
  readonly speedUp: number;
  readonly itemsPerSecond: number;
  readonly streams: number;
  readonly limit: string;
  readonly measuredMs: number | undefined;
  readonly measuredItems: number | undefined;
}

const share = (part: (latency: Latency) => number) => (row: Row) => (100 * part(row.latency)) / row.latency.ns;

const columns: Column<Row>[] = [
  { title: 'cores', of: (row) => row.cores },
  { title: 'latency ms', digits: 3, of: (row) => row.latency.ns / 1e6 },
  { title: 'measured ms', digits: 3, of: (row) => row.measuredMs },
  { title: 'speed-up', digits: 2, of: (row) => row.speedUp },
  { title: 'serial %', of: share((latency) => latency.serialNs) },
  { title: 'uneven %', of: share((latency) => latency.unevenNs) },
  { title: 'barriers %', of: share((latency) => latency.barrierNs) },
  { title: 'memory %', of: share((latency) => latency.memoryNs) },
  { title: 'items/s', digits: 1, of: (row) => row.itemsPerSecond },
  { title: 'measured items/s', digits: 1, of: (row) => row.measuredItems },
  { title: 'runs at once', of: (row) => row.streams },
  { title: 'limit', of: (row) => row.limit },
];

interface Opened {
  readonly feeds: readonly (HostValue | undefined)[];
  readonly open: (threads: number) => CompiledModel;
}

function openWith(model: string, batch: number, shape: string | undefined, imposeSparsity: number): Opened {
  const open = (threads: number): CompiledModel => CompiledModel.openSync(model, { threads, imposeSparsity });
  const first = open(1);
  const feeds = gatherInputs(first.model, [], parseShapes(shape, batch, first.model));
  first.dispose();
  return { feeds, open };
}

/** What this machine does on as many of the cores as it has. */
async function measured({ open, feeds }: Opened, cores: number, seconds: number) {
  if (cores > thisMachine().cores) return { ms: undefined, runs: undefined };
  const together = open(cores);
  const ms = measureLatency(together, feeds, seconds);
  together.dispose();
  const alone = open(1);
  await measureThroughput(alone, feeds, cores, 0);
  const runs = await measureThroughput(alone, feeds, cores, seconds);
  alone.dispose();
  return { ms, runs };
}

function assumptions(work: Work, target: Target, ofTwo: number, growth: string): string[] {
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return [
    `Assumptions: ${work.steps.length} steps of a plan for one thread keep their times, units and kernels on more cores; ` +
      'all cores are as fast as this one is alone; units of a step cost the same; the engine gives a step threads by its estimated cost. ' +
      `A barrier of two threads takes ${ofTwo.toFixed(0)} ns and grows ${growth === 'linear' ? 'with the number of threads less one' : 'with its logarithm'}. ` +
      `Memory delivers ${target.bandwidth.toFixed(1)} GB/s to all cores together. Weights (${mib(work.packedBytes)}) load it where ` +
      `they exceed a last cache of ${mib(target.cacheBytes)}, the operands of a step where those of all runs at once exceed that ` +
      `cache and those of one exceed the ${mib(target.coreCacheBytes)} of a core. ` +
      `${(work.serialNs / 1e3).toFixed(1)} us of a run lie outside of steps and stay serial. Throughput: a run on each core, on fewer where caches and memory serve those better.`,
  ];
}

function chartOf(name: string, batch: number, rows: readonly Row[]): Chart {
  const groups = rows.map((row) => ({
    label: `${row.cores} cores`,
    values: [row.speedUp, row.itemsPerSecond / rows[0]!.itemsPerSecond],
  }));
  const series = ['latency', `throughput, of ${rows[0]!.cores} cores`];
  return { title: `${name}, batch ${batch}: predicted gain`, unit: 'times', series, groups };
}

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      ...reportOptions,
      cores: { type: 'string', default: '1,2,4,8,16,32,64' },
      batch: { type: 'string', default: '1' },
      bandwidth: { type: 'string' },
      cache: { type: 'string' },
      barrier: { type: 'string' },
      'barrier-growth': { type: 'string', default: 'linear' },
      'impose-sparsity': { type: 'string', default: '0' },
      shape: { type: 'string' },
      runs: { type: 'string', default: '20' },
      seconds: { type: 'string', default: '0.5' },
    },
  });
  const [model] = positionals;
  if (!model || positionals.length > 1) throw new OptionError('name one model');
  const growth = values['barrier-growth'];
  if (growth !== 'linear' && growth !== 'logarithmic') {
    throw new OptionError(`--barrier-growth: expected linear or logarithmic, got "${growth}"`);
  }
  const batch = oneCount('batch', values.batch);
  const machine = thisMachine();
  const memory = peaksOf(machine.cores).reads.find(({ level }) => level === 'memory')!.rate;
  const measuredBarrier = machine.cores > 1 ? measureBarrier(2) : 300;
  const ofTwo = values.barrier ? oneNumber('barrier', values.barrier, 0) : measuredBarrier;
  const target: Target = {
    bandwidth: values.bandwidth ? oneNumber('bandwidth', values.bandwidth, 1e-3) : memory,
    cacheBytes: values.cache ? oneNumber('cache', values.cache, 0) * 2 ** 20 : native().hardware().l3,
    coreCacheBytes: native().hardware().l2,
    barrier: barrierGrowth(growth, ofTwo),
  };
  const [imposed] = numberList('impose-sparsity', values['impose-sparsity'], 0, 1);
  const opened = openWith(model, batch, values.shape, imposed!);
  const alone = opened.open(1);
  for (let i = 0; i < 3; i++) await alone.run(opened.feeds);
  const work = measureWork(alone, opened.feeds, oneCount('runs', values.runs));
  alone.dispose();
  const one = latencyOf(work, 1, target).ns;
  const rows: Row[] = [];
  for (const cores of countList('cores', values.cores)) {
    const latency = latencyOf(work, cores, target);
    const { runs, streams, limit } = throughputOf(work, cores, target);
    const here = await measured(opened, cores, oneNumber('seconds', values.seconds, 0));
    rows.push({
      ...{ cores, latency, speedUp: one / latency.ns, itemsPerSecond: runs * batch, streams, limit },
      ...{ measuredMs: here.ms, measuredItems: here.runs === undefined ? undefined : here.runs * batch },
    });
  }
  const name = basename(model, '.onnx');
  const chart = chartOf(name, batch, rows);
  const title = `Scaling, predicted: ${name}, batch ${batch}`;
  const details = { model: name, batch, imposed, barrier_ns: ofTwo, growth, bandwidth: target.bandwidth, work };
  publish({ title, columns, rows, notes: assumptions(work, target, ofTwo, growth), chart, details }, values);
  return 0;
}

void runMain(help, main);

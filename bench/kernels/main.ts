/** Kernels against the bounds of one core: multiply-adds, loads, bandwidth. */

import { parseArgs } from 'node:util';
import { OptionError } from '../../lib/errors.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { peaksOf } from '../../lib/runtime/peaks.ts';
import { numberList, oneCount, oneNumber, runMain } from '../report/arguments.ts';
import { publish, reportHelp, reportOptions } from '../report/report.ts';
import { geometricMean } from '../report/statistics.ts';
import type { Column } from '../report/table.ts';
import { type KernelResult, measureCase } from './case.ts';
import { convolutionCases } from './convolution.ts';
import { movingCases } from './moving.ts';
import { rowCases } from './rows.ts';

const help = `usage: npm run bench:kernels -- [--family sparse,dense] [--kernel TEXT] [--only TEXT] ...

Times kernels on one core on the layers of common networks, beside what the core can reach: multiply-adds, loads from
the nearest cache, bytes from where the operands lie.

  --isa NAME              portable, avx2, avx512, avx512vnni, avx512bf16 or amx (the best of this machine)
  --family LIST           dense, lanes (idle lanes skipped), tiles (AMX), sparse (generated code), packed (its substitute), moving, rows (all)
  --kernel TEXT           only kernels whose name contains this, such as .u8
  --only TEXT             only cases whose name contains this
  --density SHARE         nonzero share of sparse weights (0.1)
  --repeats N             runs, of which the least time counts (15)
  --tile-block N, --column-blocks N, --prefetch-output 0|1
                          what the planner chooses for convolutions, by hand
${reportHelp}`;

const percent = (share: (row: KernelResult) => number | undefined) => (row: KernelResult) => {
  const value = share(row);
  return value === undefined ? undefined : 100 * value;
};

const columns: Column<KernelResult>[] = [
  { title: 'kernel', of: (row) => row.kernel },
  { title: 'case', of: (row) => row.name },
  { title: 'us', digits: 1, of: (row) => row.ns / 1000 },
  { title: 'GMAC/s', digits: 1, of: (row) => (row.macsPerNs > 0 ? row.macsPerNs : undefined) },
  { title: 'GB/s', digits: 1, of: (row) => row.bytesPerNs },
  { title: 'FMA %', of: percent((row) => (row.macsPerNs > 0 ? row.fma : undefined)) },
  { title: 'loads %', of: percent((row) => row.load) },
  { title: 'bandwidth %', of: percent((row) => row.bandwidth) },
  { title: 'of the bound %', of: percent((row) => row.share) },
  { title: 'bound', of: (row) => row.bound },
];

/** One line for each kernel: the geometric mean of the shares of its bound. */
function kernelMeans(rows: readonly KernelResult[]): { kernel: string; mean: number }[] {
  return [...new Set(rows.map((row) => row.kernel))].map((kernel) => {
    const shares = rows.filter((row) => row.kernel === kernel).map((row) => row.share);
    return { kernel, mean: geometricMean(shares) };
  });
}

async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      ...reportOptions,
      isa: { type: 'string' },
      family: { type: 'string' },
      kernel: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      density: { type: 'string', default: '0.1' },
      repeats: { type: 'string', default: '15' },
      'tile-block': { type: 'string', default: '0' },
      'column-blocks': { type: 'string', default: '0' },
      'prefetch-output': { type: 'string' },
    },
  });
  // Before the addon reads it.
  if (values.isa) process.env.FILIGREE_ISA = values.isa;
  const { isa, kernels } = thisMachine();
  const families = values.family?.split(',');
  const tuning = {
    tileBlock: oneNumber('tile-block', values['tile-block'], 0),
    columnBlocks: oneNumber('column-blocks', values['column-blocks'], 0),
    prefetchOutput: values['prefetch-output'] ? oneNumber('prefetch-output', values['prefetch-output'], 0) : undefined,
  };
  const [density] = numberList('density', values.density, 0, 1);
  const all = [...convolutionCases(density!, tuning), ...movingCases(), ...rowCases()];
  const cases = all.filter(
    (each) =>
      kernels.has(each.kernel) &&
      (!families || families.includes(each.family)) &&
      each.kernel.includes(values.kernel) &&
      each.name.includes(values.only),
  );
  if (cases.length === 0) throw new OptionError('no case fits --family, --kernel and --only');
  const peaks = peaksOf(1);
  const repeats = oneCount('repeats', values.repeats);
  const rows = cases.map((each) => measureCase(each, isa, peaks, repeats));
  const reads = peaks.reads.map(({ level, rate }) => `${level} ${rate.toFixed(0)}`).join(', ');
  const means = kernelMeans(rows);
  const notes = [
    `One core, ${isa}, least of ${repeats} runs. Bounds: ${peaks.fma.toFixed(1)} multiply-adds of float32 a nanosecond (bytes: times ` +
      `${peaks.byteFactor}), measured again around each case; reading ${reads} GB/s. Sparse weights: ${density! * 100} % nonzero (bytes: blocks of four). ` +
      'Multiply-adds count nonzero weights only where the kernel skips zeros; loads are the instructions that its register blocks need, ' +
      'operands count once as bytes. A share above 100 % means that the clock rose after the bound was measured, or that another process took the core then.',
    `Geometric means of the shares of the bound: ${means.map(({ kernel, mean }) => `${kernel} ${(mean * 100).toFixed(0)} %`).join(', ')}.`,
  ];
  const groups = means.map(({ kernel, mean }) => ({ label: kernel, values: [mean * 100] }));
  const chart = { title: `Share of the bound, ${isa}, one core`, unit: '%', series: ['share'], groups };
  publish({ title: 'Kernels', columns, rows, notes, chart, details: { isa, density, repeats, tuning, peaks } }, values);
  return 0;
}

void runMain(help, main);

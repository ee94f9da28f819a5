/** Times a model with zeros imposed on its weights, over sparsities and batches, and flags what is not monotonic. */

import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { OptionError } from '../../lib/errors.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { numberList, oneNumber, runMain, runOptions, runSettings } from '../report/arguments.ts';
import type { Chart } from '../report/chart.ts';
import { benchmark, type ChildResult } from '../report/child.ts';
import { progress, publish, reportHelp, reportOptions } from '../report/report.ts';
import { disturbedNote, type Summary, summarize } from '../report/summary.ts';
import type { Column } from '../report/table.ts';
import { flagsOf } from './flags.ts';

const help = `usage: npm run bench:sweep -- MODEL [--sparsity 0,0.5,0.8,0.9,0.95] [--batch 1,2,4,8,16] ...

Imposes zeros on the weights of a model and times it. Flags entries that are slower with more zeros, and batches whose
items are slower than one alone. Times are the least of all rounds, over the batch.

  --sparsity LIST        shares of zeros (0,0.5,0.8,0.9,0.95)
  --batch LIST           sizes of the first dimension (1,2,4,8,16)
  --threads T            threads of a run (the usable cores)
  --seconds S            how long to measure a round (1)
  --rounds R             rounds over all entries, each entry a process (3)
  --tolerance P          percent that more zeros may be slower (5)
  --batch-tolerance P    percent that an item of a batch may be slower (0)
  --shape TEXT           shapes and symbolic sizes as \`filigree benchmark\` takes them
  --timeout S            most seconds of a process (300)
${reportHelp}`;

interface Row extends Summary {
  readonly sparsity: number;
  readonly batch: number;
  readonly itemMs: number;
  readonly flags: readonly string[];
}

const columns: Column<Row>[] = [
  { title: 'zeros %', digits: 1, of: (row) => row.sparsity * 100 },
  { title: 'batch', of: (row) => row.batch },
  { title: 'ms/item', digits: 3, of: (row) => row.itemMs },
  { title: 'median ms', digits: 3, of: (row) => row.medianMs },
  { title: 'min ms', digits: 3, of: (row) => row.minMs },
  { title: 'peak MB', of: (row) => row.peakMb },
  { title: 'flag', of: (row) => row.error ?? row.flags.join('; ') },
];

/** The bars of a sweep: a group a batch, a bar a sparsity. */
function chartOf(name: string, rows: readonly Row[]): Chart {
  const sparsities = [...new Set(rows.map((row) => row.sparsity))];
  const batches = [...new Set(rows.map((row) => row.batch))];
  const groups = batches.map((batch) => ({
    label: `batch ${batch}`,
    values: rows.filter((row) => row.batch === batch).map((row) => row.itemMs),
  }));
  const series = sparsities.map((sparsity) => `${sparsity * 100} % zeros`);
  return { title: `${name}: milliseconds an item`, unit: 'ms', series, groups };
}

function settingsOf(argv: string[]) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      ...reportOptions,
      ...runOptions('1,2,4,8,16', 1, 3),
      sparsity: { type: 'string', default: '0,0.5,0.8,0.9,0.95' },
      tolerance: { type: 'string', default: '5' },
      'batch-tolerance': { type: 'string', default: '0' },
    },
  });
  const [model] = positionals;
  if (!model || positionals.length > 1) throw new OptionError('name one model');
  const settings = runSettings(values, thisMachine().cores);
  const tolerances = {
    zeros: oneNumber('tolerance', values.tolerance, 0) / 100,
    batch: oneNumber('batch-tolerance', values['batch-tolerance'], 0) / 100,
  };
  const sparsities = [...new Set(numberList('sparsity', values.sparsity, 0, 1))].sort((a, b) => a - b);
  const batches = [...new Set(settings.batches)].sort((a, b) => a - b);
  return { ...settings, values, model, tolerances, sparsities, batches };
}

async function main(argv: string[]): Promise<number> {
  const { values, model, threads, seconds, timeout, rounds, tolerances, sparsities, batches } = settingsOf(argv);
  const cases = batches.flatMap((batch) => sparsities.map((sparsity) => ({ sparsity, batch })));
  const results = cases.map((): ChildResult[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { sparsity, batch }] of cases.entries()) {
      const args = [model, '--batch', String(batch), '--threads', String(threads), '--seconds', String(seconds)];
      progress(
        `round ${round + 1} of ${rounds}, ${i + 1} of ${cases.length}: ${sparsity * 100} % zeros, batch ${batch}`,
      );
      if (sparsity > 0) args.push('--impose-sparsity', String(sparsity));
      if (values.shape) args.push('--shape', values.shape);
      results[i]!.push(await benchmark(args, timeout));
    }
  }
  const summaries = results.map(summarize);
  const points = cases.map((each, i) => ({ ...each, ...summaries[i]!, itemMs: summaries[i]!.minMs / each.batch }));
  const flags = flagsOf(points, tolerances);
  const rows = points.map((point, i): Row => ({ ...point, flags: flags[i]! }));
  const flagged = rows.filter((row) => row.flags.length > 0).length;
  const notes = [
    `${threads} threads, ${rounds} round(s) of ${seconds} s; the outputs of a model with imposed zeros are not its own.`,
    `${flagged} of ${rows.length} entries flagged: more than ${tolerances.zeros * 100} % slower than the fastest with fewer zeros, or an item more than ${tolerances.batch * 100} % slower than at batch 1.`,
    ...(values.shape ? [`Shapes: ${values.shape}.`] : []),
    ...disturbedNote(rows),
  ];
  const name = basename(model, '.onnx');
  publish(
    {
      title: `Sparsity and batch: ${name}`,
      columns,
      rows,
      notes,
      chart: chartOf(name, rows),
      details: { model: name, threads, seconds, rounds, tolerances },
    },
    values,
  );
  return rows.some((row) => row.error !== undefined) ? 1 : 0;
}

void runMain(help, main);

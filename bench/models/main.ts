/** Times model files, each in a process of its own. */

import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { modelFiles, runMain, runOptions, runSettings } from '../report/arguments.ts';
import { benchmark, type ChildResult } from '../report/child.ts';
import { progress, publish, reportHelp, reportOptions } from '../report/report.ts';
import { disturbedNote, type Summary, summarize } from '../report/summary.ts';
import type { Column } from '../report/table.ts';

const help = `usage: npm run bench:models -- [MODEL or FOLDER ...] [--batch 1,16] [--threads T] ...

Times models, by default those of the folder FILIGREE_MODELS: milliseconds of a run (a whole batch), memory, loading.

  --batch LIST      sizes of the first dimension (1); a model that fixes it is timed as it is
  --threads T       threads of a run (the usable cores)
  --seconds S       how long to measure a round (2)
  --rounds R        rounds, each a process (1)
  --shape TEXT      shapes and symbolic sizes as \`filigree benchmark\` takes them
  --inputs DIR      inputs of models that seeded ones do not suit: DIR/NAME/ or DIR/NAME/test_data_set_0/ with input_N.pb
  --timeout S       most seconds of a process (300)
${reportHelp}`;

interface Row extends Summary {
  readonly model: string;
  readonly batch: number;
  readonly itemsPerSecond: number;
}

const columns: Column<Row>[] = [
  { title: 'model', of: (row) => row.model },
  { title: 'batch', of: (row) => row.batch },
  { title: 'median ms', digits: 3, of: (row) => row.medianMs },
  { title: 'min ms', digits: 3, of: (row) => row.minMs },
  { title: 'items/s', digits: 1, of: (row) => row.itemsPerSecond },
  { title: 'peak MB', of: (row) => row.peakMb },
  { title: 'load ms', of: (row) => (row.loadSeconds - row.planSeconds) * 1000 },
  { title: 'plan ms', of: (row) => row.planSeconds * 1000 },
  { title: 'failure', of: (row) => row.error ?? '' },
];

/** The folder with a model's inputs, where there is one. */
function inputsOf(folder: string | undefined, file: string): string | undefined {
  if (!folder) return undefined;
  const own = join(folder, basename(file, '.onnx'));
  return [join(own, 'test_data_set_0'), own].find((each) => existsSync(join(each, 'input_0.pb')));
}

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      ...reportOptions,
      ...runOptions('1', 2, 1),
      inputs: { type: 'string' },
    },
  });
  const { threads, seconds, timeout, rounds, batches } = runSettings(values, thisMachine().cores);
  const cases = modelFiles(positionals).flatMap((file) => batches.map((batch) => ({ file, batch })));
  const results = cases.map((): ChildResult[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { file, batch }] of cases.entries()) {
      const args = [file, '--batch', String(batch), '--threads', String(threads), '--seconds', String(seconds)];
      progress(`round ${round + 1} of ${rounds}, ${i + 1} of ${cases.length}: ${basename(file)}, batch ${batch}`);
      if (values.shape) args.push('--shape', values.shape);
      const inputs = inputsOf(values.inputs, file);
      if (inputs) args.push('--input', inputs);
      results[i]!.push(await benchmark(args, timeout));
    }
  }
  const rows = cases.map(({ file, batch }, i): Row => {
    const summary = summarize(results[i]!);
    return { model: basename(file, '.onnx'), batch, ...summary, itemsPerSecond: (batch * 1000) / summary.medianMs };
  });
  const notes = [
    `${threads} threads, ${rounds} round(s) of ${seconds} s after warming up, each in a process of its own; ` +
      'items/s is the batch over the median, peak MB the largest resident set of the process, load ms reading and rewriting, plan ms planning and packing.',
    ...(values.shape ? [`Shapes: ${values.shape}.`] : []),
    ...disturbedNote(rows),
  ];
  const groups = rows.map((row) => ({ label: `${row.model}, batch ${row.batch}`, values: [row.medianMs / row.batch] }));
  const chart = { title: 'Milliseconds an item', unit: 'ms', series: ['filigree'], groups };
  publish({ title: 'Models', columns, rows, notes, chart, details: { threads, seconds, rounds } }, values);
  return rows.some((row) => row.error !== undefined) ? 1 : 0;
}

void runMain(help, main);

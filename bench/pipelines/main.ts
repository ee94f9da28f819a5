/** Times pipelines of Transformers.js with onnxruntime-node and with this package in its place, in turns. */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { OptionError } from '../../lib/errors.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { turnOf } from '../peers/rows.ts';
import { runMain, runOptions, runSettings } from '../report/arguments.ts';
import { type ChildResult, measureIn, numberOf } from '../report/child.ts';
import { progress, publish, type Report, reportHelp, reportOptions, save } from '../report/report.ts';
import { geometricMean, least, median, relativeDifference } from '../report/statistics.ts';
import { disturbedNote, type Summary, summarize } from '../report/summary.ts';
import type { Column } from '../report/table.ts';
import { dtypes, findPipelines, type Pipeline } from './tasks.ts';

const help = `usage: npm run bench:pipelines -- MODEL or FOLDER ... [--from FOLDER] [--dtypes fp32,q8] [--threads T] ...

Times pipelines of Transformers.js on stored models (a folder each, with config.json and onnx/) with onnxruntime-node and
with filigree/register, and compares what they answer. scripts/make-pipelines.py makes models of random weights.

  --from FOLDER     where @huggingface/transformers is installed (.)
  --dtypes LIST     types of weights (${dtypes.join(',')}); those that a model has no file of are left out
  --batch LIST      inputs of one call (1)
  --threads T       threads of each engine (the usable cores)
  --seconds S       how long to measure a round (1)
  --rounds R        rounds; the engines take turns within each (3)
  --timeout S       most seconds of a process (300)
${reportHelp}`;

interface Row {
  readonly model: string;
  readonly dtype: string;
  readonly batch: number;
  readonly rival: Summary;
  readonly own: Summary;
  readonly minRatio: number;
  readonly pairRatio: number;
  /** Seconds until the first answer. */
  readonly first: readonly [number, number];
  readonly difference: string;
  readonly foreign: number | undefined;
}

const least2 = ({ minMs, medianMs, error }: Summary): string =>
  error ? error.slice(0, 60) : `${minMs.toPrecision(3)} / ${medianMs.toPrecision(3)}`;

const columns: Column<Row>[] = [
  { title: 'pipeline', of: (row) => row.model },
  { title: 'weights', of: (row) => row.dtype },
  { title: 'batch', of: (row) => row.batch },
  { title: 'onnxruntime-node, least / median ms', of: (row) => least2(row.rival) },
  { title: 'filigree', of: (row) => least2(row.own) },
  { title: 'of it, least', digits: 2, of: (row) => row.minRatio },
  { title: 'by round', digits: 2, of: (row) => row.pairRatio },
  { title: 'first answer s', of: (row) => row.first.map((value) => value.toFixed(2)).join(', ') },
  { title: 'peak MB', of: ({ rival, own }) => [rival, own].map(({ peakMb }) => Math.round(peakMb)).join(', ') },
  { title: 'difference', of: (row) => row.difference },
];

/** How far an answer is from another: of the numbers, over the largest, and how many of the words are not the same. */
function differenceOf(mine: ChildResult, other: ChildResult): string {
  const [a, b] = [mine.line, other.line];
  if (a.error !== undefined || b.error !== undefined) return '';
  const words = [a.words, b.words] as string[][];
  const unlike = words[1]!.filter((word, i) => words[0]![i] !== word).length;
  const gap = relativeDifference(a.numbers as number[], b.numbers as number[]);
  const numbers = (b.numbers as number[]).length ? [gap.toExponential(1)] : [];
  return [...numbers, ...(words[1]!.length ? [`${unlike} of ${words[1]!.length} words`] : [])].join(', ');
}

function rowOf(facts: Pick<Row, 'model' | 'dtype' | 'batch'>, [rival, own]: readonly ChildResult[][]): Row {
  const ratios = rival!.flatMap((other, i) => {
    const ratio = numberOf(own![i]!.line, 'median_ms') / numberOf(other.line, 'median_ms');
    return Number.isFinite(ratio) ? [ratio] : [];
  });
  const [other, mine] = [summarize(rival!), summarize(own!)];
  const first = (results: readonly ChildResult[]): number =>
    least(results.map(({ line }) => numberOf(line, 'first_s')));
  const shares = [other.foreign, mine.foreign].filter((share) => share !== undefined);
  return {
    ...{ ...facts, rival: other, own: mine, minRatio: mine.minMs / other.minMs, pairRatio: median(ratios) },
    first: [first(rival!), first(own!)],
    difference: differenceOf(own![0]!, rival![0]!),
    foreign: shares.length ? Math.max(...shares) : undefined,
  };
}

function reportOf(
  rows: readonly Row[],
  threads: number,
  seconds: number,
  rounds: number,
  version: string,
): Report<Row> {
  const ratios = rows.map((row) => row.minRatio).filter(Number.isFinite);
  const notes = [
    `Transformers.js ${version}; ${threads} threads, ${rounds} rounds of ${seconds} s, a process for each engine and round, in turns. ` +
      'A call goes from text or pixels to the answer; generation makes 24 tokens. Ratios below 1: filigree is faster. ' +
      'first answer: from loading to the first answer. difference: over the largest magnitude, and how many words of a text are not the same.',
    `Geometric mean of the ratios (least): ${geometricMean(ratios).toFixed(3)} over ${ratios.length} rows.`,
    ...disturbedNote(rows),
  ];
  const groups = rows.map(({ model, dtype, rival, own }) => ({
    label: `${model} ${dtype}`,
    values: [rival.minMs, own.minMs],
  }));
  const chart = {
    ...{ title: 'Least milliseconds a call', unit: 'ms', series: ['onnxruntime-node', 'filigree'], groups },
  };
  return { title: 'Pipelines', columns, rows, notes, chart, details: { threads, seconds, rounds, version } };
}

/** The version of the package there; undefined where it is not. */
function installedIn(folder: string): string | undefined {
  const name = '@huggingface/transformers/package.json';
  const places = createRequire(join(resolve(folder), 'package.json')).resolve.paths(name) ?? [];
  const file = places.map((place) => join(place, name)).find((path) => existsSync(path));
  return file && (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

async function main(argv: string[]): Promise<number> {
  const { shape: _, ...timing } = runOptions('1', 1, 3);
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      ...reportOptions,
      ...timing,
      from: { type: 'string', default: '.' },
      dtypes: { type: 'string', default: dtypes.join() },
    },
  });
  const { threads, seconds, timeout, rounds, batches } = runSettings(values, thisMachine().cores);
  const wanted = values.dtypes.split(',');
  const unknown = wanted.find((dtype) => !dtypes.includes(dtype));
  if (unknown !== undefined) throw new OptionError(`--dtypes: expected some of ${dtypes.join()}, got "${unknown}"`);
  if (positionals.length === 0) throw new OptionError('name models, or a folder of them');
  const version = installedIn(values.from);
  if (!version) {
    console.log(`skipped: @huggingface/transformers is not installed in "${resolve(values.from)}" (--from FOLDER)`);
    return 0;
  }
  const measure = ({ folder, task }: Pipeline, dtype: string, batch: number, own: boolean): Promise<ChildResult> => {
    const counts = ['--batch', String(batch), '--threads', String(threads), '--seconds', String(seconds)];
    const args = [
      folder,
      '--task',
      task,
      '--dtype',
      dtype,
      '--from',
      values.from,
      ...counts,
      ...(own ? ['--own'] : []),
    ];
    return measureIn(process.execPath, [join(__dirname, 'pipeline.js'), ...args], timeout);
  };
  const rows: Row[] = [];
  for (const each of findPipelines(positionals, wanted)) {
    for (const [dtype, batch] of each.dtypes.flatMap((type) => batches.map((count) => [type, count] as const))) {
      progress(`${basename(each.folder)} ${dtype}, batch ${batch}`);
      const results: ChildResult[][] = [[], []];
      for (let round = 0; round < rounds; round++) {
        for (let k = 0; k < 2; k++) {
          const turn = turnOf(round, k, 2);
          results[turn]!.push(await measure(each, dtype, batch, turn === 1));
        }
      }
      rows.push(rowOf({ model: basename(each.folder), dtype, batch }, results));
      save(reportOf(rows, threads, seconds, rounds, version), values);
    }
  }
  publish(reportOf(rows, threads, seconds, rounds, version), values);
  return rows.some(({ own }) => own.error !== undefined) ? 1 : 0;
}

void runMain(help, main);

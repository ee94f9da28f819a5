/** Times models beside other engines: the same inputs, processes of their own, rounds in turn; compares the outputs. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { OptionError } from '../../lib/errors.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { modelFiles, runMain, runOptions, runSettings } from '../report/arguments.ts';
import { type ChildResult, measureIn } from '../report/child.ts';
import { progress, publish, type Report, reportHelp, reportOptions, save } from '../report/report.ts';
import { geometricMean } from '../report/statistics.ts';
import { disturbedNote } from '../report/summary.ts';
import type { Column } from '../report/table.ts';
import { type Case, type Engine, findEngines, type Settings } from './engines.ts';
import { type PeerRow, rowsOf, turnOf } from './rows.ts';

const help = `usage: npm run bench:peers -- MODEL[,ENGINE=OTHER.onnx...] ... [--batch 1,16] [--threads T] ...

Times models beside onnxruntime-node, where it can be imported, and the engines of a Python kit: FILIGREE_PEERS is the
kit's folder (with run-peer.py), FILIGREE_PEERS_CACHE the folder of its environments. ENGINE=OTHER.onnx gives an engine
of the kit another file. All engines get the same inputs, and their outputs are compared.

  --batch LIST      sizes of the first dimension (1)
  --threads T       threads of each engine (the usable cores)
  --seconds S       how long to measure a round (2)
  --rounds R        rounds; the engines take turns within each (3)
  --engines LIST    only these peers
  --shape TEXT      shapes and symbolic sizes as \`filigree benchmark\` takes them
  --timeout S       most seconds of a process (300)
${reportHelp}`;

const columns: Column<PeerRow>[] = [
  { title: 'model', of: (row) => row.model },
  { title: 'batch', of: (row) => row.batch },
  { title: 'engine', of: (row) => row.engine },
  { title: 'version', of: (row) => row.version },
  { title: 'median ms', digits: 3, of: (row) => row.medianMs },
  { title: 'min ms', digits: 3, of: (row) => row.minMs },
  { title: 'filigree / this, min', digits: 2, of: (row) => row.minRatio },
  { title: 'by round', digits: 2, of: (row) => row.pairRatio },
  { title: 'peak MB', of: (row) => row.peakMb },
  { title: 'load s', digits: 2, of: (row) => row.loadSeconds },
  { title: 'difference', of: ({ difference: d }) => (typeof d === 'number' ? d.toExponential(1) : d) },
  { title: 'failure', of: (row) => row.error ?? '' },
];

interface Prepared {
  readonly feeds: string;
  readonly inputs: readonly string[];
  readonly differences: readonly (number | string | undefined)[];
}

function runOwn(args: readonly string[], timeout: number): Promise<ChildResult> {
  return measureIn(process.execPath, [join(__dirname, 'own.js'), ...args], timeout);
}

/** Makes the inputs of a case, has every engine run once on them, and compares the outputs. */
async function prepare(each: Case, engines: readonly Engine[], settings: Settings, folder: string): Promise<Prepared> {
  const fileOf = (engine: Engine): string => join(folder, `${engine.name}.json`);
  const outcomes = new Map<Engine, string | undefined>();
  const check = async (engine: Engine, feeds: string): Promise<void> => {
    const { line } = await engine.check!(each, settings, fileOf(engine), feeds);
    outcomes.set(engine, line.error);
  };
  for (const engine of engines.filter(({ makesInputs }) => makesInputs)) await check(engine, '');
  const maker = engines.find((engine) => engine.makesInputs && outcomes.get(engine) === undefined);
  const feeds = maker ? fileOf(maker) : join(folder, 'inputs.json');
  const timeout = settings.timeout;
  if (!maker) {
    const shape = settings.shape ? ['--shape', settings.shape] : [];
    const { line } = await runOwn([each.model, '--batch', String(each.batch), ...shape, '--write', feeds], timeout);
    if (line.error) throw new Error(`${each.model}: ${line.error}`);
  }
  for (const engine of engines.filter((one) => one.check && !one.makesInputs)) await check(engine, feeds);
  const compared = engines.filter((engine) => outcomes.has(engine) && outcomes.get(engine) === undefined);
  const threads = ['--threads', String(settings.threads)];
  const against = compared.flatMap((engine) => ['--against', fileOf(engine)]);
  const { line } = await runOwn([each.model, ...threads, '--feeds', feeds, '--npy', folder, ...against], timeout);
  const found = (line.differences ?? []) as (number | string)[];
  const differences = engines.map((engine) => {
    if (!outcomes.has(engine)) return undefined;
    return line.error ?? outcomes.get(engine) ?? found[compared.indexOf(engine)];
  });
  return { feeds, inputs: (line.inputs ?? []) as string[], differences };
}

async function compare(each: Case, engines: readonly Engine[], settings: Settings, rounds: number) {
  const folder = mkdtempSync(join(tmpdir(), 'filigree-peers-'));
  try {
    const { feeds, inputs, differences } = await prepare(each, engines, settings, folder);
    const results = engines.map((): ChildResult[] => []);
    for (let round = 0; round < rounds; round++) {
      for (let k = 0; k < engines.length; k++) {
        const turn = turnOf(round, k, engines.length);
        results[turn]!.push(await engines[turn]!.time(each, settings, feeds, inputs));
      }
    }
    const names = engines.map(({ name }) => name);
    return rowsOf({ model: basename(each.model, '.onnx'), batch: each.batch }, names, results, differences);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Cases of arguments `MODEL[,ENGINE=OTHER]` and batches. */
function casesOf(args: readonly string[], batches: readonly number[]): Case[] {
  return args.flatMap((text) => {
    const [first, ...others] = text.split(',');
    const variants = new Map(
      others.map((other): [string, string] => {
        const at = other.indexOf('=');
        if (at < 1) throw new OptionError(`expected MODEL,ENGINE=OTHER.onnx, got "${text}"`);
        return [other.slice(0, at), other.slice(at + 1)];
      }),
    );
    return modelFiles([first!]).flatMap((model) => batches.map((batch) => ({ model, variants, batch })));
  });
}

/** The geometric mean of the ratios with each peer. */
function means(rows: readonly PeerRow[], engines: readonly Engine[]): string[] {
  return engines.slice(1).flatMap(({ name }) => {
    const ratios = rows.flatMap((row) => (row.engine === name && row.minRatio ? [row.minRatio] : []));
    if (ratios.length === 0) return [];
    return [
      `Geometric mean of filigree / ${name} (min): ${geometricMean(ratios).toFixed(3)} over ${ratios.length} cases.`,
    ];
  });
}

function reportOf(
  rows: readonly PeerRow[],
  engines: readonly Engine[],
  settings: Settings,
  rounds: number,
): Report<PeerRow> {
  const alone = 'No peer found: onnxruntime-node cannot be imported and FILIGREE_PEERS is not set.';
  const notes = [
    `${settings.threads} threads, ${rounds} rounds of ${settings.seconds} s, a process for each engine and round, the engines in turn. ` +
      'Ratios below 1: filigree is faster. "by round" is the median over the rounds of the ratio of medians. ' +
      "difference: largest difference of the outputs over the peer's largest magnitude.",
    ...(settings.shape ? [`Shapes: ${settings.shape}.`] : []),
    ...means(rows, engines),
    ...(engines.length === 1 ? [alone] : []),
    ...disturbedNote(rows),
  ];
  const cases = rows.filter((_, i) => i % engines.length === 0);
  const groups = cases.map(({ model, batch }, i) => ({
    label: `${model}, batch ${batch}`,
    values: rows.slice(i * engines.length, (i + 1) * engines.length).map((row) => row.minMs / batch),
  }));
  const series = engines.map(({ name }) => name);
  const chart = { title: 'Least milliseconds an item', unit: 'ms', series, groups };
  return { title: 'Peers', columns, rows, notes, chart, details: { ...settings, rounds } };
}

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      ...reportOptions,
      ...runOptions('1', 2, 3),
      engines: { type: 'string' },
    },
  });
  const { rounds, batches, ...settings } = runSettings(values, thisMachine().cores);
  const cases = casesOf(positionals, batches);
  if (cases.length === 0) throw new OptionError('name the models to compare');
  const engines = findEngines(values.engines?.split(',') ?? []);
  const rows: PeerRow[] = [];
  for (const [i, each] of cases.entries()) {
    progress(`${i + 1} of ${cases.length}: ${basename(each.model)}, batch ${each.batch}`);
    rows.push(...(await compare(each, engines, settings, rounds)));
    save(reportOf(rows, engines, settings, rounds), values);
  }
  publish(reportOf(rows, engines, settings, rounds), values);
  return rows.some((row) => row.error !== undefined) ? 1 : 0;
}

void runMain(help, main);

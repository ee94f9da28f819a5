/** `filigree profile`: where the time of a run goes, against what the machine could do. */

import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { OptionError } from '../errors.ts';
import { shapeText } from '../ir/shape.ts';
import { packageVersion } from '../package.ts';
import { thisMachine } from '../runtime/machine.ts';
import { native } from '../runtime/native.ts';
import { byOperator, type LayerProfile, type OperatorProfile, type Profile, profileRuns } from '../runtime/profile.ts';
import { type Command, type Output, table } from './command.ts';
import { modelOptions, openModel, warnImposed } from './model-options.ts';
import { profilePage } from './profile-page.ts';

/** What `--json` prints and the HTML report shows. */
export interface ProfileReport extends Omit<Profile, 'spans'> {
  readonly engine: 'filigree';
  readonly version: string;
  readonly model: string;
  readonly batch: number;
  readonly isa: string;
  readonly precision: string;
  readonly cpu: string;
  readonly imposedSparsity: number;
  readonly arenaBytes: number;
  readonly packedBytes: number;
  readonly operators: readonly OperatorProfile[];
}

const percent = (x: number): string => `${(x * 100).toFixed(1)}%`;
const milliseconds = (ms: number): string => ms.toFixed(3);

/** Share of the bound that was reached. */
const reached = (boundMs: number | undefined, ms: number): string =>
  boundMs === undefined || ms === 0 ? '-' : `${((100 * boundMs) / ms).toFixed(0)}%`;

const gigaflops = (gflops: number | undefined): string => (gflops ? gflops.toFixed(1) : '-');

function layerRow(layer: LayerProfile): string[] {
  return [
    layer.name || '(unnamed)',
    layer.op,
    layer.kernel,
    layer.dims ? shapeText(layer.dims) : '?',
    milliseconds(layer.ms),
    percent(layer.share),
    gigaflops(layer.gflops),
    layer.gbytes.toFixed(1),
    reached(layer.boundMs, layer.ms),
    layer.zeros === undefined ? '-' : percent(layer.zeros),
  ];
}

function operatorRow(each: OperatorProfile): string[] {
  const numbers = [String(each.count), milliseconds(each.ms), percent(each.share), gigaflops(each.gflops)];
  return [each.op, ...numbers, each.gbytes.toFixed(1), reached(each.boundMs, each.ms), each.kernels.join(', ')];
}

function print(report: ProfileReport, out: Output): void {
  const { runs, threads, panels, peaks } = report;
  out.line(`${report.model}, batch ${report.batch}, ${threads} threads, ${report.isa}, ${report.precision}`);
  out.line(
    `${runs} runs with a clock at every step: median ${milliseconds(report.wallMs)} ms, least ${milliseconds(report.leastMs)} ms`,
  );
  if (panels > 1)
    out.line(`the batch runs in parts, ${panels} at once on a thread each: times are shares of the whole`);
  const reads = peaks.reads.map(({ level, rate }) => `${level} ${rate.toFixed(0)}`).join(', ');
  out.line(`bounds: ${(2 * peaks.fma).toFixed(0)} GFLOP/s of float32, reading in GB/s ${reads}`);
  out.line();
  const head = ['layer', 'operator', 'kernel', 'output', 'ms', 'share', 'GFLOP/s', 'GB/s', 'of bound', 'zeros'];
  out.line(table([head, ...report.layers.map(layerRow)]));
  out.line();
  const heading = ['operator', 'layers', 'ms', 'share', 'GFLOP/s', 'GB/s', 'of bound', 'kernels'];
  out.line(table([heading, ...report.operators.map(operatorRow)]));
  out.line();
  out.line(
    'GFLOP/s counts nonzero weights; "of bound" is the least time that arithmetic or reading take, by time spent',
  );
}

/** A time line that chrome://tracing and Perfetto read. */
export function chromeTrace(profile: Profile): string {
  const events = profile.spans.map(({ name, op, kernel, from, ms, lane }) => {
    const place = { ph: 'X', pid: process.pid, tid: lane, ts: from * 1000, dur: ms * 1000 };
    return { name: name || op, cat: kernel === 'reference' ? 'reference' : 'kernel', ...place, args: { op, kernel } };
  });
  return JSON.stringify({ traceEvents: events, displayTimeUnit: 'ms' });
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new OptionError(`cannot write "${path}": ${(cause as Error).message}`, { path }, { cause });
  }
}

export const profileCommand: Command = {
  name: 'profile',
  summary: 'Shows where the time of a run goes, layer by layer, against what the machine could do.',
  usage: 'MODEL [--batch N] [--shape NAME=DIMS,...] [--html FILE] [--trace FILE] ...',
  positionals: [1, 1],
  options: {
    ...modelOptions,
    runs: { type: 'string', value: 'N', help: 'runs to measure, after 3 to warm up (20)' },
    trace: { type: 'string', value: 'FILE', help: 'write the last run as a Chrome trace' },
    html: { type: 'string', value: 'FILE', help: 'write a report that any browser shows' },
  },
  async run(args, out) {
    const { isa, cores } = thisMachine();
    const { compiled, feeds, batch, imposed, precision } = openModel(args, args.count('threads', cores, 1));
    for (let i = 0; i < 3; i++) await compiled.run(feeds);
    const profile = await profileRuns(compiled, feeds, args.count('runs', 20, 1));
    const { spans: _, ...numbers } = profile;
    const arenas = compiled.stages.flatMap((stage) =>
      stage.sections.map((section) => (section.kind === 'native' ? section.plan.arenaBytes : 0)),
    );
    const report: ProfileReport = {
      ...{ engine: 'filigree', version: packageVersion(), model: basename(args.positionals[0], '.onnx'), batch, isa },
      precision,
      ...{ cpu: native().hardware().brand, imposedSparsity: imposed, arenaBytes: Math.max(0, ...arenas) },
      ...{ packedBytes: compiled.packedBytes, ...numbers, operators: byOperator(profile.layers) },
    };
    compiled.dispose();
    const [trace, html] = [args.text('trace'), args.text('html')];
    if (trace !== undefined) write(trace, chromeTrace(profile));
    if (html !== undefined) write(html, profilePage(report));
    warnImposed(imposed, out);
    print(report, out);
    for (const path of [trace, html]) if (path !== undefined) out.line(`wrote ${path}`);
    out.result(report);
    return 0;
  },
};

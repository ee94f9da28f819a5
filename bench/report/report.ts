/** What the benchmarks write: a table for people, and JSON, Markdown and SVG where asked. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { packageVersion } from '../../lib/package.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { native } from '../../lib/runtime/native.ts';
import { barChart, type Chart } from './chart.ts';
import { type Column, markdownTable, textTable } from './table.ts';

export const reportOptions = {
  json: { type: 'string' },
  markdown: { type: 'string' },
  svg: { type: 'string' },
} as const;

export const reportHelp = `  --json FILE       everything measured
  --markdown FILE   the table
  --svg FILE        a bar chart`;

/** Where a report goes; standard output always gets the table. */
export interface ReportFiles {
  readonly json?: string | undefined;
  readonly markdown?: string | undefined;
  readonly svg?: string | undefined;
}

export interface Report<R> {
  readonly title: string;
  readonly columns: readonly Column<R>[];
  readonly rows: readonly R[];
  /** How it was measured, what it assumes; a paragraph each. */
  readonly notes?: readonly string[];
  readonly chart?: Chart;
  /** What the JSON holds besides machine and rows. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The machine and the software of a measurement. */
export function machineFacts() {
  const { brand, isa, cores, l1d, l2, l3 } = native().hardware();
  const software = { filigree: packageVersion(), node: process.version, isa_in_use: thisMachine().isa };
  return { cpu: brand, cores, isa, l1d, l2, l3, ...software, platform: `${process.platform}-${process.arch}` };
}

export type MachineFacts = ReturnType<typeof machineFacts>;

/** One line that a table needs beside it. */
export function machineLine(facts: MachineFacts): string {
  return `${facts.cpu}, ${facts.cores} usable cores, ${facts.isa_in_use}; filigree ${facts.filigree}, Node ${facts.node}.`;
}

/** The Markdown of a report. */
export function reportMarkdown<R>(report: Report<R>, machine: MachineFacts): string {
  const notes = [machineLine(machine), ...(report.notes ?? [])].map((note) => `${note}\n`);
  return [`## ${report.title}\n`, `${markdownTable(report.columns, report.rows)}\n`, ...notes].join('\n');
}

function writeTo(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Writes the files asked for: what is known so far, too, for runs that take long. */
export function save<R>(report: Report<R>, files: ReportFiles): void {
  const machine = machineFacts();
  const { title, rows, notes = [], chart, details } = report;
  if (files.json) {
    const all = { title, date: new Date().toISOString(), machine, notes, ...details, rows };
    writeTo(files.json, `${JSON.stringify(all, null, 1)}\n`);
  }
  if (files.markdown) writeTo(files.markdown, reportMarkdown(report, machine));
  if (files.svg && chart) writeTo(files.svg, barChart(chart));
}

/** Prints the table and writes the files. */
export function publish<R>(report: Report<R>, files: ReportFiles): void {
  const { title, columns, rows, notes = [] } = report;
  console.log([title, machineLine(machineFacts()), '', textTable(columns, rows), '', ...notes].join('\n'));
  save(report, files);
}

/** Says on standard error what is being measured. */
export function progress(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
}

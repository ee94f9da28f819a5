/** Folders of test cases: a model with data sets of inputs and expected outputs. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ModelFormatError } from '../errors.ts';
import type { Model, Port } from '../ir/model.ts';
import type { HostValue } from '../ir/tensor.ts';
import { decodeValue } from '../onnx/tensor-proto.ts';
import type { Tolerance } from './compare.ts';

/** One case: `folder` holds `model.onnx` and `test_data_set_N`. */
export interface Case {
  /** `kind/name`. */
  readonly id: string;
  readonly folder: string;
  /** Tolerance of output `i`. */
  tolerance(i: number): Tolerance;
}

/** The tolerance of the ONNX project's own tests, for cases that state none. */
const USUAL: Tolerance = { rtol: 1e-3, atol: 1e-7, rule: 'strict' };

type Row = Readonly<Record<string, string>>;

/** Rows of a tab-separated table with a header line. */
export function readTable(path: string): Row[] {
  const [header, ...lines] = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  const names = header.split('\t');
  return lines.map((line) => {
    const cells = line.split('\t');
    return Object.fromEntries(names.map((name, i) => [name, cells[i] ?? '']));
  });
}

function ruleOf(text: string): Tolerance['rule'] {
  if (text === 'property') return 'property';
  return text.startsWith('atol=') ? 'scaled' : 'strict';
}

function toleranceOf(folder: string, row: Row | undefined): (i: number) => Tolerance {
  const meta = join(folder, 'meta.json');
  if (existsSync(meta)) {
    const { rtol, atol } = JSON.parse(readFileSync(meta, 'utf8')) as { rtol: number; atol: number[] };
    return (i) => ({ rtol, atol: atol[i] ?? USUAL.atol, rule: 'strict' });
  }
  if (!row) return () => USUAL;
  const tolerance: Tolerance = { rtol: Number(row.rtol), atol: Number(row.atol), rule: ruleOf(row.rule) };
  return () => tolerance;
}

/** All cases under a folder, in order of their names. `cases.tsv` beside them gives tolerances. */
export function findCases(root: string): Case[] {
  const table = join(root, 'cases.tsv');
  const rows = new Map(existsSync(table) ? readTable(table).map((row) => [`${row.kind}/${row.case}`, row]) : []);
  const cases: Case[] = [];
  const visit = (folder: string, kind: string): void => {
    if (existsSync(join(folder, 'model.onnx'))) {
      const id = `${kind}/${basename(folder)}`;
      cases.push({ id, folder, tolerance: toleranceOf(folder, rows.get(id)) });
      return;
    }
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) visit(join(folder, entry.name), basename(folder));
    }
  };
  visit(root, basename(root));
  return cases.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** One data set of a case: feeds in the order of the model's inputs (undefined where none is given), and results. */
export interface DataSet {
  readonly name: string;
  readonly feeds: (HostValue | undefined)[];
  readonly expected: (HostValue | undefined)[];
}

/** The data sets of a case, in order. */
export function* dataSets(folder: string, model: Model): Iterable<DataSet> {
  const names = readdirSync(folder).filter((name) => /^test_data_set_\d+$/.test(name));
  names.sort((a, b) => Number(a.slice(14)) - Number(b.slice(14)));
  for (const name of names) {
    const feeds = readPorts(join(folder, name), 'input', model.inputs);
    yield { name, feeds, expected: readPorts(join(folder, name), 'output', model.outputs) };
  }
}

/** The `input_i.pb` of a folder by the names they hold, else by number; by the type each port declares. */
export function readPorts(folder: string, prefix: string, ports: readonly Port[]): (HostValue | undefined)[] {
  const values: (HostValue | undefined)[] = ports.map(() => undefined);
  const names = readdirSync(folder).filter((name) => new RegExp(`^${prefix}_\\d+\\.pb$`).test(name));
  for (const file of names) {
    const number = Number(file.slice(prefix.length + 1, -3));
    if (number >= ports.length) {
      throw new ModelFormatError(`"${file}" has no ${prefix} to belong to: the model has ${ports.length}`);
    }
    const bytes = new Uint8Array(readFileSync(join(folder, file)));
    const { name, value } = decodeValue(bytes, ports[number].type, file);
    const named = ports.findIndex((port) => port.name === name);
    if (named < 0 || named === number) values[number] = value;
    else values[named] = decodeValue(bytes, ports[named].type, file).value;
  }
  return values;
}

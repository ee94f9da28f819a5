/** `filigree verify`: compares a model's outputs with stored ones. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { InputError } from '../errors.ts';
import { type HostValue, toParts } from '../ir/tensor.ts';
import { CompiledModel } from '../runtime/compiled.ts';
import { readPorts } from './cases.ts';
import type { Command } from './command.ts';
import { difference, type Tolerance } from './compare.ts';
import { checkedInput } from './feeds.ts';

/** What a `meta.json` says about one output. */
interface OutputRule {
  readonly rtol?: number;
  readonly atol?: number;
  readonly compare?: 'allclose' | 'exact' | 'cosine';
  readonly min_cosine?: number;
  readonly or_min_cosine?: number;
}

/** The parts of `meta.json` that give tolerances: by set and output name, or for all sets by position. */
interface Meta {
  readonly rtol?: number;
  readonly atol?: number | readonly number[];
  readonly sets?: readonly { readonly dir?: string; readonly outputs?: Readonly<Record<string, OutputRule>> }[];
}

interface DataFolder {
  readonly path: string;
  readonly meta: Meta | undefined;
}

function readMeta(folder: string): Meta | undefined {
  const path = join(folder, 'meta.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Meta) : undefined;
}

const setNumber = (name: string): number => Number(name.slice('test_data_set_'.length));

/** The folders with data under `folder`: itself, or its `test_data_set_*`. */
function dataFolders(folder: string): DataFolder[] {
  if (!existsSync(folder)) throw new InputError(`there is no folder "${folder}"`, { path: folder });
  const names = readdirSync(folder);
  const sets = names.filter((name) => /^test_data_set_\d+$/.test(name)).sort((a, b) => setNumber(a) - setNumber(b));
  const meta = readMeta(folder) ?? readMeta(dirname(folder));
  const found = sets.map((name) => ({ path: join(folder, name), meta: readMeta(join(folder, name)) ?? meta }));
  if (names.some((name) => /^(input|output)_\d+\.pb$/.test(name))) found.unshift({ path: folder, meta });
  if (found.length === 0) throw new InputError(`"${folder}" holds no input_*.pb, output_*.pb or test_data_set_*`);
  return found;
}

function ruleFor({ path, meta }: DataFolder, output: string, i: number): OutputRule {
  const set = meta?.sets?.find((each) => each.dir === basename(path));
  const own = set?.outputs?.[output];
  const atol = typeof meta?.atol === 'number' ? meta.atol : meta?.atol?.[i];
  return { ...(meta?.rtol === undefined ? {} : { rtol: meta.rtol }), ...(atol === undefined ? {} : { atol }), ...own };
}

function cosine(got: HostValue, expected: HostValue): number {
  if (got.kind !== 'tensor' || expected.kind !== 'tensor') return 0;
  const [a, b] = [toParts(got), toParts(expected)];
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa === 0 && bb === 0 ? 1 : dot / Math.sqrt(aa * bb);
}

/** Undefined where an output passes its rule. */
function judge(got: HostValue, expected: HostValue, rule: OutputRule, wanted: Partial<Tolerance>): string | undefined {
  const tolerance: Tolerance = {
    rtol: wanted.rtol ?? rule.rtol ?? 1e-3,
    atol: wanted.atol ?? rule.atol ?? 1e-5,
    rule: 'strict',
  };
  const shapes = difference(got, expected, { ...tolerance, rule: 'property' });
  const enough = rule.compare === 'cosine' ? (rule.min_cosine ?? 1) : rule.or_min_cosine;
  const problem = rule.compare === 'cosine' ? shapes : difference(got, expected, tolerance);
  if (enough === undefined || shapes) return problem;
  const reached = cosine(got, expected);
  if (reached >= enough) return undefined;
  return problem ?? `cosine ${reached.toPrecision(6)} is below ${enough}`;
}

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'Compares the outputs of a model with stored ones.',
  usage: 'MODEL DIR... [--rtol R] [--atol A]',
  positionals: [2, Number.POSITIVE_INFINITY],
  options: {
    rtol: { type: 'string', value: 'R', help: 'relative tolerance (that of meta.json, else 1e-3)' },
    atol: { type: 'string', value: 'A', help: 'absolute tolerance (that of meta.json, else 1e-5)' },
    threads: { type: 'string', value: 'T', help: 'most threads (the usable cores)' },
  },
  notes: 'A DIR holds input_*.pb and output_*.pb, or test_data_set_* folders with them, and perhaps a meta.json.',
  async run(args, out) {
    const [path, ...folders] = args.positionals;
    const threads = args.text('threads') === undefined ? {} : { threads: args.count('threads', 1, 1) };
    const compiled = CompiledModel.openSync(path, threads);
    const { model } = compiled;
    const wanted = {
      ...(args.text('rtol') === undefined ? {} : { rtol: args.number('rtol', 0) }),
      ...(args.text('atol') === undefined ? {} : { atol: args.number('atol', 0) }),
    };
    const mismatches: { set: string; output: string; problem: string }[] = [];
    let passed = 0;
    let failed = 0;
    for (const data of folders.flatMap(dataFolders)) {
      out.progress(data.path);
      const feeds = readPorts(data.path, 'input', model.inputs).map((v, i) => v && checkedInput(model.inputs[i], v));
      const expected = readPorts(data.path, 'output', model.outputs);
      const results = await compiled.run(feeds);
      let good = true;
      model.outputs.forEach(({ name }, i) => {
        const want = expected[i];
        const problem = want && judge(results[i], want, ruleFor(data, name, i), wanted);
        if (!problem) return;
        good = false;
        mismatches.push({ set: data.path, output: name, problem });
        out.line(`FAIL ${data.path}, output "${name}": ${problem}`);
      });
      if (good) passed++;
      else failed++;
    }
    out.progress('');
    out.line(`${passed} passed, ${failed} failed`);
    out.result({ passed, failed, mismatches });
    compiled.dispose();
    return failed ? 1 : 0;
  },
};

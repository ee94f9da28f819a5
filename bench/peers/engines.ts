/** The engines that a comparison runs, and how each is started. */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { packageRequire } from '../../lib/package.ts';
import { benchmark, type ChildResult, measureIn } from '../report/child.ts';

export interface Case {
  /** Path of the model, and of what single engines get instead. */
  readonly model: string;
  readonly variants: ReadonlyMap<string, string>;
  readonly batch: number;
}

export interface Settings {
  readonly threads: number;
  readonly seconds: number;
  readonly timeout: number;
  readonly shape: string | undefined;
}

export interface Engine {
  readonly name: string;
  /** Runs once and writes inputs and outputs to `file`; engines that make no inputs read those of `feeds`. */
  readonly check?: (each: Case, settings: Settings, file: string, feeds: string) => Promise<ChildResult>;
  /** True where {@link check} makes inputs of its own, the same for all engines of its kind. */
  readonly makesInputs: boolean;
  /** Times runs. `inputs` are `NAME=FILE.npy`, the same values as in `feeds`. */
  readonly time: (each: Case, settings: Settings, feeds: string, inputs: readonly string[]) => Promise<ChildResult>;
}

const own: Engine = {
  name: 'filigree',
  makesInputs: false,
  time: ({ model, batch }, { threads, seconds, timeout }, _feeds, inputs) => {
    const args = [model, '--batch', String(batch), '--threads', String(threads), '--seconds', String(seconds)];
    return benchmark([...args, ...inputs.flatMap((input) => ['--input', input])], timeout);
  },
};

const ort: Engine = {
  name: 'onnxruntime-node',
  makesInputs: false,
  check: ({ model }, { threads, timeout }, file, feeds) =>
    runOrt([model, '--feeds', feeds, '--threads', String(threads), '--write', file], timeout),
  time: ({ model }, { threads, seconds, timeout }, feeds) =>
    runOrt([model, '--feeds', feeds, '--threads', String(threads), '--seconds', String(seconds)], timeout),
};

function runOrt(args: readonly string[], timeout: number): Promise<ChildResult> {
  return measureIn(process.execPath, [join(__dirname, 'ort.js'), ...args], timeout);
}

/** Sizes of symbolic dimensions in a `--shape` text, as the kit takes them. */
function dimsOf(shape: string | undefined): string {
  return (shape ?? '')
    .split(',')
    .filter((item) => /=\d+$/.test(item))
    .join(',');
}

/** An engine of the Python kit: `run-peer.py` of the kit's folder, in an environment of its own. */
function kitEngine(name: string, python: string, script: string): Engine {
  const run = ({ model, variants, batch }: Case, { threads, timeout, shape }: Settings, args: readonly string[]) => {
    const file = resolve(variants.get(name) ?? model);
    const common = ['--engine', name, '--model', file, '--batch', String(batch), '--threads', String(threads)];
    return measureIn(python, [script, ...common, `--dims=${dimsOf(shape)}`, ...args], timeout);
  };
  return {
    name,
    makesInputs: true,
    check: (each, settings, file) => run(each, settings, ['--seconds', '0', '--min-n', '1', '--check', file]),
    time: (each, settings) => run(each, settings, ['--seconds', String(settings.seconds)]),
  };
}

const kitEnvironments: readonly (readonly [string, string])[] = [
  ['ort', 'venv-main'],
  ['openvino', 'venv-main'],
  ['deepsparse', 'venv-deepsparse'],
];

function kitEngines(): Engine[] {
  const kit = process.env.FILIGREE_PEERS;
  if (!kit) return [];
  const script = resolve(kit, 'run-peer.py');
  if (!existsSync(script)) throw new Error(`FILIGREE_PEERS: expected a folder with run-peer.py, got "${kit}"`);
  const environments = process.env.FILIGREE_PEERS_CACHE ?? kit;
  return kitEnvironments.flatMap(([name, folder]) => {
    const python = resolve(environments, folder, 'bin/python');
    return existsSync(python) ? [kitEngine(name, python, script)] : [];
  });
}

function canImport(name: string): boolean {
  try {
    packageRequire.resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** The engines of this machine, this one first; of `wanted` names alone where there are any. */
export function findEngines(wanted: readonly string[]): Engine[] {
  const peers = [...(canImport('onnxruntime-node') ? [ort] : []), ...kitEngines()];
  const missing = wanted.filter((name) => ![own, ...peers].some((engine) => engine.name === name));
  if (missing.length) {
    const found = [own, ...peers].map(({ name }) => name).join(', ');
    throw new Error(`--engines: no ${missing.join(', ')} here; found ${found}`);
  }
  return [own, ...peers.filter(({ name }) => wanted.length === 0 || wanted.includes(name))];
}

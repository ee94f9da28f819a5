/** Arguments of the benchmarks. */

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { OptionError } from '../../lib/errors.ts';

/** The numbers of `1,2,4`. */
export function numberList(option: string, text: string, least: number, below = Number.POSITIVE_INFINITY): number[] {
  const values = text.split(',').map((word) => (word.trim() === '' ? Number.NaN : Number(word)));
  if (values.some((value) => !(value >= least && value < below))) {
    const range = below === Number.POSITIVE_INFINITY ? `of at least ${least}` : `from ${least} to below ${below}`;
    throw new OptionError(`--${option}: expected numbers ${range} with commas between, got "${text}"`, { option });
  }
  return values;
}

/** Whole numbers of `1,2,4`. */
export function countList(option: string, text: string): number[] {
  const values = numberList(option, text, 1);
  if (!values.every(Number.isInteger)) {
    throw new OptionError(`--${option}: expected whole numbers, got "${text}"`, { option });
  }
  return values;
}

/** One number of at least `least`. */
export function oneNumber(option: string, text: string, least: number): number {
  const values = numberList(option, text, least);
  if (values.length !== 1) throw new OptionError(`--${option}: expected one number, got "${text}"`, { option });
  return values[0]!;
}

/** One whole number of at least 1. */
export function oneCount(option: string, text: string): number {
  const value = oneNumber(option, text, 1);
  if (!Number.isInteger(value))
    throw new OptionError(`--${option}: expected a whole number, got "${text}"`, { option });
  return value;
}

/** Model files: those named, and the `.onnx` files of folders named; of the folder FILIGREE_MODELS where none is. */
export function modelFiles(named: readonly string[]): string[] {
  const fallback = process.env.FILIGREE_MODELS;
  const places = named.length ? named : fallback ? [fallback] : [];
  if (places.length === 0) throw new OptionError('name models or a folder of them, or set FILIGREE_MODELS to a folder');
  return places.flatMap((place) => {
    const found = statSync(place, { throwIfNoEntry: false });
    if (!found) throw new OptionError(`no such file or folder: "${place}"`);
    if (!found.isDirectory()) return [place];
    const files = readdirSync(place).filter((name) => name.endsWith('.onnx'));
    if (files.length === 0) throw new OptionError(`no .onnx files in "${place}"`);
    return files.sort().map((name) => join(place, name));
  });
}

/** What {@link runOptions} ask for. */
export interface RunSettings {
  readonly threads: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly timeout: number;
  readonly batches: number[];
  readonly shape: string | undefined;
}

/** Options of benchmarks that time models in processes of their own. */
export function runOptions(batch: string, seconds: number, rounds: number) {
  return {
    batch: { type: 'string', default: batch },
    threads: { type: 'string' },
    seconds: { type: 'string', default: String(seconds) },
    rounds: { type: 'string', default: String(rounds) },
    shape: { type: 'string' },
    timeout: { type: 'string', default: '300' },
  } as const;
}

/** The settings that these options say; `cores` threads where they do not tell. */
export function runSettings(
  values: Readonly<Record<'batch' | 'seconds' | 'rounds' | 'timeout', string>> & {
    readonly threads?: string | undefined;
    readonly shape?: string | undefined;
  },
  cores: number,
): RunSettings {
  return {
    threads: oneCount('threads', values.threads ?? String(cores)),
    seconds: oneNumber('seconds', values.seconds, 0),
    rounds: oneCount('rounds', values.rounds),
    timeout: oneNumber('timeout', values.timeout, 1),
    batches: countList('batch', values.batch),
    shape: values.shape,
  };
}

/** Runs a benchmark's main function; prints what went wrong, and help where asked. */
export async function runMain(help: string, main: (argv: string[]) => Promise<number>): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv.includes('--help')) {
    console.log(help);
    return;
  }
  try {
    process.exitCode = await main(argv);
  } catch (error) {
    const { message } = error as Error;
    console.error(`error: ${message}`);
    process.exitCode = 1;
  }
}

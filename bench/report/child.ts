/** Measurements in processes of their own. */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

/** What a measuring process says: the last line of its output that begins with a brace, or why there is none. */
export type Line = Readonly<Record<string, unknown>> & { readonly error?: string };

export interface ChildResult {
  readonly line: Line;
  /** Share of the machine that other processes used meanwhile; undefined where the system does not tell. */
  readonly foreign: number | undefined;
}

/** The command line of this build. */
export const cliPath = join(__dirname, '../../lib/cli/main.js');

/** The last line of `text` that is a JSON object. */
export function lastJson(text: string): Line | undefined {
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  try {
    return JSON.parse(lines[lines.length - 1] ?? '') as Line;
  } catch {
    return undefined;
  }
}

/** Clock ticks of work of the machine, and of this process with those of its children that have ended. */
function ticks(): { all: number; own: number } | undefined {
  try {
    const all = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/).slice(1, 9).map(Number);
    const own = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]!.split(' ').slice(11, 15).map(Number);
    const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
    return { all: sum(all) - all[3]! - all[4]!, own: sum(own) };
  } catch {
    return undefined;
  }
}

const TICKS_A_SECOND = 100;

/** An error of a command of ours comes as `{error: {message}}`. */
function withPlainError(line: Line): Line {
  const error: unknown = line.error;
  if (typeof error !== 'object' || error === null) return line;
  return { ...line, error: String((error as { message?: unknown }).message) };
}

/** Runs a program to its end, for at most `seconds`; failures are in the line. */
export async function measureIn(command: string, args: readonly string[], seconds: number): Promise<ChildResult> {
  const before = ticks();
  const start = performance.now();
  const line = await new Promise<Line>((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, seconds * 1000);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err = (err + text).slice(-4000);
    });
    child.on('error', (problem) => {
      clearTimeout(timer);
      resolve({ error: problem.message });
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const found = lastJson(out);
      const lines = err.trim().split('\n');
      const last = lines.find((text) => /error/i.test(text)) ?? (lines.pop() || 'no output');
      if (late) resolve({ error: `no result within ${seconds} s` });
      else if (found && (code === 0 || found.error)) resolve(withPlainError(found));
      else resolve({ error: `${signal ?? `exit ${code}`}: ${last.trim().slice(0, 200)}` });
    });
  });
  const after = ticks();
  const wall = ((performance.now() - start) / 1000) * TICKS_A_SECOND * cpus().length;
  const foreign = before && after && Math.max(0, (after.all - before.all - (after.own - before.own)) / wall);
  return { line, foreign };
}

/** Runs `filigree benchmark` with these arguments. */
export function benchmark(args: readonly string[], seconds: number): Promise<ChildResult> {
  return measureIn(process.execPath, [cliPath, 'benchmark', ...args, '--json'], seconds);
}

/** A number of a line; NaN where it is missing. */
export function numberOf(line: Line, name: string): number {
  return typeof line[name] === 'number' ? line[name] : Number.NaN;
}

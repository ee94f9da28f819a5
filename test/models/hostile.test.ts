/** Malformed and hostile models, each in a process of its own with its limits of time and memory. */

import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readTable } from '../../lib/cli/cases.ts';
import { causes } from './causes.ts';

const root = resolve(import.meta.dirname, '..', '..');
const archive = join(root, '..', 'shared', 'hostile', 'unpack.sh');
const scratch = mkdtempSync(join(tmpdir(), 'hostile-'));
const dist = join(root, 'out', 'hostile');

function folder(): string | undefined {
  if (process.env.FILIGREE_HOSTILE) return process.env.FILIGREE_HOSTILE;
  if (!existsSync(archive)) return undefined;
  execFileSync('bash', [archive, scratch]);
  return scratch;
}

interface Report {
  readonly phase: 'load' | 'run' | 'done';
  readonly typed: boolean;
  readonly message: string;
  readonly outputs: readonly string[][];
  readonly milliseconds: number;
  readonly megabytes: number;
  /** Shape of the result of a correct run after a failed one. */
  readonly again: string;
}

/** A child that dies or hangs fails the test with what it wrote. */
function runChild(file: string, expected: string, seconds: number): Promise<Report> {
  return new Promise((done, fail) => {
    const script = join(import.meta.dirname, 'hostile-child.mjs');
    const env = { FILIGREE_ADDON: join(root, 'build', 'Release', 'filigree.node'), ...process.env };
    execFile(
      process.execPath,
      [script, dist, file, expected],
      { env, timeout: seconds * 1000, killSignal: 'SIGKILL' },
      (error, out, err) => {
        if (error) fail(new Error(`${file}: ${error.signal ?? error.code}\n${err.slice(-2000)}`));
        else done(JSON.parse(out) as Report);
      },
    );
  });
}

/** Seconds and megabytes of `2 s, 256 MB`. */
function limitsOf(text: string): { seconds: number; megabytes: number } {
  return { seconds: Number(/(\d+) s/.exec(text)?.[1] ?? 2), megabytes: Number(/(\d+) MB/.exec(text)?.[1] ?? 256) };
}

const cases = folder();

describe.skipIf(!cases)('hostile models', () => {
  const rows = cases ? readTable(join(cases, 'manifest.tsv')) : [];

  beforeAll(() => {
    execFileSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.build.json', '--outDir', dist], {
      cwd: root,
    });
    execFileSync(process.execPath, [join(root, 'scripts', 'mark-commonjs.mjs'), dist]);
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  for (const row of rows) {
    test(`${row.case}: ${row['what is wrong'].slice(0, 80)} -> ${row.expected}`, async () => {
      const limits = limitsOf(row.limit);
      // A loaded machine may be slow to start a process; a hang is longer than any factor.
      const report = await runChild(join(cases as string, row.file), row.expected, limits.seconds * 5 + 5);
      expect(report.typed, report.message).toBe(true);
      expect(report.milliseconds).toBeLessThan(limits.seconds * 3000);
      expect(report.megabytes).toBeLessThan(limits.megabytes);
      if (row.expected.includes('error')) expect(report.outputs).toEqual([]);
      if (row.expected === 'load error') expect(report.phase).toBe('load');
      if (row.expected === 'run error') expect(report.phase).toBe('run');
      if (row.expected === 'error') expect(report.phase).not.toBe('done');
      if (row.expected === 'fine') expect(report, report.message).toMatchObject({ phase: 'done' });
      if (row.expected === 'cancel') expect(report.message).toMatch(/^AbortError/);
      if (row.case.startsWith('feed_wrong')) expect(report.again).toBe('1,5');
      if (row.expected.includes('error')) expect(report.message).toMatch(causes[row.case]);
    });
  }
});

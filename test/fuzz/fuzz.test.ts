/** A bounded run of the fuzzer over model files, and that it notices what it is there for. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { caseOf, type Subject } from './cases.ts';
import { gatherOrigins } from './corpus.ts';
import { Findings, savedCase } from './findings.ts';
import { fuzz, usualLimits } from './fuzz.ts';
import { builtinModels } from './models.ts';
import { runCase } from './run-case.ts';
import { WatchedChild } from './watch.ts';

const root = resolve(import.meta.dirname, '..', '..');
const scratch = mkdtempSync(join(tmpdir(), 'fuzz-'));

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test.each(Object.entries(builtinModels))('%s runs as it is', async (name, bytes) => {
  for (let i = 0; i < 4; i++) expect((await runCase(bytes, `fine ${i}`, `builtin:${name}`)).result).toBe('ran');
});

test('a case is decided by its seed and number', () => {
  const origins = gatherOrigins([]);
  const many = (seed: string) =>
    Array.from({ length: 50 }, (_, i) => Buffer.from(caseOf(origins, 'models', seed, i).bytes).toString('hex'));
  expect(many('a')).toEqual(many('a'));
  expect(new Set([...many('a'), ...many('b')]).size).toBeGreaterThan(90);
});

describe('the watcher', () => {
  const limits = { milliseconds: 1500, megabytes: 400 };
  const child = new WatchedChild<string>(join(import.meta.dirname, 'faulty-child.mjs'), [], limits);
  afterAll(() => child.close());

  test.each([
    ['die', /died: SIGABRT/],
    ['exit', /died: exit 3/],
    ['reject', /died: exit 1\n[\s\S]*nobody waits/],
    ['hang', /no answer within 1500 ms/],
    ['grow', process.platform === 'linux' ? /more than 400 MB/ : /no answer|died/],
  ])('notices a child that does: %s', async (deed, expected) => {
    expect((await child.run(deed)).defect).toMatch(expected);
    expect(await child.run('fine')).toEqual({ result: 'ran' });
  });
});

test('findings of one kind are saved three times', () => {
  const findings = new Findings(scratch, 'models');
  const found = Array.from({ length: 5 }, (_, i) => {
    const mutant = { seed: `s:${i}`, origin: 'builtin:control', bytes: Uint8Array.of(i), changes: [] };
    return findings.add(mutant, `TypeError: value ${i}\n    at read (file.js:${i}:1)`);
  });
  expect(found.map((folder) => folder !== undefined)).toEqual([true, true, true, false, false]);
  expect([...findings.counts.values()]).toEqual([5]);
  expect(savedCase(found[1] as string)).toMatchObject({ subject: 'models', seed: 's:1', origin: 'builtin:control' });
});

describe('bounded runs', () => {
  beforeAll(() => {
    execFileSync('npm', ['run', '-s', 'build:fuzz'], { cwd: root });
    process.env.FILIGREE_ADDON ??= join(root, 'build', 'Release', 'filigree.node');
  });

  /** Shares of the results of so many cases without a defect. */
  async function shares(subject: Subject, cases: number): Promise<(result: string) => number> {
    const seen: string[] = [];
    const report = await fuzz({
      subject,
      seed: 'bounded',
      paths: [],
      child: join(root, 'out', 'fuzz', 'test', 'fuzz', 'child.js'),
      folder: join(root, 'out', 'findings'),
      limits: usualLimits,
      wants: (index) => index < cases,
      onDefect: (defect, folder) => seen.push(`${folder}: ${defect}`),
    });
    expect(seen).toEqual([]);
    return (result) => (report.results.get(result) ?? 0) / cases;
  }

  // Mutants that are all refused at the door would test nothing but the door.
  test('changed models load and run, or are refused with a typed error', async () => {
    const share = await shares('models', 2000);
    expect(share('ran')).toBeGreaterThan(0.1);
    expect(share('ERR_RUN')).toBeGreaterThan(0.01);
  }, 120_000);

  test('changed models that run give what the references give', async () => {
    expect((await shares('answers', 1000))('same')).toBeGreaterThan(0.1);
  }, 120_000);

  test('changed plans are refused or run within their buffers', async () => {
    const share = await shares('plans', 1000);
    expect(share('refused')).toBeGreaterThan(0.2);
    expect(share('ran')).toBeGreaterThan(0.05);
  }, 120_000);
});

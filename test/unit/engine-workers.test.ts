import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const require = createRequire(import.meta.url);
const script = fileURLToPath(new URL('engine-workers.mjs', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));

function addonPath(): string {
  if (process.env.FILIGREE_ADDON) return process.env.FILIGREE_ADDON;
  const bindings = require('bindings') as (options: object) => string;
  return bindings({ bindings: 'filigree', module_root: root, path: true });
}

function child(args: readonly string[], env: Record<string, string> = {}) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, addonPath(), ...args], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: 110_000,
  });
  return { status, signal, stdout: stdout.trim(), stderr };
}

test('60 Workers terminated while they run leave the process sound', () => {
  expect(child(['terminate', '60'])).toEqual({ status: 0, signal: null, stdout: 'clean', stderr: '' });
}, 120_000);

test('process.exit during a run', () => {
  expect(child(['exit', '7'])).toEqual({ status: 7, signal: null, stdout: '', stderr: '' });
});

test('an idle pool does not keep the process', () => {
  expect(child(['finish'])).toEqual({ status: 0, signal: null, stdout: 'clean', stderr: '' });
});

test.each(['1', '2', '7'])('a pool of %s threads', (threads) => {
  expect(child(['finish'], { FILIGREE_THREADS: threads }).stdout).toBe('clean');
});

test('FILIGREE_ISA chooses the instruction set, and asking for an unknown one is an error', () => {
  expect(child(['finish'], { FILIGREE_ISA: 'portable' }).stdout).toBe('clean');
  const { status, stderr } = child(['finish'], { FILIGREE_ISA: 'altivec' });
  expect(status).toBe(1);
  expect(stderr).toMatch(/"altivec" is not available; this CPU has portable/);
});

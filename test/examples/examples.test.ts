/** Every example as its reader has it: copied beside an installed package, run by plain node. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { writeSentenceModel } from './sentence-model.ts';

const require = createRequire(import.meta.url);
const root = resolve(import.meta.dirname, '..', '..');
const app = mkdtempSync(join(tmpdir(), 'examples-'));
const examples = join(app, 'examples');
const modules = join(app, 'node_modules');
const env = { ...process.env, FILIGREE_ADDON: process.env.FILIGREE_ADDON ?? join(root, 'build/Release/filigree.node') };

const isInstalled = (name: string) => existsSync(join(root, 'node_modules', name));
const load = (file: string) => import(pathToFileURL(join(root, 'examples', file)).href);
const readDigits = async (): Promise<Digits> => (await load('digits/digits.mjs')).readDigits();
const npy = (): Promise<NpyFiles> => load('batch/npy.mjs');
const started = new Set<Program>();

interface Digits {
  readonly count: number;
  image(i: number): Float32Array;
  label(i: number): number;
}
interface NpyFile {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}
interface NpyFiles {
  readNpy(path: string): NpyFile;
  writeNpy(path: string, file: NpyFile): void;
}

beforeAll(() => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const dist = join(modules, 'filigree', 'dist');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', dist], { cwd: root });
  execFileSync(process.execPath, [join(root, 'scripts', 'mark-commonjs.mjs'), dist]);
  cpSync(join(root, 'package.json'), join(modules, 'filigree', 'package.json'));
  cpSync(join(root, 'examples'), examples, { recursive: true });
  const { dependencies } = require('../../package.json');
  for (const name of [...Object.keys(dependencies), 'fastify', '@huggingface/transformers']) {
    if (!isInstalled(name)) continue;
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
});
afterEach(() => {
  for (const program of started) program.child.kill('SIGKILL');
  started.clear();
});
afterAll(() => rmSync(app, { recursive: true, force: true }));

/** A program under way, and what it has said so far. */
class Program {
  readonly child;
  output = '';
  readonly #exit: Promise<unknown[]>;

  constructor(args: readonly string[], settings: Record<string, string> = {}) {
    this.child = spawn(process.execPath, args, { cwd: examples, env: { ...env, ...settings } });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    this.#exit = once(this.child, 'close');
    started.add(this);
  }

  /** Waits until it says so. */
  async says(pattern: RegExp): Promise<string> {
    for (let found = pattern.exec(this.output); ; found = pattern.exec(this.output)) {
      if (found) return found[0];
      if (this.child.exitCode !== null) throw new Error(`ended without ${pattern}:\n${this.output}`);
      await setTimeout(10);
    }
  }

  /** Exit code (or signal) and output, when it has ended. */
  async end(): Promise<{ code: unknown; output: string }> {
    const [code, signal] = await this.#exit;
    started.delete(this);
    return { code: code ?? signal, output: this.output };
  }
}

test('every example has a README', () => {
  for (const name of readdirSync(examples)) expect(existsSync(join(examples, name, 'README.md')), name).toBe(true);
});

test.skipIf(!isInstalled('fastify'))('fastify: answers, refuses, sheds load, ends in order', async () => {
  const server = new Program(['fastify/server.mjs'], {
    PORT: '0',
    MAX_BATCH: '2',
    MAX_QUEUE: '4',
    MAX_DELAY_MS: '1500',
  });
  const url = await server.says(/http:\S+/);
  const digits = await readDigits();
  const post = (body: Uint8Array<ArrayBuffer>) =>
    fetch(`${url}/digits`, { method: 'POST', body, headers: { 'content-type': 'application/octet-stream' } });
  const pixels = (i: number) => Uint8Array.from(digits.image(i), (value) => Math.round(value * 255));

  const few = await Promise.all([0, 1, 2, 3].map((i) => post(pixels(i))));
  expect(await Promise.all(few.map((each) => each.json()))).toEqual(
    [0, 1, 2, 3].map((i) => ({ digit: digits.label(i) })),
  );
  const wrong = await post(new Uint8Array(3));
  expect([wrong.status, await wrong.json()]).toEqual([
    400,
    { code: 'ERR_INPUT', message: 'expected 784 bytes, got 3' },
  ]);

  const many = await Promise.all(Array.from({ length: 300 }, (_, i) => post(pixels(i))));
  const shed = many.filter(({ status }) => status === 503);
  expect(many.filter(({ status }) => status === 200).length + shed.length).toBe(300);
  expect(shed.length).toBeGreaterThan(0);
  expect(shed[0].headers.get('retry-after')).toBe('1');
  expect(await shed[0].json()).toMatchObject({ code: 'ERR_QUEUE_FULL' });
  await Promise.all(many.slice(1).map((each) => each.body?.cancel().catch(() => undefined)));

  // One request waits for a second that never comes: it is answered all the same.
  const last = post(pixels(5));
  const queued = async () => ((await (await fetch(`${url}/health`)).json()) as { queued: number }).queued;
  let answered = false;
  void last.then(() => {
    answered = true;
  });
  // On a busy machine it may have waited long enough before this looked.
  while (!answered && (await queued()) === 0);
  server.child.kill('SIGTERM');
  expect(await (await last).json()).toEqual({ digit: digits.label(5) });
  expect(await server.end()).toMatchObject({ code: 0, output: expect.stringMatching(/closed\n$/) });
});

test('batch: every file once, and on from where it was stopped', async () => {
  const { readNpy, writeNpy } = await npy();
  const digits = await readDigits();
  const [from, to] = [join(app, 'in'), join(app, 'out')];
  mkdirSync(from);
  const count = 2000;
  for (let i = 0; i < count; i++) {
    const name = `${String(i).padStart(4, '0')}.npy`;
    writeNpy(join(from, name), { dims: [1, 1, 28, 28], data: digits.image(i % digits.count) });
  }
  const results = () => (existsSync(to) ? readdirSync(to).filter((name) => name.endsWith('.npy')) : []);

  const first = new Program(['batch/job.mjs', from, to, '4']);
  await first.says(/100 of 2000/);
  first.child.kill('SIGINT');
  expect(await first.end()).toMatchObject({ code: 130, output: expect.stringMatching(/stopped: run again/) });
  const before = results().length;
  expect(before).toBeGreaterThanOrEqual(100);
  expect(before).toBeLessThan(count);

  const second = await new Program(['batch/job.mjs', from, to]).end();
  expect(second).toMatchObject({ code: 0, output: expect.stringContaining(`${count} files, ${before} done before`) });
  expect(readdirSync(to)).toEqual(readdirSync(from));
  const right = results().filter((name, i) => {
    const { dims, data } = readNpy(join(to, name));
    expect(dims).toEqual([1, 10]);
    return data.indexOf(Math.max(...data)) === digits.label(i % digits.count);
  });
  expect(right.length / count).toBeGreaterThan(0.95);
  expect((await new Program(['batch/job.mjs', from]).end()).code).toBe(2);
});

test('workers: a pool on one file in shared memory', async () => {
  const { code, output } = await new Program(['workers/pool.mjs', '3']).end();
  expect(output).toMatch(/^3 workers, \d+ of 300 right/);
  expect([code, Number(/(\d+) of 300/.exec(output)?.[1]) > 285]).toEqual([0, true]);
});

test('voice: a state carried from chunk to chunk', async () => {
  const { code, output } = await new Program(['voice/main.mjs']).end();
  const times = (word: string) =>
    [...output.matchAll(new RegExp(`${word}.*`, 'g'))].flatMap(([line]) => line.match(/\d+\.\d+/g)!.map(Number));
  const [spoken, heard] = [times('spoken'), times('heard')];
  expect([code, heard.length]).toEqual([0, spoken.length]);
  for (const [i, time] of spoken.entries()) expect(Math.abs(heard[i] - time), output).toBeLessThan(0.15);
});

test('voice: raw sound from a pipe, cut anywhere, and nothing heard in silence', async () => {
  const program = new Program(['voice/main.mjs', '-']);
  program.child.stdin.write(Buffer.alloc(31_999));
  program.child.stdin.end(Buffer.alloc(1));
  expect(await program.end()).toMatchObject({ code: 0, output: expect.stringMatching(/^31 chunks of 32 ms/) });
});

test('policy: learns, one call a step', async () => {
  const { code, output } = await new Program(['policy/main.mjs']).end();
  expect(code, output).toBe(0);
  expect(output).toMatch(/500 of 500 steps\n\d+ calls, \d+ a second: [\d.]+ microseconds each/);
});

test.skipIf(!isInstalled('@huggingface/transformers'))('transformers: a local model through the preload', async () => {
  const folder = writeSentenceModel(join(app, 'sentences'));
  const args = ['--require', join(modules, 'filigree', 'dist', 'register.js'), 'transformers/main.mjs', folder];
  const { code, output } = await new Program([...args, 'red green', 'green red', 'blue']).end();
  expect(code, output).toBe(0);
  const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;
  const lines = ['1.000  red green | green red', '0.000  red green | blue', `computed by filigree ${version}`, ''];
  expect(output).toBe(lines.join('\n'));
});

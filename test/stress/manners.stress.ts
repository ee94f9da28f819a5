/** Thousands of ends and beginnings: nothing dies, and memory stays what it was. Minutes; `npm run test:stress`. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildLibrary, Models, runChild } from '../manners/child.ts';
import { classifier, negation, products } from '../manners/networks.ts';

const models = new Models();

beforeAll(buildLibrary);
afterAll(() => models.remove());

/** What a child measured; memory (MiB) at each tenth of what it repeats. */
interface Report {
  readonly memory: readonly number[];
  /** Workers that ended before their first session, in their first runs, later. */
  readonly where: readonly [number, number, number];
  /** Memory before and after a loop that never reaches the event loop. */
  readonly before: number;
  readonly after: number;
  /** Runs of 24 callers, those with wrong results, and percentiles of the event loop's delay (milliseconds). */
  readonly runs: number;
  readonly wrong: number;
  readonly p99: number;
  /** The same without the time that other processes had this thread's core. */
  readonly own: number;
}

function repeat(action: string, bytes: Uint8Array, count: number): Report {
  const { stdout, ...ending } = runChild(action, models.write(`${action}.onnx`, bytes), String(count), 850);
  expect(ending).toEqual({ status: 0, signal: null, stderr: '' });
  console.log(`${action} ${count}: ${stdout.replace(/(\.\d)\d+/g, '$1')}`);
  return JSON.parse(stdout) as Report;
}

/** The second half stays within `share` of what a third had reached. */
function expectFlat(memory: readonly number[], share = 0.05): void {
  const third = Math.ceil(memory.length / 3);
  const before = Math.max(...memory.slice(0, third + 1));
  expect(Math.max(...memory.slice(third + 1))).toBeLessThan(before * (1 + share));
}

test.each([
  ['short', classifier(8)],
  ['long', products(4, 384)],
])('500 Workers terminated while they load and run: %s runs', (_, bytes) => {
  const { memory, where } = repeat('terminate', bytes, 500);
  expectFlat(memory);
  for (const count of where) expect(count).toBeGreaterThan(10);
});

test('10,000 sessions of a small model, disposed', () => {
  expectFlat(repeat('cycles', classifier(8), 10_000).memory);
});

test('200 sessions of a larger model, disposed: from bytes, and from a mapped file', () => {
  expectFlat(repeat('cycles', classifier(768), 200).memory);
  expectFlat(repeat('file-cycles', classifier(768), 200).memory);
});

test('sessions that nobody disposes are collected', () => {
  expectFlat(repeat('undisposed', classifier(8), 3000).memory);
  expectFlat(repeat('undisposed', products(2, 1024), 200).memory, 0.1);
});

test('results of 4 MiB that nobody keeps, in asynchronous and in synchronous loops', () => {
  const { memory, before, after } = repeat('outputs', negation(), 2000);
  expectFlat(memory, 0.1);
  // A synchronous loop gives the collector's helpers no rest: some results wait for them.
  expect(after).toBeLessThan(before + 256);
});

test.each([8, 64, 256])('24 callers of a network of %i channels leave the event loop free', (width) => {
  const { runs, wrong, own } = repeat('callers', classifier(width), 10);
  expect(wrong).toBe(0);
  expect(runs).toBeGreaterThan(24);
  expect(own).toBeLessThan(10);
});

/** Thousands of ends and beginnings: nothing dies, and memory stays what it was. Minutes; `npm run test:stress`. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildLibrary, Models, runChild } from '../manners/child.ts';
import { classifier, negation, products } from '../manners/networks.ts';

const models = new Models();

beforeAll(buildLibrary);
afterAll(() => models.remove());

/** Memory (MiB) at each tenth of what a child repeats. */
function memoryOf(action: string, bytes: Uint8Array, count: number): number[] {
  const { stdout, ...ending } = runChild(action, models.write(`${action}.onnx`, bytes), String(count), 850);
  expect(ending).toEqual({ status: 0, signal: null, stderr: '' });
  const memory = JSON.parse(stdout) as number[];
  console.log(`${action} ${count}: ${memory.map((each) => each.toFixed(0)).join(' ')} MiB`);
  return memory;
}

/** The second half stays within `share` of what a third had reached. */
function expectFlat(memory: readonly number[], share = 0.05): void {
  const third = Math.ceil(memory.length / 3);
  const before = Math.max(...memory.slice(0, third + 1));
  expect(Math.max(...memory.slice(third + 1))).toBeLessThan(before * (1 + share));
}

test('1,000 Workers terminated while they load and run', () => {
  expectFlat(memoryOf('terminate', classifier(8), 1000));
});

test('10,000 sessions of a small model, disposed', () => {
  expectFlat(memoryOf('cycles', classifier(8), 10_000));
});

test('200 sessions of a larger model, disposed: from bytes, and from a mapped file', () => {
  expectFlat(memoryOf('cycles', classifier(768), 200));
  expectFlat(memoryOf('file-cycles', classifier(768), 200));
});

test('sessions that nobody disposes are collected', () => {
  expectFlat(memoryOf('undisposed', classifier(8), 3000));
  expectFlat(memoryOf('undisposed', products(2, 1024), 200), 0.1);
});

test('results of 4 MiB that nobody keeps, in asynchronous and in synchronous loops', () => {
  const memory = memoryOf('outputs', negation(), 2000);
  const [before, after] = memory.splice(-2);
  expectFlat(memory, 0.1);
  // A synchronous loop gives the collector's helpers no rest: some results wait for it.
  expect(after).toBeLessThan(before + 256);
});

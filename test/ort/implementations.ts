/**
 * The implementations that one table of cases runs against: `filigree/ort` always, onnxruntime-node where it is installed
 * (`npm install --no-save onnxruntime-node`, a folder of `NODE_PATH`, or `FILIGREE_TEST_ORT=/path/to/onnxruntime-node`).
 */

import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import * as own from '../../lib/ort/index.ts';

export type Ort = typeof own;

function original(): Ort | undefined {
  const require = createRequire(import.meta.url);
  const named = process.env.FILIGREE_TEST_ORT;
  if (named) return require(named) as Ort;
  try {
    return require('onnxruntime-node') as Ort;
  } catch (error) {
    if ((error as { code?: string }).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Describes the cases for each implementation; those of an absent one are reported as skipped. */
export function forEachImplementation(cases: (ort: Ort, isOriginal: boolean) => void): void {
  const found = original();
  describe('filigree/ort', () => cases(own, false));
  const name = found ? 'onnxruntime-node' : 'onnxruntime-node (not installed: see test/ort/implementations.ts)';
  describe.skipIf(!found)(name, () => cases(found ?? own, true));
}

type ErrorClass = new (...args: never[]) => Error;

/** What is done with an implementation, and what comes of it: a value, or an error of a class. */
export type Case = readonly [title: string, act: (ort: Ort) => unknown, expected: unknown];

const isErrorClass = (expected: unknown): expected is ErrorClass =>
  typeof expected === 'function' && (expected === Error || expected.prototype instanceof Error);

/** A test a case. */
export function testCases(ort: Ort, cases: readonly Case[]): void {
  test.each(cases)('%s', async (_, act, expected) => {
    const acting = async () => act(ort);
    if (isErrorClass(expected)) await expect(acting()).rejects.toThrow(expected);
    else expect(await acting()).toEqual(expected);
  });
}

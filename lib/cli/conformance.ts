/** Runs folders of cases in one process and reports each failure. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FiligreeError } from '../errors.ts';
import type { Model } from '../ir/model.ts';
import type { HostValue } from '../ir/tensor.ts';
import { loadModel } from '../onnx/load.ts';
import { interpret } from '../ops/interpret.ts';
import { CompiledModel } from '../runtime/compiled.ts';
import { type Case, dataSets, findCases, readTable } from './cases.ts';
import { difference } from './compare.ts';

/** A model that runs on contents in the order of its inputs. */
export interface Runnable {
  readonly model: Model;
  runSync(feeds: readonly (HostValue | undefined)[]): HostValue[];
  dispose(): void;
}

/** Opens a model to run as sessions do. */
export const openCompiled = (path: string): Runnable => CompiledModel.openSync(path);

/** Opens a model to run on the references alone. */
export function openReference(path: string): Runnable {
  const model = loadModel(path);
  return { model, runSync: (feeds) => interpret(model.graph, feeds as HostValue[]), dispose: () => {} };
}

export interface ConformanceOptions {
  readonly filter?: RegExp;
  /** Accepted failures: reason by case. */
  readonly exceptions?: ReadonlyMap<string, string>;
  readonly open?: (path: string) => Runnable;
  /** Prints one line. */
  readonly print?: (line: string) => void;
}

export interface ConformanceResult {
  readonly passed: number;
  readonly failed: number;
  readonly accepted: number;
}

/** Accepted failures of a table with the columns case and reason. */
export function readExceptions(path: string): Map<string, string> {
  return new Map(existsSync(path) ? readTable(path).map((row) => [row.case, row.reason]) : []);
}

/** Undefined where the case passes, else why it fails. */
export function runCase(found: Case, open: (path: string) => Runnable): string | undefined {
  let opened: Runnable | undefined;
  try {
    opened = open(join(found.folder, 'model.onnx'));
    const { model } = opened;
    for (const set of dataSets(found.folder, model)) {
      const outputs = opened.runSync(set.feeds);
      for (let i = 0; i < model.outputs.length; i++) {
        const expected = set.expected[i];
        if (!expected) continue;
        const problem = difference(outputs[i], expected, found.tolerance(i));
        if (problem) return `${set.name}, output "${model.outputs[i].name}": ${problem}`;
      }
    }
    return undefined;
  } catch (error) {
    if (error instanceof FiligreeError) return `${error.name}: ${error.message}`;
    return `unexpected ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  } finally {
    opened?.dispose();
  }
}

/** Runs all cases under the folders and prints each failure, then `N passed, N failed`. */
export function runConformance(roots: readonly string[], options: ConformanceOptions = {}): ConformanceResult {
  const { filter, exceptions = new Map(), open = openCompiled, print = console.log } = options;
  const count = { passed: 0, failed: 0, accepted: 0 };
  for (const found of roots.flatMap(findCases)) {
    if (filter && !filter.test(found.id) && !filter.test(found.id.slice(found.id.indexOf('/') + 1))) continue;
    const problem = runCase(found, open);
    const reason = exceptions.get(found.id);
    if (!problem) {
      count.passed++;
      if (reason) print(`pass ${found.id}: listed as an exception (${reason}); take it off the list`);
    } else if (reason) {
      count.accepted++;
    } else {
      count.failed++;
      print(`FAIL ${found.id}: ${problem}`);
    }
  }
  if (count.accepted) print(`${count.accepted} accepted failures`);
  print(`${count.passed} passed, ${count.failed} failed`);
  return count;
}

/** What the fuzzer found, one folder each: the model and how to run it again. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FuzzCase, Subject } from './cases.ts';

/** A case that can be run again. */
export interface SavedCase {
  readonly subject: Subject;
  readonly seed: string;
  readonly origin: string;
  /** Path of the changed model. */
  readonly model: string;
}

/** Findings with the same key have most likely the same cause: what happened and where, without numbers. */
export function keyOf(defect: string): string {
  const lines = defect.split('\n').filter((line) => line.trim());
  const where = lines.filter((line) => /^\s+at |^\s+#\d+ /.test(line)).slice(0, 2);
  return [lines[0], ...where]
    .join(' ')
    .replace(/0x[0-9a-f]+|\d+/g, 'N')
    .replace(/"[^"]*"|\[[^\]]*\]/g, '_');
}

const KEPT_PER_KEY = 3;

/** Collects findings and saves the first few of each kind. */
export class Findings {
  readonly counts = new Map<string, number>();
  readonly #folder: string;
  readonly #subject: Subject;

  constructor(folder: string, subject: Subject) {
    this.#folder = folder;
    this.#subject = subject;
  }

  /** Where the case was saved; undefined where enough like it are. */
  add(found: FuzzCase, defect: string): string | undefined {
    const key = keyOf(defect);
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    if (count > KEPT_PER_KEY) return undefined;
    const folder = join(this.#folder, found.seed.replace(/[^\w-]/g, '_'));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'model.onnx'), found.bytes);
    const { seed, origin, changes } = found;
    const facts = { subject: this.#subject, seed, origin, changes, defect };
    writeFileSync(join(folder, 'case.json'), `${JSON.stringify(facts, null, 2)}\n`);
    return folder;
  }
}

/** Reads what {@link Findings.add} saved. */
export function savedCase(folder: string): SavedCase {
  const { subject, seed, origin } = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as SavedCase;
  return { subject, seed, origin, model: join(folder, 'model.onnx') };
}

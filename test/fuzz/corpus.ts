/** The models that the fuzzer changes: built-in ones, and those of folders. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readPorts } from '../../lib/cli/cases.ts';
import { FiligreeError } from '../../lib/errors.ts';
import type { Port } from '../../lib/ir/model.ts';
import type { HostValue } from '../../lib/ir/tensor.ts';
import { builtinModels } from './models.ts';

/** Larger files take too long a case. */
const MAX_BYTES = 400_000;

/** A model to change. */
export interface Origin {
  /** `builtin:NAME`, or the path of the file. */
  readonly name: string;
  bytes(): Uint8Array;
}

const builtins = Object.entries(builtinModels).map(
  ([name, bytes]): Origin => ({ name: `builtin:${name}`, bytes: () => bytes }),
);

function modelFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const entries = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) return modelFiles(inner);
    return entry.isFile() && entry.name.endsWith('.onnx') && statSync(inner).size <= MAX_BYTES ? [inner] : [];
  });
}

/** The built-in models and all small `.onnx` files under the paths, in a fixed order. */
export function gatherOrigins(paths: readonly string[]): Origin[] {
  const files = paths.flatMap(modelFiles);
  return [...builtins, ...files.map((name) => ({ name, bytes: () => new Uint8Array(readFileSync(name)) }))];
}

/** Stored inputs beside a model, where there are some that fit the ports. */
export function storedFeeds(origin: string, ports: readonly Port[]): (HostValue | undefined)[] {
  if (origin.startsWith('builtin:')) return [];
  const folder = dirname(origin);
  const beside = join(folder, 'test_data_set_0');
  try {
    return readPorts(existsSync(beside) ? beside : folder, 'input', ports);
  } catch (error) {
    // Changed ports may want other types than the files have.
    if (error instanceof FiligreeError) return [];
    throw error;
  }
}

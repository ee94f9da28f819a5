/** Options of onnxruntime-common, checked as onnxruntime-node does: TypeError for a type, RangeError for a value. */

import type { InferenceSession } from 'onnxruntime-common';
import { UnsupportedError } from '../errors.ts';
import type { Precision } from '../runtime/options.ts';

type Check = (value: unknown, name: string) => void;

const where = (name: string): string => `Invalid argument: ${name}`;

const typed =
  (type: 'number' | 'string' | 'boolean'): Check =>
  (value, name) => {
    if (typeof value !== type) throw new TypeError(`${where(name)} must be a ${type}.`);
  };

const threads: Check = (value, name) => {
  typed('number')(value, name);
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 0xffffffff) {
    throw new RangeError(`${where(name)} is invalid: ${value}`);
  }
};

const severity: Check = (value, name) => {
  typed('number')(value, name);
  if (![0, 1, 2, 3, 4].includes(value as number)) {
    throw new RangeError(`${where(name)} must be one of the following: 0, 1, 2, 3, 4.`);
  }
};

const oneOf =
  (...names: string[]): Check =>
  (value, name) => {
    typed('string')(value, name);
    if (!names.includes(value as string)) throw new TypeError(`${where(name)} is not supported: ${value}`);
  };

const extra: Check = (value, name) => {
  if (typeof value !== 'object' || value === null) throw new TypeError(`${where(name)} must be an object.`);
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry === 'object' && entry !== null) extra(entry, `${name}.${key}`);
    else if (typeof entry !== 'string') throw new TypeError(`${where(`${name}.${key}`)} must be a string.`);
  }
};

const overrides: Check = (value, name) => {
  if (value === null || value === undefined) return;
  if (typeof value !== 'object' || value === null) throw new TypeError(`${where(name)} must be an object.`);
  for (const [key, size] of Object.entries(value)) {
    typed('number')(size, `${name}.${key}`);
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`${where(`${name}.${key}`)} is invalid: ${size}`);
  }
};

const externalData: Check = (value, name) => {
  if (value === null || value === undefined) return;
  if (!Array.isArray(value)) throw new TypeError(`${where(name)} must be an array.`);
  for (const entry of value) {
    if (typeof entry !== 'object' || entry === null) throw new TypeError(`${where(name)} value must be an object.`);
    const { path, data } = entry as { path?: unknown; data?: unknown };
    if (typeof path !== 'string') throw new TypeError(`${where(name)} value must have a 'path' of type string.`);
    if (!(data instanceof Uint8Array)) throw new TypeError(`${where(name)} value must have 'data' of type Uint8Array.`);
  }
};

const modelPath: Check = (value, name) => {
  typed('string')(value, name);
  if (value === '') return;
  const reason = 'the rewritten graph is not an ONNX model that could be written';
  throw new UnsupportedError(`${name}: ${reason}`, { option: name });
};

const sessionChecks: Readonly<Record<string, Check>> = {
  intraOpNumThreads: threads,
  interOpNumThreads: threads,
  freeDimensionOverrides: overrides,
  graphOptimizationLevel: oneOf('disabled', 'basic', 'extended', 'layout', 'all'),
  enableCpuMemArena: typed('boolean'),
  enableMemPattern: typed('boolean'),
  executionMode: oneOf('sequential', 'parallel'),
  optimizedModelFilePath: modelPath,
  logId: typed('string'),
  logSeverityLevel: severity,
  enableProfiling: typed('boolean'),
  extra,
  externalData,
};

const runChecks: Readonly<Record<string, Check>> = { logSeverityLevel: severity, tag: typed('string') };

function check(options: object, checks: Readonly<Record<string, Check>>, name: string): void {
  for (const [key, test] of Object.entries(checks)) {
    if (key in options) test((options as Record<string, unknown>)[key], `${name}.${key}`);
  }
}

const locations = ['cpu', 'cpu-pinned', 'texture', 'gpu-buffer', 'ml-tensor'];

/** Throws TypeError for options of a wrong type, RangeError for values out of range. Unknown options are ignored. */
export function checkSessionOptions(options: InferenceSession.SessionOptions): void {
  check(options, sessionChecks, 'sessionOptions');
  if (options.enableProfiling) {
    typed('string')(options.profileFilePrefix, 'sessionOptions.profileFilePrefix');
  }
}

/**
 * Checks `preferredOutputLocation`, which needs the names of the outputs. It is a preference: results are always on the
 * CPU, as those of onnxruntime-node's provider for it are.
 */
export function checkOutputLocation(wanted: unknown, outputs: readonly string[]): void {
  const name = 'preferredOutputLocation';
  if (wanted === undefined || wanted === null) return;
  if (typeof wanted !== 'string' && typeof wanted !== 'object') {
    throw new TypeError(`${where(name)} must be an object or a valid string.`);
  }
  for (const [output, location] of typeof wanted === 'string' ? [['', wanted]] : Object.entries(wanted)) {
    if (output && !outputs.includes(output)) throw new TypeError(`${where(`"${output}"`)} is not a valid output name.`);
    if (!locations.includes(location)) throw new TypeError(`${where(name)} must be a valid location, got ${location}.`);
  }
}

/** The same for the options of a run. */
export function checkRunOptions(options: InferenceSession.RunOptions): void {
  check(options, runChecks, 'runOptions');
}

/** What `extra: { filigree: { precision } }` asks for: this runtime's own settings go where others take theirs. */
export function precisionOf({ extra }: InferenceSession.SessionOptions): Precision {
  const own = (extra as { filigree?: { precision?: string } } | undefined)?.filigree?.precision ?? 'float32';
  if (own !== 'float32' && own !== 'bf16') {
    throw new RangeError(`${where('sessionOptions.extra.filigree.precision')} is not supported: ${own}`);
  }
  return own;
}

/**
 * Planned stages and packed weights on disk: a later process maps them instead of loading, rewriting, planning and
 * packing the model again.
 *
 * A folder for every model, machine and set of options holds `model.json` (inputs and outputs), a `stage-*.json` for
 * every combination of input shapes, and the packings as `blob-*.bin`, named by their contents and shared by the stages.
 * Files appear whole (written aside, then renamed) and carry checksums: what is damaged, stale or not this user's own is
 * passed over. Writers may meet: they write the same.
 */

import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Graph } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { FileOpener } from '../onnx/external-data.ts';
import { packageVersion } from '../package.ts';
import type { EncodedPlan } from '../plan/builder.ts';
import type { Stage } from '../plan/stage.ts';
import { inTurns } from './driver.ts';
import { thisMachine } from './machine.ts';
import { openModelFile } from './model-file.ts';
import { type NativeBlob, type NativePlan, native } from './native.ts';
import { describeModel, type StoredModel, stubOf } from './stored-model.ts';
import { restoredStage, type StoredConstant, type StoredStage, storedStage } from './stored-stage.ts';
import type { Weights } from './weights.ts';

/** A stage with its native plans, in the order of its sections. */
export interface RestoredStage {
  readonly stage: Stage;
  readonly plans: readonly NativePlan[];
}

/** Bytes of the model file that tell it from others, and how many such samples. */
const SAMPLE = 4096;
const SAMPLES = 64;

/** Options that plans depend on. */
export interface StoreOptions {
  readonly threads: number;
  readonly sparse: boolean;
  readonly optimization: string;
  readonly precision: string;
}

const sha256 = (...parts: (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** Size, time of change and samples of a file: two models that agree in all of them are the same. */
function fingerprint(path: string): string {
  const { size, mtimeMs } = statSync(path);
  const file = openModelFile(path);
  const at = (i: number): number => Math.floor((i * Math.max(0, size - SAMPLE)) / (SAMPLES - 1));
  const samples = Array.from({ length: SAMPLES }, (_, i) => file.read(at(i), Math.min(SAMPLE, size)));
  return sha256(`${size} ${mtimeMs}`, ...samples);
}

/** One level: on /proc the recursive form does not return. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function writeWhole(path: string, text: string): void {
  const aside = `${path}.${randomUUID()}`;
  writeFileSync(aside, text, { mode: 0o600 });
  renameSync(aside, path);
}

/** True for this user's own files that others cannot write: what they name is run as code. */
function isTrusted(path: string): boolean {
  const { uid, mode } = statSync(path);
  return uid === process.getuid?.() && (mode & 0o022) === 0;
}

/** A JSON file behind a line with its checksum; undefined where it cannot be read, trusted, or is not as it was written. */
function readChecked<T>(path: string): T | undefined {
  try {
    if (!isTrusted(path)) return undefined;
    const text = readFileSync(path, 'utf8');
    const end = text.indexOf('\n');
    const body = text.slice(end + 1);
    return text.slice(0, end) === sha256(body) ? (JSON.parse(body) as T) : undefined;
  } catch {
    return undefined;
  }
}

const checked = (content: object): string => {
  const body = JSON.stringify(content);
  return `${sha256(body)}\n${body}`;
};

/** The store of one model. */
export class StageStore {
  readonly #folder: string;
  readonly #path: string;
  /** Files that the model took its weights from, with size and time of change. */
  readonly #files = new Map<string, string>();
  readonly #blobs = new Map<string, NativeBlob>();
  #modelBytes: Uint8Array | undefined;
  #described = false;

  private constructor(folder: string, path: string) {
    this.#folder = folder;
    this.#path = path;
  }

  /** The store of the model at `path` under `root`; undefined where it cannot be had. */
  static open(root: string, path: string, options: StoreOptions): StageStore | undefined {
    // Of two processors with the same kernels one may be faster with bfloat16 and the other not.
    const { isa, jit, bf16, kernels } = thisMachine();
    const signatures = [...kernels].map(([name, { id }]) => `${id} ${name}`).join();
    const { optimization, sparse, threads, precision } = options;
    try {
      const setting = [packageVersion(), isa, jit, bf16, sparse, optimization, threads, precision, signatures].join(
        '|',
      );
      const folder = join(root, sha256(setting, fingerprint(path)).slice(0, 32));
      makeFolder(root);
      makeFolder(folder);
      return new StageStore(folder, path);
    } catch {
      // No such model, or no place to write: loading tells the first, and the second is no error.
      return undefined;
    }
  }

  /** Opens files as usual, and remembers them. */
  readonly opener: FileOpener = (path) => {
    const file = openModelFile(path);
    if (path === this.#path) this.#modelBytes = file.read(0, file.size);
    else this.#files.set(path, changeOf(path));
    return file;
  };

  /** The model as far as its store knows it: inputs and outputs, no nodes. */
  model(): Model | undefined {
    const stored = readChecked<StoredModel>(join(this.#folder, 'model.json'));
    if (!stored?.files.every(([path, change]) => existsSync(path) && changeOf(path) === change)) return undefined;
    this.#described = true;
    return stubOf(stored);
  }

  #stagePath(key: string): string {
    return join(this.#folder, `stage-${sha256(key).slice(0, 32)}.json`);
  }

  /** The stage kept under a key, in turns. */
  *restore(key: string, graph: Graph, weights: Weights): Generator<void, RestoredStage | undefined> {
    const stored = readChecked<StoredStage>(this.#stagePath(key));
    if (stored?.key !== key) return undefined;
    const plans: NativePlan[] = [];
    for (const section of stored.sections) {
      const blobs: NativeBlob[] = [];
      for (const constant of section.constants) {
        const blob = this.#blob(constant);
        yield;
        if (blob) blobs.push(blob);
        else break;
      }
      if (blobs.length < section.constants.length) {
        for (const plan of plans) weights.release(plan);
        return undefined;
      }
      const numbers = new Float64Array(new Uint8Array(Buffer.from(section.numbers, 'base64')).buffer);
      plans.push(weights.adopt(numbers, blobs));
    }
    return { stage: restoredStage(stored, graph), plans };
  }

  #blob(constant: StoredConstant): NativeBlob | undefined {
    if (constant.kind === 'inline') {
      return native().constant(new Uint8Array(Buffer.from(constant.content, 'base64')));
    }
    const key = JSON.stringify(constant);
    let blob = this.#blobs.get(key);
    if (!blob) {
      blob = constant.kind === 'model' ? this.#modelPart(constant) : this.#file(constant);
      if (blob) this.#blobs.set(key, blob);
    }
    return blob;
  }

  #modelPart({ offset, bytes, aligned }: Extract<StoredConstant, { kind: 'model' }>): NativeBlob {
    this.#modelBytes ??= openModelFile(this.#path).read(0, statSync(this.#path).size);
    const part = this.#modelBytes.subarray(offset, offset + bytes);
    if (aligned) return native().constant(part);
    const { isa, kernels } = thisMachine();
    return native().packSync(isa, kernels.get('pack.bytes')?.id as number, [part], Float64Array.of(bytes));
  }

  #file({ checksum, bytes, code }: Extract<StoredConstant, { kind: 'file' }>): NativeBlob | undefined {
    const path = this.#blobPath(checksum, bytes);
    const blob = native().storedBlob(path, bytes, checksum, code);
    // What is damaged makes room for what is written next.
    if (!blob) rmSync(path, { force: true });
    return blob ?? undefined;
  }

  #blobPath(checksum: string, bytes: number): string {
    return join(this.#folder, `blob-${checksum}-${bytes}.bin`);
  }

  /**
   * Keeps a stage, if its form allows; in the background, and never an error: a full disk costs the next start its
   * speed.
   */
  async save(key: string, model: Model, stage: Stage, weights: Weights): Promise<void> {
    try {
      const blobs = new Map<NativeBlob, string>();
      const partsOf = (plan: EncodedPlan) => {
        const parts = weights.partsOf(plan);
        return { numbers: parts.numbers, constant: (i: number) => this.#describe(parts.blobs[i], blobs) };
      };
      const facts = { modelBytes: this.#modelBytes, partsOf };
      const stored = await inTurns(storedStage(key, model.graph, stage, facts));
      if (!stored) return;
      for (const [blob, path] of blobs) if (!existsSync(path)) await this.#write(path, native().packingBytes(blob));
      writeWhole(this.#stagePath(key), checked(stored));
      if (!this.#described) writeWhole(join(this.#folder, 'model.json'), checked(describeModel(model, this.#files)));
      this.#described = true;
    } catch {
      // See above.
    }
  }

  async #write(path: string, bytes: Uint8Array): Promise<void> {
    const aside = `${path}.${randomUUID()}`;
    await writeFile(aside, bytes, { mode: 0o600 });
    await rename(aside, path);
  }

  #describe(blob: NativeBlob, blobs: Map<NativeBlob, string>): StoredConstant {
    const { checksum, code, bytes } = native().blobFacts(blob);
    blobs.set(blob, this.#blobPath(checksum, bytes));
    return { kind: 'file', checksum, bytes, code };
  }
}

function changeOf(path: string): string {
  const { size, mtimeMs } = statSync(path);
  return `${size} ${mtimeMs}`;
}

/** Loads a model from a file or from bytes. */

import { FiligreeError, ModelFormatError } from '../errors.ts';
import type { Model } from '../ir/model.ts';
import { finish } from '../ir/turns.ts';
import { inferringTypes } from '../ops/infer.ts';
import { decodingModel } from './decode.ts';
import { ExternalFiles, type FileOpener, openFile } from './external-data.ts';
import { importingModel } from './import.ts';

export interface LoadOptions {
  /** Opens files; the runtime maps them instead of copying. */
  readonly files?: FileOpener;
  /** External data of a model from bytes: contents by location. */
  readonly externalData?: ReadonlyMap<string, Uint8Array>;
}

/**
 * Loads a model: decoded, imported, every value typed. `source` is a path or the bytes of the file, which must not
 * change afterwards. Throws ModelFormatError, UnsupportedError (all nodes that cannot run) or MemoryError. A generator,
 * so that the caller may let others run between the steps.
 */
export function* loadingModel(source: string | Uint8Array, options: LoadOptions = {}): Generator<void, Model> {
  const files = options.files ?? openFile;
  const path = typeof source === 'string' ? source : undefined;
  const given = typeof source === 'string' ? readModelFile(source, files) : source;
  // Methods of a Buffer differ from those of its base class.
  const bytes = new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  const external = new ExternalFiles(path, files, options.externalData);
  yield;
  const proto = yield* decodingModel(bytes);
  yield;
  const model = yield* importingModel(proto, external.read);
  yield;
  yield* inferringTypes(model.graph);
  return model;
}

/** The same in one go. */
export function loadModel(source: string | Uint8Array, options: LoadOptions = {}): Model {
  return finish(loadingModel(source, options));
}

function readModelFile(path: string, files: FileOpener): Uint8Array {
  try {
    const file = files(path);
    return file.read(0, file.size);
  } catch (cause) {
    if (cause instanceof FiligreeError) throw cause;
    throw new ModelFormatError(
      `cannot read the model file "${path}": ${(cause as Error).message}`,
      { path },
      { cause },
    );
  }
}

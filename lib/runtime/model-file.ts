/** Model files as memory. */

import { statSync } from 'node:fs';
import { ModelFormatError, NativeLoadError } from '../errors.ts';
import { readWholeFile } from '../onnx/external-data.ts';
import { native } from './native.ts';

/** Smaller files are read: a mapping costs more. */
const MAP_FROM_BYTES = 2 ** 20;

/** A file's bytes; large files are mapped, so that nothing is copied and nothing read before it is used. */
export function openModelFile(path: string): ArrayBuffer {
  if (statSync(path).size < MAP_FROM_BYTES) return readWholeFile(path);
  try {
    return native().mapFile(path);
  } catch (cause) {
    if (cause instanceof NativeLoadError) return readWholeFile(path);
    throw new ModelFormatError(`cannot map the file: ${(cause as Error).message}`, { path }, { cause });
  }
}

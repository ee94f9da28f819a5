/** Model files as memory. */

import { statSync } from 'node:fs';
import { ModelFormatError, NativeLoadError } from '../errors.ts';
import { type FileBytes, fileOf, openFile } from '../onnx/external-data.ts';
import { native } from './native.ts';

/** Smaller files are read: a mapping costs more. */
const MAP_FROM_BYTES = 2 ** 20;

/** Opens a file; large ones are mapped, so that nothing is copied and nothing read before it is used. */
export function openModelFile(path: string): FileBytes {
  const { size } = statSync(path);
  if (size < MAP_FROM_BYTES) return openFile(path);
  try {
    return fileOf(size, (offset, bytes) => native().mapFile(path, offset, bytes));
  } catch (cause) {
    if (cause instanceof NativeLoadError) return openFile(path);
    throw new ModelFormatError(`cannot map the file: ${(cause as Error).message}`, { path }, { cause });
  }
}

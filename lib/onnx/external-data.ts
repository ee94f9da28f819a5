/** Tensors whose bytes lie in files beside the model. */

import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { MemoryError, ModelFormatError } from '../errors.ts';
import type { TensorProto } from './schema.ts';

/** Reads a whole regular file, or maps it. A buffer, because a view of one ends at 4 GiB. */
export type FileReader = (path: string) => ArrayBuffer;

/** Where a file's bytes lie. */
type FileBytes = Pick<Uint8Array, 'buffer' | 'byteOffset' | 'byteLength'>;

/** Most bytes of one read call. */
const READ_CHUNK = 2 ** 30;

/** Reads a regular file into memory; works beyond 2 GiB. */
export function readWholeFile(path: string): ArrayBuffer {
  const file = openSync(path, 'r');
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new ModelFormatError(`"${path}" is not a regular file`, { path });
    let bytes: ArrayBuffer;
    try {
      bytes = new ArrayBuffer(stat.size);
    } catch (cause) {
      throw new MemoryError(`no memory for the ${stat.size} bytes of "${path}"`, { path, bytes: stat.size }, { cause });
    }
    for (let at = 0; at < stat.size; ) {
      const chunk = new Uint8Array(bytes, at, Math.min(READ_CHUNK, stat.size - at));
      const got = readSync(file, chunk, 0, chunk.length, at);
      if (got === 0) throw new ModelFormatError(`"${path}" ended at byte ${at} of ${stat.size}`, { path });
      at += got;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** The external files of one model, each opened once. */
export class ExternalFiles {
  readonly #model: string | undefined;
  readonly #files: FileReader;
  readonly #given: ReadonlyMap<string, Uint8Array> | undefined;
  readonly #open = new Map<string, ArrayBuffer>();

  /** `model` is the model's path; undefined for a model from bytes, which may use only what is `given`. */
  constructor(model: string | undefined, files: FileReader, given: ReadonlyMap<string, Uint8Array> | undefined) {
    this.#model = model;
    this.#files = files;
    this.#given = given;
  }

  /** A view of the tensor's bytes. Throws ModelFormatError where location, offset or length do not fit. */
  readonly read = (proto: TensorProto, bytes: number): Uint8Array => {
    const what = `initializer "${proto.name}"`;
    const entries = new Map(proto.externalData.map(({ key, value }) => [key, value]));
    const location = entries.get('location');
    if (!location) throw new ModelFormatError(`${what}: external data without a location`, { tensor: proto.name });
    const offset = numberOf(entries.get('offset') ?? '0', 'offset', what);
    const length = entries.has('length') ? numberOf(entries.get('length') as string, 'length', what) : bytes;
    if (length !== bytes) {
      throw new ModelFormatError(`${what}: ${length} bytes of external data, its type and shape need ${bytes}`, {
        tensor: proto.name,
        expected: bytes,
        got: length,
      });
    }
    const file = this.#file(location, what);
    if (offset > file.byteLength || bytes > file.byteLength - offset) {
      throw new ModelFormatError(
        `${what}: bytes ${offset} to ${offset + bytes} of "${location}", which has ${file.byteLength}`,
        { tensor: proto.name, location, offset, bytes, size: file.byteLength },
      );
    }
    return new Uint8Array(file.buffer, file.byteOffset + offset, bytes);
  };

  #file(location: string, what: string): FileBytes {
    const given = this.#given?.get(location);
    if (given) return given;
    if (this.#model === undefined) {
      throw new ModelFormatError(
        `${what} lies in "${location}", but the model was given as bytes: give its external data as well`,
        { location },
      );
    }
    const buffer = this.#open.get(location) ?? this.#files(safePath(this.#model, location, what));
    this.#open.set(location, buffer);
    return { buffer, byteOffset: 0, byteLength: buffer.byteLength };
  }
}

/** A number of decimal digits; exact, or an error. */
function numberOf(text: string, field: string, what: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw new ModelFormatError(`${what}: external data has the ${field} "${text}", expected a byte count`, { field });
  }
  return value;
}

/**
 * The real path of a regular file, which must lie under the model's folder whatever links lead there. Where the model's
 * path is itself a link, as in caches that keep files by content, the folder it leads to counts as well.
 */
function safePath(model: string, location: string, what: string): string {
  const details = { location };
  const parts = location.split(/[\\/]/);
  if (isAbsolute(location) || /^[A-Za-z]:/.test(location) || parts.includes('..') || location.includes('\0')) {
    throw new ModelFormatError(
      `${what}: external data at "${location}", expected a path under the model's folder`,
      details,
    );
  }
  let roots: string[];
  let path: string;
  try {
    roots = [realpathSync(dirname(model)), dirname(realpathSync(model))];
    path = realpathSync(resolve(dirname(model), location));
  } catch (cause) {
    throw new ModelFormatError(`${what}: external data "${location}" cannot be read`, details, { cause });
  }
  if (!roots.some((root) => isInside(root, path))) {
    throw new ModelFormatError(`${what}: "${location}" is a link that leads out of the model's folder`, details);
  }
  if (!statSync(path).isFile()) {
    throw new ModelFormatError(`${what}: external data "${location}" is not a regular file`, details);
  }
  return path;
}

function isInside(root: string, path: string): boolean {
  const inside = relative(root, path);
  return inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside);
}

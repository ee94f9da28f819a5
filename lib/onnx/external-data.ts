/** Tensors whose bytes lie in files beside the model. */

import { closeSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { MemoryError, ModelFormatError } from '../errors.ts';
import type { TensorProto } from './schema.ts';

/** A file of which parts are read, or mapped. */
export interface FileBytes {
  readonly size: number;
  /** A view of a part, which must lie within the file. */
  read(offset: number, bytes: number): Uint8Array;
}

/** Opens a regular file. */
export type FileOpener = (path: string) => FileBytes;

/** Files up to this size are held in one piece; of larger ones, which may exceed what one buffer holds, the parts. */
const WHOLE_LIMIT = 2 ** 31;

/** Most bytes of one read call. */
const READ_CHUNK = 2 ** 30;

/** A file of which `load` brings in a part. */
export function fileOf(size: number, load: (offset: number, bytes: number) => ArrayBuffer): FileBytes {
  const whole = size <= WHOLE_LIMIT ? load(0, size) : undefined;
  const read = (offset: number, bytes: number): Uint8Array =>
    whole ? new Uint8Array(whole, offset, bytes) : new Uint8Array(load(offset, bytes));
  return { size, read };
}

/** Opens a regular file to be read into memory. */
export function openFile(path: string): FileBytes {
  const stat = statSync(path);
  if (!stat.isFile()) throw new ModelFormatError(`"${path}" is not a regular file`, { path });
  return fileOf(stat.size, (offset, bytes) => readPart(path, offset, bytes));
}

function readPart(path: string, offset: number, bytes: number): ArrayBuffer {
  const file = openSync(path, 'r');
  try {
    const part = new ArrayBuffer(bytes);
    for (let at = 0; at < bytes; ) {
      const chunk = new Uint8Array(part, at, Math.min(READ_CHUNK, bytes - at));
      const got = readSync(file, chunk, 0, chunk.length, offset + at);
      if (got === 0) throw new ModelFormatError(`"${path}" ended at byte ${offset + at}`, { path });
      at += got;
    }
    return part;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new MemoryError(`no memory for ${bytes} bytes of "${path}"`, { path, bytes }, { cause });
  } finally {
    closeSync(file);
  }
}

/** The external files of one model, each opened once. */
export class ExternalFiles {
  readonly #model: string | undefined;
  readonly #files: FileOpener;
  readonly #given: ReadonlyMap<string, Uint8Array> | undefined;
  readonly #open = new Map<string, FileBytes>();

  /** `model` is the model's path; undefined for a model from bytes, which may use only what is `given`. */
  constructor(model: string | undefined, files: FileOpener, given: ReadonlyMap<string, Uint8Array> | undefined) {
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
    if (offset > file.size || bytes > file.size - offset) {
      throw new ModelFormatError(
        `${what}: bytes ${offset} to ${offset + bytes} of "${location}", which has ${file.size}`,
        { tensor: proto.name, location, offset, bytes, size: file.size },
      );
    }
    return file.read(offset, bytes);
  };

  #file(location: string, what: string): FileBytes {
    const given = this.#given?.get(location);
    if (given) return { size: given.length, read: (offset, bytes) => given.subarray(offset, offset + bytes) };
    if (this.#model === undefined) {
      throw new ModelFormatError(
        `${what} lies in "${location}", but the model was given as bytes: give its external data as well`,
        { location },
      );
    }
    const file = this.#open.get(location) ?? this.#files(safePath(this.#model, location, what));
    this.#open.set(location, file);
    return file;
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

/** NumPy's .npy files of float32 and int64, row-major and little-endian. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';

const kinds = { '<f4': Float32Array, '<i8': BigInt64Array };

/** `{ dims, data }`. */
export function readNpy(path) {
  const bytes = readFileSync(path);
  if (bytes.toString('latin1', 0, 6) !== '\x93NUMPY') throw new Error(`${path} is not in NumPy's format`);
  const wide = bytes[6] >= 2;
  const end = wide ? 12 + bytes.readUInt32LE(8) : 10 + bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', wide ? 12 : 10, end);
  const [, kind] = /'descr': '([^']*)'/.exec(header) ?? [];
  const [, shape] = /'shape': \(([\d, ]*)\)/.exec(header) ?? [];
  if (!kinds[kind] || shape === undefined || header.includes("'fortran_order': True")) {
    throw new Error(`${path}: expected row-major numbers of ${Object.keys(kinds).join(' or ')}, got ${header.trim()}`);
  }
  const dims = shape
    .split(',')
    .filter((dim) => dim.trim())
    .map(Number);
  // A copy: typed arrays want an aligned start.
  return { dims, data: new kinds[kind](Uint8Array.from(bytes.subarray(end)).buffer) };
}

/** Writes under another name first: a file of this name is whole, whatever happens. */
export function writeNpy(path, { dims, data }) {
  const [kind] = Object.entries(kinds).find(([, type]) => data instanceof type);
  const text = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${dims.join(', ')}${dims.length === 1 ? ',' : ''}), }`;
  const header = Buffer.alloc(Math.ceil((11 + text.length) / 64) * 64, ' ');
  header.write(`\x93NUMPY\x01\x00`, 'latin1');
  header.writeUInt16LE(header.length - 10, 8);
  header.write(text, 10, 'latin1');
  header.write('\n', header.length - 1);
  writeFileSync(`${path}.part`, Buffer.concat([header, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
  renameSync(`${path}.part`, path);
}

/** Reading generated code out of packings. */

/** Code and weights of piece `index` of a packing: native/jit/sparse.h has the layout. */
export function readPiece(bytes: Uint8Array, index: number) {
  const view = new DataView(bytes.buffer);
  const [headerBytes, entryBytes] = [14 * 8, 56];
  const at = (k: number) => Number(view.getBigInt64(headerBytes + index * entryBytes + k * 8, true));
  const [first, code, end] = [at(0), at(1), at(2)];
  const hex = Buffer.from(bytes.subarray(code, end)).toString('hex');
  return { hex, weights: new Float32Array(bytes.slice(first, code).buffer) };
}

/** Joins a listing: an assembler's bytes and, after a semicolon, what they mean. */
export const listing = (text: string) => text.replace(/;.*$/gm, '').replace(/\s/g, '');

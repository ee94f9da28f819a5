/**
 * The protobuf wire format over bytes of any length.
 *
 * Reads what the schema asks for and nothing else: lengths and offsets are exact up to 2^53 (files beyond 2 GiB), 64-bit
 * integers keep all bits, byte fields are views. General protobuf readers stop at 2^31 bytes or round 64-bit integers.
 */

import { ModelFormatError } from '../errors.ts';

/** Wire types that ONNX uses; groups are only skipped. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const;

/** Nested messages allowed in one another: three for each nested control-flow body. */
export const MAX_MESSAGE_DEPTH = 256;

const TWO_32 = 2 ** 32;
const utf8 = new TextDecoder('utf-8');
const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/** Text of UTF-8 bytes; undefined where they are not UTF-8. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A cursor over the bytes of a message and the messages within it. */
export class WireReader {
  readonly bytes: Uint8Array;
  pos = 0;
  /** End of the message being read. */
  end: number;
  /** Halves of the last varint. */
  low = 0;
  high = 0;
  readonly #view: DataView;
  #depth = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.end = bytes.length;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** An error that names the byte. */
  error(message: string, at: number = this.pos): ModelFormatError {
    return new ModelFormatError(`byte ${at}: ${message}`, { offset: at });
  }

  /** Reads a varint of at most 64 bits into `low` and `high`. */
  varint(): void {
    const start = this.pos;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.pos >= this.end) throw this.error('the data end within a number', start);
      const byte = this.bytes[this.pos++];
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else if (bits > 1) break;
      else high |= bits << 31;
      if (byte < 128) {
        this.low = low;
        this.high = high;
        return;
      }
    }
    throw this.error('a number of more than 64 bits', start);
  }

  /** A signed 64-bit integer as a number: exact up to 2^53, else rounded. */
  int64(): number {
    this.varint();
    return this.high * TWO_32 + (this.low >>> 0);
  }
  int32(): number {
    this.varint();
    return this.low;
  }
  float32(): number {
    return this.#view.getFloat32(this.#take(4), true);
  }
  float64(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** The tag of the next field as field * 8 + wire type, or -1 at the end of the message. */
  tag(): number {
    if (this.pos >= this.end) return -1;
    const at = this.pos;
    this.varint();
    const tag = this.low >>> 0;
    if (this.high !== 0 || tag >>> 3 === 0) throw this.error('a field without a number: not protobuf', at);
    return tag;
  }

  /** A length prefix, checked against the enclosing message. */
  length(): number {
    const at = this.pos;
    this.varint();
    const length = (this.high >>> 0) * TWO_32 + (this.low >>> 0);
    if (length > this.end - this.pos) {
      throw this.error(`a field of ${length} bytes where ${this.end - this.pos} are left`, at);
    }
    return length;
  }

  /** A length-prefixed field as a view. */
  chunk(): Uint8Array {
    const length = this.length();
    const start = this.pos;
    this.pos += length;
    return this.bytes.subarray(start, this.pos);
  }

  /** A length-prefixed text; bytes that are not UTF-8 become replacement characters. */
  string(): string {
    const length = this.length();
    const start = this.pos;
    this.pos += length;
    if (length <= 48) {
      let text = '';
      let i = start;
      for (; i < this.pos && this.bytes[i] < 128; i++) text += String.fromCharCode(this.bytes[i]);
      if (i === this.pos) return text;
    }
    return utf8.decode(this.bytes.subarray(start, this.pos));
  }

  /** Runs `read` over the fields of a length-prefixed message. */
  message(read: () => void): void {
    const length = this.length();
    this.within(length, read);
  }

  /** Runs `read` with the next `length` bytes as the message, then steps behind them. */
  within(length: number, read: () => void): void {
    const outer = this.enter(length);
    read();
    this.leave(outer);
  }

  /** Makes the next `length` bytes the message; returns what {@link leave} takes. */
  enter(length: number): number {
    if (++this.#depth > MAX_MESSAGE_DEPTH) throw this.error(`messages nested deeper than ${MAX_MESSAGE_DEPTH}`);
    const outer = this.end;
    this.end = this.pos + length;
    return outer;
  }

  /** Steps behind the message, back to the one around it. */
  leave(outer: number): void {
    this.pos = this.end;
    this.end = outer;
    this.#depth--;
  }

  /** Steps over a field that the schema does not know. */
  skip(tag: number): void {
    const open: number[] = [];
    for (let at = tag; ; at = this.tag()) {
      const wire = at & 7;
      if (at === -1) throw this.error('the data end within a group');
      if (wire === WIRE.groupStart) open.push(at >>> 3);
      else if (wire === WIRE.groupEnd) {
        if (open.pop() !== at >>> 3) throw this.error('a group ends that was not begun');
      } else this.#skipScalar(wire);
      if (open.length === 0) return;
      if (open.length > MAX_MESSAGE_DEPTH) throw this.error(`groups nested deeper than ${MAX_MESSAGE_DEPTH}`);
    }
  }

  #skipScalar(wire: number): void {
    if (wire === WIRE.varint) this.varint();
    else if (wire === WIRE.fixed64) this.#take(8);
    else if (wire === WIRE.fixed32) this.#take(4);
    else if (wire === WIRE.bytes) this.chunk();
    else throw this.error(`wire type ${wire}: not protobuf`);
  }

  #take(bytes: number): number {
    const at = this.pos;
    if (bytes > this.end - at) throw this.error(`${bytes} bytes wanted where ${this.end - at} are left`);
    this.pos += bytes;
    return at;
  }

  /** Varints in the next `length` bytes; each ends with the one byte below 128. */
  countVarints(length: number): number {
    let count = 0;
    for (let i = this.pos; i < this.pos + length; i++) if (this.bytes[i] < 128) count++;
    return count;
  }
}

/** A list of 64-bit integers that grows while it is read. */
export class LongList {
  #words = new Int32Array(0);
  length = 0;

  /** Makes room for `count` more. */
  reserve(count: number): void {
    const need = (this.length + count) * 2;
    if (need <= this.#words.length) return;
    const grown = new Int32Array(Math.max(need, this.#words.length * 2));
    grown.set(this.#words);
    this.#words = grown;
  }

  push(low: number, high: number): void {
    this.reserve(1);
    this.#words[this.length * 2] = low;
    this.#words[this.length * 2 + 1] = high;
    this.length++;
  }

  /** The low halves, sign and all. */
  low(): Int32Array {
    return Int32Array.from({ length: this.length }, (_, i) => this.#words[i * 2]);
  }

  /** The integers; shares memory with the list. */
  signed(): BigInt64Array {
    return new BigInt64Array(this.#words.buffer, 0, this.length);
  }
}

/** Bytes of fixed-width numbers: one view where the file holds them in one piece, else gathered. */
export class ByteList {
  #bytes: Uint8Array = new Uint8Array(0);
  #owned = false;
  length = 0;

  append(chunk: Uint8Array): void {
    if (this.length === 0) {
      this.#bytes = chunk;
      this.#owned = false;
      this.length = chunk.length;
      return;
    }
    const need = this.length + chunk.length;
    if (!this.#owned || need > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(need, this.length * 2));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
      this.#owned = true;
    }
    this.#bytes.set(chunk, this.length);
    this.length = need;
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

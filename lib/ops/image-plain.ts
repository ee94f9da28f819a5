/** Decoders of the image formats that need no library: BMP and the portable anymaps. */

/** Pixels, row by row from the top, as red, green and blue. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** The most pixels that are decoded; a header that promises more is not believed. */
export const MAX_PIXELS = 2 ** 28;

function pixelsOf(width: number, height: number): Pixels {
  if (!(width > 0 && height > 0 && width * height <= MAX_PIXELS)) throw new RangeError('no sensible image size');
  return { width, height, rgb: new Uint8Array(width * height * 3) };
}

/** Position and width of a channel in a pixel of 16 or 32 bits, scaled to 8 bits. */
function channel(mask: number): (pixel: number) => number {
  if (mask === 0) return () => 0;
  let shift = 0;
  while (!((mask >>> shift) & 1)) shift++;
  const most = mask >>> shift;
  return (pixel) => Math.round((((pixel & mask) >>> shift) * 255) / most);
}

interface BmpHeader {
  readonly width: number;
  readonly height: number;
  readonly topDown: boolean;
  readonly bits: number;
  readonly start: number;
  /** Offset of the palette and bytes of its entries. */
  readonly palette: number;
  readonly entry: number;
  readonly masks: readonly [number, number, number];
}

function readBmpHeader(view: DataView): BmpHeader {
  const size = view.getUint32(14, true);
  const start = view.getUint32(10, true);
  if (size === 12) {
    const [width, height] = [view.getUint16(18, true), view.getUint16(20, true)];
    const bits = view.getUint16(24, true);
    return { width, height, topDown: false, bits, start, palette: 26, entry: 3, masks: [0, 0, 0] };
  }
  const height = view.getInt32(22, true);
  const bits = view.getUint16(28, true);
  const compression = view.getUint32(30, true);
  if (compression !== 0 && compression !== 3 && compression !== 6) throw new RangeError('a compressed bitmap');
  const masked = compression !== 0;
  const standard: [number, number, number] = bits === 16 ? [0x7c00, 0x3e0, 0x1f] : [0xff0000, 0xff00, 0xff];
  const masks: [number, number, number] = masked
    ? [view.getUint32(54, true), view.getUint32(58, true), view.getUint32(62, true)]
    : standard;
  const palette = 14 + size + (masked && size === 40 ? 12 : 0);
  const width = view.getInt32(18, true);
  return { width, height: Math.abs(height), topDown: height < 0, bits, start, palette, entry: 4, masks };
}

/** A Windows bitmap without compression. Throws a RangeError where the bytes are not one. */
export function decodeBmp(bytes: Uint8Array): Pixels {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const h = readBmpHeader(view);
  if (![1, 4, 8, 16, 24, 32].includes(h.bits)) throw new RangeError(`${h.bits} bits a pixel`);
  const stride = Math.ceil((h.width * h.bits) / 32) * 4;
  if (h.start + stride * h.height > bytes.length) throw new RangeError('the bitmap is cut off');
  const out = pixelsOf(h.width, h.height);
  const channels = h.masks.map(channel);
  for (let y = 0; y < h.height; y++) {
    const row = h.start + (h.topDown ? y : h.height - 1 - y) * stride;
    for (let x = 0; x < h.width; x++) {
      const to = (y * h.width + x) * 3;
      if (h.bits <= 8) {
        const per = 8 / h.bits;
        const index = (bytes[row + Math.floor(x / per)] >> ((per - 1 - (x % per)) * h.bits)) & (2 ** h.bits - 1);
        const at = h.palette + index * h.entry;
        for (let c = 0; c < 3; c++) out.rgb[to + c] = bytes[at + 2 - c];
      } else if (h.bits === 24) {
        for (let c = 0; c < 3; c++) out.rgb[to + c] = bytes[row + x * 3 + 2 - c];
      } else {
        const pixel = h.bits === 16 ? view.getUint16(row + x * 2, true) : view.getUint32(row + x * 4, true);
        for (let c = 0; c < 3; c++) out.rgb[to + c] = channels[c](pixel);
      }
    }
  }
  return out;
}

/** Reads the words of an anymap's header or of its plain pixels; comments run from # to the end of the line. */
class Words {
  readonly #bytes: Uint8Array;
  at = 2;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  skipSpace(): void {
    for (; this.at < this.#bytes.length; this.at++) {
      const byte = this.#bytes[this.at];
      if (byte === 35) while (this.at < this.#bytes.length && this.#bytes[this.at] !== 10) this.at++;
      else if (byte > 32) return;
    }
  }

  number(): number {
    this.skipSpace();
    let value = -1;
    for (; this.#bytes[this.at] >= 48 && this.#bytes[this.at] <= 57; this.at++) {
      value = Math.max(value, 0) * 10 + this.#bytes[this.at] - 48;
    }
    if (value < 0) throw new RangeError('a number is missing');
    return value;
  }

  /** One digit of a plain bitmap, which need not be separated. */
  digit(): number {
    this.skipSpace();
    const byte = this.#bytes[this.at++];
    if (byte !== 48 && byte !== 49) throw new RangeError('a bit is missing');
    return byte - 48;
  }
}

/** A portable bitmap, graymap or pixmap (P1 to P6). Throws a RangeError where the bytes are not one. */
export function decodePnm(bytes: Uint8Array): Pixels {
  const kind = bytes[1] - 48;
  if (!(kind >= 1 && kind <= 6)) throw new RangeError(`an anymap of kind ${kind}`);
  const words = new Words(bytes);
  const [width, height] = [words.number(), words.number()];
  const bitmap = kind === 1 || kind === 4;
  const most = bitmap ? 1 : words.number();
  if (!(most > 0 && most < 65536)) throw new RangeError(`a greatest value of ${most}`);
  const out = pixelsOf(width, height);
  const channels = kind === 3 || kind === 6 ? 3 : 1;
  const wide = most > 255 ? 2 : 1;
  const start = words.at + 1;
  const rowBytes = Math.ceil(width / 8);
  const needed = kind < 4 ? 0 : kind === 4 ? rowBytes * height : width * height * channels * wide;
  if (needed && start + needed > bytes.length) throw new RangeError('the anymap is cut off');
  const sample = (i: number): number => {
    if (kind === 1) return 1 - words.digit();
    if (kind < 4) return words.number();
    if (kind === 4) {
      const [x, y] = [i % width, Math.floor(i / width)];
      return 1 - ((bytes[start + y * rowBytes + (x >> 3)] >> (7 - (x & 7))) & 1);
    }
    return wide === 1 ? bytes[start + i] : bytes[start + 2 * i] * 256 + bytes[start + 2 * i + 1];
  };
  for (let i = 0; i < width * height * channels; i++) {
    const value = Math.round((sample(i) * 255) / most);
    if (channels === 3) out.rgb[i] = value;
    else out.rgb.fill(value, i * 3, i * 3 + 3);
  }
  return out;
}

/** Image formats by their first bytes, and the libraries that decode them: optional packages, loaded on first use. */

import { readFileSync } from 'node:fs';
import { UnsupportedError } from '../errors.ts';
import { packageRequire } from '../package.ts';
import { decodeBmp, decodePnm, MAX_PIXELS, type Pixels } from './image-plain.ts';

/** Pixels with an opacity, as most libraries give them. */
interface Rgba {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

interface Tiff {
  decode(bytes: Uint8Array): (Rgba & object)[];
  decodeImage(bytes: Uint8Array, page: object): void;
  toRGBA8(page: object): Uint8Array;
}

interface J2kDecoder {
  getEncodedBuffer(length: number): Uint8Array;
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number; isSigned: boolean };
  decode(): void;
  delete(): void;
}

interface OpenJpeg {
  J2KDecoder?: new () => J2kDecoder;
  print?: () => void;
  printErr?: () => void;
  instantiateWasm?: (imports: object, receive: (instance: WasmInstance) => void) => object;
}

interface WasmInstance {
  readonly exports: object;
}

/** What is used of the WebAssembly global, which the type library has only for browsers. */
const wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly;
interface Wasm {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => WasmInstance;
}

/** Loads an optional package; throws where it is not installed. */
function load<T>(name: string, format: string): T {
  try {
    return packageRequire(name) as T;
  } catch (cause) {
    const [scope, rest] = name.split('/');
    const packageName = scope.startsWith('@') ? `${scope}/${rest}` : scope;
    const message = `decoding ${format} images needs the package ${packageName}: npm install ${packageName}`;
    throw new UnsupportedError(message, { package: packageName }, { cause });
  }
}

function fromRgba({ width, height, data }: Rgba): Pixels {
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) rgb.set(data.subarray(4 * i, 4 * i + 3), 3 * i);
  return { width, height, rgb };
}

function decodePng(bytes: Uint8Array): Pixels {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(16) * view.getUint32(20) > MAX_PIXELS) throw new RangeError('no sensible image size');
  const { PNG } = load<{ PNG: { sync: { read(bytes: Buffer): Rgba } } }>('pngjs', 'PNG');
  return fromRgba(PNG.sync.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
}

function decodeTiff(bytes: Uint8Array): Pixels {
  const tiff = load<Tiff>('utif2', 'TIFF');
  const copy = bytes.slice();
  const [page] = tiff.decode(copy);
  if (!page) throw new RangeError('no image in the file');
  tiff.decodeImage(copy, page);
  if (page.width * page.height > MAX_PIXELS) throw new RangeError('no sensible image size');
  return fromRgba({ width: page.width, height: page.height, data: tiff.toRGBA8(page) });
}

/** A library of one function on bytes. */
function simple(name: string, format: string): (bytes: Uint8Array) => Pixels {
  return (bytes) => fromRgba(load<{ decode(bytes: Uint8Array): Rgba }>(name, format).decode(bytes));
}

let openJpeg: OpenJpeg | undefined;

/** OpenJPEG, instantiated at once: its own loader would have to be awaited. */
function loadOpenJpeg(): Required<Pick<OpenJpeg, 'J2KDecoder'>> {
  if (!openJpeg) {
    const name = '@cornerstonejs/codec-openjpeg';
    const make = load<(options: OpenJpeg) => unknown>(`${name}/decodewasmjs`, 'JPEG 2000');
    const code = new wasm.Module(readFileSync(packageRequire.resolve(`${name}/decodewasm`)));
    openJpeg = {
      print: () => {},
      printErr: () => {},
      instantiateWasm: (imports, receive) => {
        const instance = new wasm.Instance(code, imports);
        receive(instance);
        return instance.exports;
      },
    };
    make(openJpeg);
  }
  if (!openJpeg.J2KDecoder) throw new UnsupportedError('the JPEG 2000 library has no decoder');
  return { J2KDecoder: openJpeg.J2KDecoder };
}

function decodeJpeg2000(bytes: Uint8Array): Pixels {
  const { J2KDecoder } = loadOpenJpeg();
  const decoder = new J2KDecoder();
  try {
    decoder.getEncodedBuffer(bytes.length).set(bytes);
    decoder.decode();
    const { width, height, bitsPerSample, componentCount, isSigned } = decoder.getFrameInfo();
    const data = decoder.getDecodedBuffer();
    const plain = bitsPerSample <= 8 && !isSigned && data.length === width * height * componentCount;
    if (!plain || width * height === 0) throw new RangeError(`${componentCount} components of ${bitsPerSample} bits`);
    const rgb = new Uint8Array(width * height * 3);
    const scale = 255 / (2 ** bitsPerSample - 1);
    for (let i = 0; i < rgb.length; i++) {
      const c = componentCount < 3 ? 0 : i % 3;
      rgb[i] = Math.round(data[Math.floor(i / 3) * componentCount + c] * scale);
    }
    return { width, height, rgb };
  } finally {
    decoder.delete();
  }
}

interface Format {
  /** Whether the first bytes are this format's. */
  readonly begins: (text: string) => boolean;
  readonly decode: (bytes: Uint8Array) => Pixels;
}

const formats: readonly Format[] = [
  { begins: (text) => text.startsWith('\xff\xd8\xff'), decode: simple('@cwasm/jpeg-turbo', 'JPEG') },
  { begins: (text) => text.startsWith('\x89PNG\r\n\x1a\n'), decode: decodePng },
  { begins: (text) => text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP', decode: simple('@cwasm/webp', 'WebP') },
  { begins: (text) => text.startsWith('BM'), decode: decodeBmp },
  { begins: (text) => text.startsWith('II*\0') || text.startsWith('MM\0*'), decode: decodeTiff },
  { begins: (text) => text.slice(4, 8) === 'jP  ' || text.startsWith('\xff\x4f\xff\x51'), decode: decodeJpeg2000 },
  { begins: (text) => /^P[1-6]\s/.test(text), decode: decodePnm },
];

/** Decodes an image, or gives undefined where the bytes are none that can be decoded. */
export function decodeImage(bytes: Uint8Array): Pixels | undefined {
  const text = String.fromCharCode(...bytes.subarray(0, 12));
  const format = formats.find(({ begins }) => begins(text));
  try {
    return format?.decode(bytes);
  } catch (error) {
    if (error instanceof UnsupportedError) throw error;
    return undefined;
  }
}

/** The embedded network and its test images, for the other examples. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

/** Takes `image`, float32 [N,1,28,28] in 0..1; gives `scores`, float32 [N,10]. */
export const modelPath = fileURLToPath(new URL('digits.onnx', import.meta.url));

/** `{ count, image(i): Float32Array of 28 * 28, label(i) }`. */
export function readDigits() {
  const bytes = gunzipSync(readFileSync(new URL('test-images.bin.gz', import.meta.url)));
  const [count, rows, columns] = [0, 4, 8].map((at) => bytes.readUInt32LE(at));
  const pixels = rows * columns;
  return {
    count,
    image: (i) => Float32Array.from(bytes.subarray(12 + i * pixels, 12 + (i + 1) * pixels), (p) => p / 255),
    label: (i) => bytes[12 + count * pixels + i],
  };
}

/** The digit with the largest score. */
export const digitOf = (scores) => scores.indexOf(Math.max(...scores));

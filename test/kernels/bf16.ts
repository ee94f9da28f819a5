/** bfloat16 as products see it, and the instruction sets that have such products. */

import { native } from '../../lib/runtime/native.ts';
import { isas } from './harness.ts';

/** The instruction sets of this machine with products of bfloat16. */
export const bf16Isas: readonly string[] = isas.filter((isa) =>
  native()
    .kernels(isa)
    .some(({ name }) => name === 'matmul.bf16'),
);

/** Values rounded to bfloat16, to nearest even; denormal ones become zeros. */
export function roundToBf16(values: Float32Array): Float32Array {
  const words = new Uint32Array(values.buffer.slice(values.byteOffset, values.byteOffset + values.byteLength));
  const rounded = words.map((bits) => {
    const magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return bits | 0x00400000;
    return magnitude < 0x00800000 ? 0 : (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  });
  return new Float32Array(rounded.buffer);
}

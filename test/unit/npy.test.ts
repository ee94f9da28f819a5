import { describe, expect, test } from 'vitest';
import { ModelFormatError, UnsupportedError } from '../../lib/errors.ts';
import { fromNumbers, packed, toParts } from '../../lib/ir/tensor.ts';
import { decodeNpy, encodeNpy } from '../../lib/onnx/npy.ts';

const header = (text: string, content: ArrayLike<number>, version = 1): Uint8Array => {
  const padded = `${text}\n`;
  const length =
    version === 1 ? [padded.length & 255, padded.length >> 8] : [padded.length & 255, padded.length >> 8, 0, 0];
  const codes = Array.from(padded, (c) => c.charCodeAt(0));
  return Uint8Array.from([
    0x93,
    ...Array.from('NUMPY', (c) => c.charCodeAt(0)),
    version,
    0,
    ...length,
    ...codes,
    ...Array.from(content),
  ]);
};
const dict = (descr: string, order: string, shape: string): string =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`;

describe('npy files', () => {
  test.each([
    ...(['float32', 'float64', 'float16', 'int8', 'int16', 'int32', 'int64'] as const),
    ...(['uint8', 'uint16', 'uint32', 'uint64', 'bool'] as const),
  ])('%s comes back', (dtype) => {
    for (const dims of [[], [0], [3], [2, 3]]) {
      const count = dims.reduce((a, b) => a * b, 1);
      const values = Array.from({ length: count }, (_, i) => (dtype === 'bool' ? i % 2 : i + 1));
      const t = fromNumbers(dtype, dims, values);
      const file = encodeNpy(t);
      expect((file.length - count * (t.data as Uint8Array).BYTES_PER_ELEMENT) % 64).toBe(0);
      expect(decodeNpy(file)).toEqual(t);
    }
  });

  test('complex numbers, column-major order, big-endian numbers, version 2 headers', () => {
    const complex = fromNumbers('complex64', [2], [1, 2, 3, 4]);
    expect(decodeNpy(encodeNpy(complex))).toEqual(complex);
    const columns = decodeNpy(header(dict('|u1', 'True', '(2, 3)'), [1, 4, 2, 5, 3, 6]));
    expect([...toParts(columns)]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...toParts(decodeNpy(header(dict('>i2', 'False', '(2,)'), [1, 2, 0xff, 0xfe])))]).toEqual([258, -2]);
    const swapped = header(dict('>c8', 'False', '()'), [0x3f, 0x80, 0, 0, 0x40, 0, 0, 0]);
    expect([...toParts(decodeNpy(swapped))]).toEqual([1, 2]);
    expect([...toParts(decodeNpy(header(dict('<u2', 'False', '(1,)'), [3, 0], 2)))]).toEqual([3]);
  });

  test('types that NumPy lacks are widened', () => {
    expect(decodeNpy(encodeNpy(fromNumbers('bfloat16', [2], [1, -0.5])))).toEqual(
      fromNumbers('float32', [2], [1, -0.5]),
    );
    expect(decodeNpy(encodeNpy(packed('int4', [3], Int8Array.of(-8, 7, 1))))).toEqual(
      fromNumbers('int8', [3], [-8, 7, 1]),
    );
    expect(() => encodeNpy({ kind: 'tensor', dtype: 'string', dims: [0], data: [] })).toThrow(UnsupportedError);
  });

  test('damaged files are refused', () => {
    expect(() => decodeNpy(Uint8Array.of(1, 2, 3))).toThrow(ModelFormatError);
    expect(() => decodeNpy(header(dict('<f4', 'False', '(3,)'), [0, 0, 0, 0]))).toThrow('needs 12 bytes, got 4');
    expect(() => decodeNpy(header(dict('<f4', 'False', '(99999999999, 99999999999)'), []))).toThrow('more elements');
    expect(() => decodeNpy(header(dict('|O', 'False', '(1,)'), []))).toThrow(UnsupportedError);
    expect(() => decodeNpy(header("{'descr': '<f4'}", []))).toThrow('incomplete');
    expect(() => decodeNpy(header(dict('<f4', 'False', '()'), []).slice(0, 20))).toThrow('its header has');
  });
});

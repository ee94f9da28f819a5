import { expect, test } from 'vitest';
import { type DType, dtypeInfo } from '../../lib/ir/dtype.ts';
import { decodedFloats, floatDecoder, floatEncoder } from '../../lib/ir/float.ts';

const types: DType[] = ['float16', 'bfloat16', 'float8e4m3fn', 'float8e4m3fnuz', 'float8e5m2', 'float8e5m2fnuz'];

test.each(types)('%s: every value is kept, what lies between goes to the nearer one, ties to even', (dtype) => {
  const decode = floatDecoder(dtype)!;
  const encode = floatEncoder(dtype, false)!;
  const half = 2 ** (dtypeInfo(dtype).bits - 1);
  let previous = 0;
  let wrong = 0;
  for (let bits = 1; bits < half; bits++) {
    const value = decode(bits);
    if (!Number.isFinite(value)) break;
    const lower = decode(previous);
    const middle = (lower + value) / 2;
    const even = bits % 2 === 0 ? bits : previous;
    // Next to the middle, as far as bfloat16's way through float32 can tell apart.
    const nudge = (value - lower) / 64;
    const checks = [
      [value, bits],
      [middle, even],
      [middle - nudge, previous],
      [middle + nudge, bits],
    ];
    for (const [number, want] of checks) {
      if (encode(number) !== want) wrong++;
      const negative = want === 0 && dtype.endsWith('fnuz') ? 0 : want + half;
      if (encode(-number) !== negative) wrong++;
    }
    previous = bits;
  }
  expect(wrong).toBe(0);
});

test('values beyond the largest become infinite, NaN, or the largest', () => {
  const value = (dtype: DType, x: number, saturate: boolean) => floatDecoder(dtype)!(floatEncoder(dtype, saturate)!(x));
  expect(value('float16', 65519, false)).toBe(65504);
  expect(value('float16', 65520, false)).toBe(Infinity);
  expect(value('float8e4m3fn', 464, false)).toBe(448);
  expect(value('float8e4m3fn', 465, false)).toBeNaN();
  expect(value('float8e4m3fn', -1e300, true)).toBe(-448);
  expect(value('float8e5m2', -1e300, false)).toBe(-Infinity);
  expect(value('float8e5m2fnuz', 1e300, true)).toBe(57344);
  expect(value('float16', 5e-324, false)).toBe(0);
});

test.each(['float16', 'bfloat16'] as const)('%s: whole arrays become what single values do', (dtype) => {
  const decode = floatDecoder(dtype)!;
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  expect(decodedFloats(dtype, bits)).toEqual(Float32Array.from(bits, (each) => decode(each)));
  expect(decodedFloats(dtype, new Uint16Array(0))).toEqual(new Float32Array(0));
});

import { expect, test } from 'vitest';
import type { DType } from '../../lib/ir/dtype.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';

interface Case {
  readonly rows: number;
  readonly n: number;
  readonly k: number;
  readonly bits?: number;
  readonly block?: number;
  /** Zero points: packed like the weights, or floats. */
  readonly zeros?: boolean | 'float';
  readonly bias?: boolean;
  readonly level?: number;
  readonly type?: DType;
}

const bytes = (dims: readonly number[], seed: number): HostTensor =>
  fromNumbers(
    'uint8',
    dims,
    random(sizeOf(dims), seed).map((x) => Math.floor((x + 1) * 128)),
  );
const floats = (type: DType, dims: readonly number[], seed: number, factor = 1): HostTensor =>
  fromNumbers(
    type,
    dims,
    random(sizeOf(dims), seed).map((x) => x * factor),
  );

function product({ rows, n, k, bits = 4, block = 16, zeros, bias, level = 0, type = 'float32' }: Case): LoweredCase {
  const blocks = Math.ceil(k / block);
  const points = (): HostTensor =>
    zeros === 'float' ? floats(type, [n, blocks], 4, 2 ** bits) : bytes([n * Math.ceil((blocks * bits) / 8)], 4);
  return {
    op: 'MatMulNBits',
    domain: 'com.microsoft',
    version: 1,
    inputs: [
      floats(type, [1, rows, k], 1),
      bytes([n, blocks, (block * bits) / 8], 2),
      floats(type, [n * blocks], 3, 0.5 ** bits),
      zeros ? points() : null,
      null,
      bias ? floats(type, [n], 5) : null,
    ],
    attributes: { N: n, K: k, bits, block_size: block, accuracy_level: level },
    constant: [1, 2, 3, 5],
    bound: type === 'float32' ? 1e-5 : undefined,
  };
}

test('MatMulNBits', () => {
  for (const rows of [1, 2, 3, 4, 5, 7, 8, 9, 17]) checkLowered(product({ rows, n: 35, k: 48, zeros: rows % 2 > 0 }));
  for (const n of [1, 4, 8, 15, 16, 17, 31, 32, 33, 70]) checkLowered(product({ rows: 1, n, k: 33, bias: true }));
  for (const k of [1, 7, 8, 9, 15, 16, 17, 31, 64]) {
    checkLowered(product({ rows: 2, n: 20, k, zeros: true }));
    checkLowered(product({ rows: 1, n: 20, k, bits: 8, block: 32, zeros: true }));
    checkLowered(product({ rows: 3, n: 20, k, bits: 8, zeros: true, bias: true }));
  }
  checkLowered(product({ rows: 1, n: 40, k: 256, block: 128, level: 1 }));
  checkLowered(product({ rows: 3, n: 40, k: 50, bits: 2, zeros: true }));
});

test('float zero points and half precision', () => {
  for (const bits of [4, 8]) checkLowered(product({ rows: 2, n: 20, k: 40, bits, zeros: 'float' }));
  for (const type of ['float16', 'bfloat16'] as const) {
    checkLowered(product({ rows: 3, n: 20, k: 40, zeros: true, bias: true, type }));
    checkLowered(product({ rows: 1, n: 20, k: 40, zeros: 'float', type }));
    checkLowered(product({ rows: 1, n: 20, k: 40, level: 4, type }));
  }
});

test('level 4 rounds its input', () => {
  const level = 4;
  for (const rows of [1, 2, 3, 4, 5, 7, 8, 9, 17])
    checkLowered(product({ rows, n: 35, k: 50, level, zeros: rows % 2 > 0 }));
  for (const n of [1, 8, 16, 17, 31, 33]) checkLowered(product({ rows: 1, n, k: 33, bias: true, level }));
  for (const bits of [2, 4, 8]) {
    checkLowered(product({ rows: 1, n: 40, k: 130, bits, block: 64, level }));
    checkLowered(product({ rows: 2, n: 40, k: 20, bits, zeros: 'float', level }));
  }
  const [plain, rounded] = [0, 4].map((l) => runLowered(product({ rows: 1, n: 40, k: 50, level: l })).results[0]);
  expect(rounded).not.toEqual(plain);
});

interface Table {
  readonly dims: readonly number[];
  readonly type?: 'uint8' | 'int4' | 'uint4';
  readonly bits?: number;
  readonly zeros?: boolean;
  readonly scaleType?: DType;
  readonly axis?: number;
}

/** Rows of a table of these real dimensions, blocks of 16 along its last axis. */
function gather({ dims, type = 'uint8', bits = 4, zeros, scaleType = 'float32', axis = 0 }: Table): LoweredCase {
  const lead = dims.slice(0, -1);
  const last = dims.at(-1) as number;
  const blocks = Math.ceil(last / 16);
  const parts = type === 'uint8' ? 8 / bits : 1;
  const fields = (columns: number, seed: number): HostTensor => {
    const shape = [...lead, Math.ceil(columns / parts)];
    if (type === 'uint8') return bytes(shape, seed);
    const least = type === 'int4' ? -8 : 0;
    return fromNumbers(
      type,
      shape,
      random(sizeOf(shape), seed).map((v) => Math.floor((v + 1) * 8) + least),
    );
  };
  const indices = fromNumbers('int64', [2, 2], [1, 0, -1, dims[0]]);
  return {
    op: 'GatherBlockQuantized',
    domain: 'com.microsoft',
    version: 1,
    inputs: [fields(last, 1), indices, floats(scaleType, [...lead, blocks], 3), zeros ? fields(blocks, 4) : null],
    attributes: { bits, block_size: 16, gather_axis: axis, quantize_axis: dims.length - 1 },
    constant: [0, 2, 3],
    bound: 1e-6,
  };
}

test('GatherBlockQuantized', () => {
  for (const bits of [2, 4, 8]) {
    for (const zeros of [false, true]) checkLowered(gather({ dims: [3, 40], bits, zeros }));
  }
  for (const type of ['int4', 'uint4'] as const) {
    for (const zeros of [false, true]) checkLowered(gather({ dims: [3, 40], type, zeros }));
  }
  checkLowered({ ...gather({ dims: [3, 2, 34], zeros: true, scaleType: 'float16' }), bound: 1e-3 });
  expect(runLowered(gather({ dims: [3, 2, 32], axis: 1 })).reasons).toEqual(['blocks along another axis']);
});

test('MatMulBnb4', () => {
  const bnb4 = (n: number, k: number, block: number, attributes: object, type: DType = 'float32'): LoweredCase => ({
    op: 'MatMulBnb4',
    domain: 'com.microsoft',
    version: 1,
    inputs: [
      floats(type, [2, 1, k], 1),
      bytes([Math.ceil((n * k) / 2)], 2),
      floats(type, [Math.ceil((n * k) / block)], 3),
    ],
    attributes: { N: n, K: k, block_size: block, quant_type: 1, ...attributes },
    constant: [1, 2],
    bound: type === 'float32' ? 1e-5 : undefined,
  });
  for (const quant_type of [0, 1]) {
    checkLowered(bnb4(35, 32, 16, { quant_type }));
    checkLowered(bnb4(20, 128, 64, { quant_type }, 'float16'));
    const many = bnb4(35, 160, 32, { quant_type });
    checkLowered({ ...many, inputs: [floats('float32', [40, 160], 1), ...many.inputs.slice(1)] });
  }
  expect(runLowered(bnb4(32, 16, 32, {})).reasons).toEqual(['blocks that are no parts of rows']);
  expect(runLowered(bnb4(4, 16, 16, { transB: 0 })).reasons).toEqual(['weights that are not transposed']);
});

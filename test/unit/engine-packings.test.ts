import { expect, test } from 'vitest';
import { encodeParams } from '../../lib/plan/kernel.ts';
import { native } from '../../lib/runtime/native.ts';
import { random } from '../kernels/harness.ts';

const engine = native();
const isa = engine.isa();
const kernels = engine.kernels(isa);
const packer = kernels.findIndex((kernel) => kernel.name === 'pack.matmul.f32');

const numbers = (depth: number, columns: number) =>
  encodeParams(kernels[packer]!, { depth, columns, transposed: 0, type: 1 });

test.each([
  [16, 64],
  [512, 1024],
])('packings of %i x %i made on the pool, on this thread and for kernel tests are the same', async (depth, columns) => {
  const all = Array.from({ length: 8 }, (_, seed) => random(depth * columns, seed + 1));
  const made = await Promise.all(all.map((weights) => engine.pack(isa, packer, [weights], numbers(depth, columns))));
  for (const [i, weights] of all.entries()) {
    const expected = engine.packingBytes(engine.runPacker(isa, 'pack.matmul.f32', [weights], numbers(depth, columns)));
    expect(engine.blobBytes(made[i]!)).toBe(expected.length);
    expect(Buffer.compare(engine.packingBytes(made[i]!), expected)).toBe(0);
    const constant = engine.constant(weights);
    const here = engine.packSync(isa, packer, [constant], numbers(depth, columns));
    expect(Buffer.compare(engine.packingBytes(here), expected)).toBe(0);
  }
});

test('a small source may be transferred while it is packed', async () => {
  const weights = new Float32Array(random(16 * 64));
  const expected = engine.packingBytes(engine.packSync(isa, packer, [weights], numbers(16, 64)));
  const promise = engine.pack(isa, packer, [weights], numbers(16, 64));
  structuredClone(weights, { transfer: [weights.buffer] });
  expect(Buffer.compare(engine.packingBytes(await promise), expected)).toBe(0);
});

test('wrong arguments', async () => {
  const weights = random(64);
  const copy = kernels.findIndex((kernel) => kernel.name === 'copy.bytes');
  expect(() => engine.pack(isa, -1, [weights], numbers(8, 8))).toThrow(/no such kernel/);
  expect(() => engine.pack(isa, 1e9, [weights], numbers(8, 8))).toThrow(/no such kernel/);
  expect(() => engine.pack(isa, copy, [weights], numbers(8, 8))).toThrow(/copy.bytes is not a packer/);
  expect(() => engine.pack(isa, packer, [], numbers(8, 8))).toThrow(/takes 1 sources/);
  expect(() => engine.pack(isa, packer, [null], numbers(8, 8))).toThrow(/source weights is missing/);
  expect(() => engine.pack(isa, packer, [weights], new Float64Array(1))).toThrow(/fewer parameters/);
  await expect(engine.pack(isa, packer, [weights], numbers(8, 9))).rejects.toThrow(/pack.matmul.f32/);
  expect(() => engine.packSync(isa, packer, [weights], numbers(2 ** 30, 2 ** 30))).toThrow(/pack.matmul.f32/);
});

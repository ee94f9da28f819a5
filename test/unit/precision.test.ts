import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { runCommand } from '../../lib/cli/command.ts';
import { inspectCommand } from '../../lib/cli/inspect.ts';
import { Session, type SessionOptions, Tensor } from '../../lib/index.ts';
import { thisMachine } from '../../lib/runtime/machine.ts';
import { random } from '../kernels/harness.ts';
import { attribute, model, node, port, rawTensor } from '../models/onnx-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'precision-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const weights = (name: string, dims: number[], seed: number) => {
  const count = dims.reduce((a, b) => a * b, 1);
  const scale = 1 / Math.sqrt(count / (dims.length === 2 ? dims[1]! : dims[0]!));
  return rawTensor(
    name,
    'float32',
    dims,
    random(count, seed).map((v) => v * scale),
  );
};

/** Convolutions with and without a residual, a linear layer and a product of two computed matrices. */
const path = join(folder, 'model.onnx');
writeFileSync(
  path,
  model({
    nodes: [
      node('Conv', ['x', 'w'], ['c'], { attributes: [attribute.ints('pads', [1, 1, 1, 1])] }),
      node('Relu', ['c'], ['r']),
      node('Conv', ['r', 'v'], ['d']),
      node('Add', ['d', 'x'], ['s']),
      node('Reshape', ['s', 'shape'], ['rows']),
      node('MatMul', ['rows', 'm'], ['l']),
      node('Transpose', ['l'], ['t'], { attributes: [attribute.ints('perm', [0, 2, 1])] }),
      node('MatMul', ['l', 't'], ['y']),
    ],
    inputs: [port('x', 'float32', ['n', 20, 'h', 'w'])],
    outputs: [port('s', 'float32'), port('l', 'float32'), port('y', 'float32')],
    initializers: [
      weights('w', [24, 20, 3, 3], 1),
      weights('v', [20, 24, 1, 1], 2),
      weights('m', [81, 30], 3),
      rawTensor('shape', 'int64', [3], BigInt64Array.of(0n, 20n, -1n)),
    ],
  }),
);

const x = new Tensor('float32', random(2 * 20 * 81, 5), [2, 20, 9, 9]);

async function results(options: SessionOptions): Promise<Float32Array[]> {
  await using session = await Session.load(path, options);
  return Object.values(await session.run({ x })).map((value) => (value as Tensor).data as Float32Array);
}

/** Largest difference over the largest magnitude. */
function distance(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  const worst = a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);
  return worst / b.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
}

const has = thisMachine().bf16;

describe('precision bf16', () => {
  test.skipIf(!has)('rounds what products multiply, and nothing else', async () => {
    const [exact, rounded] = [await results({}), await results({ precision: 'bf16' })];
    for (const [i, values] of rounded.entries()) {
      // Three roundings to 8 bits at most lie between the input and any output.
      expect(distance(values, exact[i]!)).toBeLessThan(0.02);
      expect(distance(values, exact[i]!)).toBeGreaterThan(1e-5);
    }
  });

  test.skipIf(!has)('is the same for any number of threads and in parts of a batch', async () => {
    const whole = await results({ precision: 'bf16', threads: 1 });
    for (const threads of [2, 3]) {
      const shared = await results({ precision: 'bf16', threads });
      for (const [i, values] of shared.entries()) expect(distance(values, whole[i]!)).toBeLessThan(1e-6);
    }
  });

  test.skipIf(has)('changes nothing without such products', async () => {
    expect(await results({ precision: 'bf16' })).toEqual(await results({}));
  });

  test('layers of few nonzeros stay float32', async () => {
    const values = random(24 * 20 * 9, 4).map((v, i) => (i % 12 === 0 ? v : 0));
    const bytes = model({
      nodes: [node('Conv', ['x', 'w'], ['y'])],
      inputs: [port('x', 'float32', ['n', 20, 'h', 'w'])],
      outputs: [port('y', 'float32')],
      initializers: [rawTensor('w', 'float32', [24, 20, 3, 3], values)],
    });
    const [exact, rounded] = await Promise.all(
      (['float32', 'bf16'] as const).map(async (precision) => {
        await using session = await Session.load(bytes, { precision });
        return (await session.run({ x })).y as Tensor;
      }),
    );
    expect(rounded!.data).toEqual(exact!.data);
  });

  test('float32 is the default', async () => {
    expect(await results({ precision: 'float32' })).toEqual(await results({}));
  });

  test.skipIf(!has)('keeps its own plans in a cache folder', async () => {
    const cache = join(folder, 'cache');
    const keep = async (options: SessionOptions) => {
      const before = await results({ ...options, cache });
      await setTimeout(300);
      expect(await results({ ...options, cache })).toEqual(before);
      return before;
    };
    const [exact, rounded] = [await keep({}), await keep({ precision: 'bf16' })];
    expect(readdirSync(cache)).toHaveLength(2);
    expect(distance(rounded[0]!, exact[0]!)).toBeGreaterThan(1e-5);
  });

  test('inspect tells what it comes to', async () => {
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const shape = ['--shape', 'x=2x20x9x9', '--json'];
    expect(await runCommand(inspectCommand, [path, '--precision', 'bf16', ...shape])).toBe(0);
    expect(await runCommand(inspectCommand, [path, ...shape])).toBe(0);
    expect(await runCommand(inspectCommand, [path, '--precision', 'half', ...shape])).toBe(1);
    const [asked, plain, wrong] = write.mock.calls.map(([text]) => JSON.parse(String(text)));
    write.mockRestore();
    expect(asked.precision).toMatchObject({ asked: 'bf16', roundedSteps: has ? 4 : 0 });
    expect(asked.precision.text).toMatch(has ? /4 steps multiply bfloat16/ : /has no fast products of bfloat16/);
    expect(plain.precision).toEqual({ asked: 'float32', roundedSteps: 0, text: 'float32' });
    expect(wrong.error.code).toBe('ERR_OPTION');
  });

  test('other precisions are refused', async () => {
    const wrong = { precision: 'float16' } as unknown as SessionOptions;
    await expect(Session.load(path, wrong)).rejects.toThrow(/"precision" has to be "float32" or "bf16"/);
  });
});

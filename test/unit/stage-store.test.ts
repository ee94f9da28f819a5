import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Session, Tensor } from '../../lib/index.ts';
import { type Machine, thisMachine } from '../../lib/runtime/machine.ts';
import { type NativeBlob, native } from '../../lib/runtime/native.ts';
import { StageStore } from '../../lib/runtime/stage-store.ts';
import { attribute, model, node, port, rawTensor } from '../models/onnx-writer.ts';
import { noise } from './passes/harness.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stages-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const weights = (name: string, dims: number[], density: number, seed: number) => {
  const values = noise(
    dims.reduce((a, b) => a * b, 1),
    seed,
  ).map((v, i) => ((i * 7919) % 100 < density * 100 ? v : 0));
  return rawTensor(name, 'float32', dims, Float32Array.from(values));
};

/** A sparse convolution, a dense product and a large table, with rows that are not aligned. */
function write(name = 'model.onnx', seed = 1): string {
  const path = join(folder, name);
  const bytes = model({
    nodes: [
      node('Conv', ['x', 'w'], ['c'], { attributes: [attribute.ints('pads', [1, 1, 1, 1])] }),
      node('Relu', ['c'], ['r']),
      node('GlobalAveragePool', ['r'], ['p']),
      node('Flatten', ['p'], ['f']),
      node('MatMul', ['f', 'm'], ['y']),
      node('Gather', ['table', 'i'], ['row']),
    ],
    inputs: [port('x', 'float32', ['n', 16, 'h', 'w']), port('i', 'int64', ['k'])],
    outputs: [port('y', 'float32'), port('row', 'float32')],
    initializers: [
      weights('w', [40, 16, 3, 3], 0.1, seed),
      weights('m', [40, 30], 1, 2),
      weights('table', [900, 50], 1, 3),
    ],
  });
  writeFileSync(path, bytes);
  return path;
}

const cache = (): string => join(folder, 'cache');
const files = (): string[] =>
  readdirSync(cache(), { recursive: true })
    .map(String)
    .filter((file) => /\./.test(file));

function feeds(size = 9, batch = 1): Record<string, Tensor> {
  const count = batch * 16 * size * size;
  return {
    x: new Tensor('float32', Float32Array.from(noise(count, 5)), [batch, 16, size, size]),
    i: new Tensor('int64', BigInt64Array.of(3n, 899n), [2]),
  };
}

async function results(path: string, given: Record<string, Tensor>, options: { cache?: string } = { cache: cache() }) {
  await using session = await Session.load(path, options);
  const out = await session.run(given);
  // What a run has to keep is written beside it.
  if (options.cache) await settled();
  return Object.values(out).map((value) => [...((value as Tensor).data as Float32Array)]);
}

async function settled(): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const before = files().length;
    await setTimeout(30);
    if (files().length === before && files().some((file) => file.includes('model.json'))) return;
  }
}

test('the next start has the same results, also for new shapes and batches', async () => {
  const path = write();
  mkdirSync(cache());
  for (const given of [feeds(), feeds(), feeds(14), feeds(9, 5), feeds()]) {
    const want = await results(path, given, {});
    expect(await results(path, given)).toEqual(want);
  }
  expect(files().filter((file) => file.includes('stage-')).length).toBeGreaterThan(1);
  await using session = await Session.load(path, { cache: cache() });
  expect(session.inputs.map(({ name }) => name)).toEqual(['x', 'i']);
  const sync = session.runSync(feeds());
  expect([...((sync.y as Tensor).data as Float32Array)]).toEqual((await results(path, feeds(), {}))[0]);
  expect(() => session.runSync({ ...feeds(), x: new Tensor('float32', new Float32Array(4), [4]) })).toThrow(
    /rank|shape/,
  );
});

test('a run may change its feeds at once, also where the model has to be loaded after all', async () => {
  const path = write();
  mkdirSync(cache());
  await results(path, feeds());
  const want = await results(path, feeds(11), {});
  await using session = await Session.load(path, { cache: cache() });
  const given = feeds(11);
  const running = session.run(given);
  (given.x.data as Float32Array).fill(0);
  expect([...(((await running).y as Tensor).data as Float32Array)]).toEqual(want[0]);
});

test('damaged, foreign and stale files are passed over', async () => {
  const path = write();
  mkdirSync(cache());
  const want = await results(path, feeds());
  const spoil = (pattern: RegExp, change: (file: string) => void): void => {
    const found = files().filter((file) => pattern.test(file));
    expect(found.length).toBeGreaterThan(0);
    for (const file of found) change(join(cache(), file));
  };
  const flip = (file: string): void => {
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(file, bytes);
  };
  const cut = (file: string): void => writeFileSync(file, readFileSync(file).subarray(0, 40));
  for (const [pattern, change] of [
    [/blob-/, flip],
    [/blob-/, cut],
    [/blob-/, (file: string) => chmodSync(file, 0o666)],
    [/blob-/, (file: string) => rmSync(file)],
    [/stage-/, flip],
    [/stage-/, cut],
    [/model\.json/, flip],
    [/model\.json/, cut],
  ] as const) {
    spoil(pattern, change);
    expect(await results(path, feeds()), `${pattern} ${change}`).toEqual(want);
    rmSync(cache(), { recursive: true });
    mkdirSync(cache());
    await results(path, feeds());
  }
  // Another model under the same name.
  write('model.onnx', 9);
  expect(await results(path, feeds())).toEqual(await results(path, feeds(), {}));
  expect(await results(path, feeds())).not.toEqual(want);
});

test('writers at the same time, and a folder that cannot be written', async () => {
  const path = write();
  const want = await results(path, feeds(), {});
  const all = await Promise.all(Array.from({ length: 6 }, () => results(path, feeds())));
  for (const each of all) expect(each).toEqual(want);
  expect(await results(path, feeds(), { cache: '/proc/none' }).catch((error) => error)).toEqual(want);
  writeFileSync(join(folder, 'file'), '');
  expect(await results(path, feeds(), { cache: join(folder, 'file') }).catch((error) => error)).toEqual(want);
});

test('JSON that others can write is not believed', async () => {
  const path = write();
  mkdirSync(cache());
  await results(path, feeds());
  const file = join(cache(), files().find((name) => name.endsWith('model.json')) as string);
  const body = readFileSync(file, 'utf8').split('\n')[1].replaceAll('"row"', '"raw"');
  const names = async () => {
    await using session = await Session.load(path, { cache: cache() });
    return session.outputs.map(({ name }) => name);
  };
  writeFileSync(file, `${createHash('sha256').update(body).digest('hex')}\n${body}`);
  chmodSync(file, 0o666);
  expect(await names()).toEqual(['y', 'row']);
  chmodSync(file, 0o600);
  // As this user's own it counts: the file was what decided.
  expect(await names()).toEqual(['y', 'raw']);
});

test('blobs are mapped only as they were written', async () => {
  const path = write();
  mkdirSync(cache());
  await results(path, feeds());
  const blobs = files().filter((name) => name.includes('blob-'));
  expect(blobs.length).toBeGreaterThan(0);
  for (const name of blobs) {
    const [, checksum, size] = /blob-([0-9a-f]{16})-(\d+)\.bin$/.exec(name) as RegExpExecArray;
    const file = join(cache(), name);
    const open = (bytes = Number(size), sum = checksum) => native().storedBlob(file, bytes, sum, false);
    expect(native().packingBytes(open() as NativeBlob)).toEqual(new Uint8Array(readFileSync(file)));
    expect(open(Number(size) - 1)).toBeNull();
    expect(open(Number(size), '0'.repeat(16))).toBeNull();
    chmodSync(file, 0o620);
    expect(open()).toBeNull();
  }
});

test('processors that are faster with bfloat16 share nothing with those that are not', async () => {
  const path = write();
  const machine = thisMachine() as { -readonly [Key in keyof Machine]: Machine[Key] };
  const { bf16 } = machine;
  try {
    for (const fast of [false, true]) {
      machine.bf16 = fast;
      StageStore.open(cache(), path, { threads: 1, sparse: true, optimization: 'all', precision: 'bf16' });
    }
  } finally {
    machine.bf16 = bf16;
  }
  expect(readdirSync(cache())).toHaveLength(2);
});

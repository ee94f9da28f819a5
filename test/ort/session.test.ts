/**
 * The documented behaviour of onnxruntime-common's InferenceSession. `FILIGREE_TEST_ORT=/path/to/onnxruntime-node`
 * runs the same tests against the original; those of our own promises are skipped then.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import * as own from '../../lib/ort/index.ts';
import { sumAndDifference, unary, withDefault } from './models.ts';

const original = process.env.FILIGREE_TEST_ORT;
const { InferenceSession, Tensor, env, listSupportedBackends } = original
  ? (createRequire(import.meta.url)(original) as typeof own)
  : own;
type Tensor = own.Tensor;

const folder = mkdtempSync(join(tmpdir(), 'ort-'));
const path = join(folder, 'model.onnx');
writeFileSync(path, sumAndDifference());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const floats = (values: number[], dims: number[]) => new Tensor('float32', Float32Array.from(values), dims);
const a = floats([1, 2, 3], [1, 3]);
const b = floats([4, 5, 6], [1, 3]);
const values = (tensor: unknown) => Array.from((tensor as Tensor).data as Float32Array);
const create = (options: object = {}) => InferenceSession.create(path, options);

describe('create', () => {
  const bytes = Uint8Array.from(sumAndDifference());
  const padded = new Uint8Array(bytes.length + 12);
  padded.set(bytes, 5);
  const shared = new SharedArrayBuffer(bytes.length);
  new Uint8Array(shared).set(bytes);
  const sources: [string, () => Promise<own.InferenceSession>][] = [
    ['a path', () => InferenceSession.create(path)],
    ['a Uint8Array', () => InferenceSession.create(bytes)],
    ['a Uint8Array within a buffer', () => InferenceSession.create(padded.subarray(5, 5 + bytes.length))],
    ['an ArrayBuffer', () => InferenceSession.create(bytes.buffer)],
    ['an ArrayBuffer with offset and length', () => InferenceSession.create(padded.buffer, 5, bytes.length)],
    ['offset, length and options', () => InferenceSession.create(padded.buffer, 5, bytes.length, { logId: 'x' })],
    ['an ArrayBuffer with offset', () => InferenceSession.create(padded.slice(0, -7).buffer, 5)],
    // onnxruntime-node refuses shared memory, which its documentation allows.
    ...(original
      ? []
      : [
          ['a SharedArrayBuffer', () => InferenceSession.create(shared)] as [
            string,
            () => Promise<own.InferenceSession>,
          ],
        ]),
  ];
  test.each(sources)('from %s', async (_, make) => {
    const session = await make();
    expect(session).toBeInstanceOf(InferenceSession);
    expect(values((await session.run({ a, b })).sum)).toEqual([5, 7, 9]);
  });

  test.each<[string, unknown[], new (text?: string) => Error]>([
    ['nothing', [], TypeError],
    ['a number', [3], TypeError],
    ['null options', [path, null], TypeError],
    ['options of a wrong type', [path, 3], TypeError],
    ['an offset behind the end', [bytes.buffer, bytes.length], RangeError],
    ['a negative offset', [bytes.buffer, -1], RangeError],
    ['a length behind the end', [bytes.buffer, 1, bytes.length], RangeError],
    ['a length of a wrong type', [bytes.buffer, 1, 'x'], TypeError],
    ['a missing file', [join(folder, 'none.onnx')], Error],
    ['no model', [new Uint8Array(100)], Error],
    ['an unknown provider', [path, { executionProviders: ['abacus'] }], Error],
    ['providers that are no array', [path, { executionProviders: 'cpu' }], TypeError],
    ['threads of a wrong type', [path, { intraOpNumThreads: '1' }], TypeError],
    ['threads that are undefined', [path, { intraOpNumThreads: undefined }], TypeError],
    ['negative threads', [path, { intraOpNumThreads: -1 }], RangeError],
    ['half a thread', [path, { interOpNumThreads: 1.5 }], RangeError],
    ['too many threads', [path, { intraOpNumThreads: 2 ** 32 }], RangeError],
    ['an optimization level of a wrong type', [path, { graphOptimizationLevel: 3 }], TypeError],
    ['an unknown optimization level', [path, { graphOptimizationLevel: 'some' }], TypeError],
    ['an unknown execution mode', [path, { executionMode: 'x' }], TypeError],
    ['an arena flag of a wrong type', [path, { enableCpuMemArena: 1 }], TypeError],
    ['a pattern flag of a wrong type', [path, { enableMemPattern: 1 }], TypeError],
    ['a log id of a wrong type', [path, { logId: 3 }], TypeError],
    ['a log level of a wrong type', [path, { logSeverityLevel: 'x' }], TypeError],
    ['a log level out of range', [path, { logSeverityLevel: 5 }], RangeError],
    ['profiling without a prefix', [path, { enableProfiling: true }], TypeError],
    ['extra of a wrong type', [path, { extra: 3 }], TypeError],
    ['extra with a number in it', [path, { extra: { a: { b: 3 } } }], TypeError],
    ['external data that is no array', [path, { externalData: 3 }], TypeError],
    ['external data without a path', [path, { externalData: [{ data: bytes }] }], TypeError],
    ['external data without data', [path, { externalData: [{ path: 'w' }] }], TypeError],
    ['an unknown output location', [path, { preferredOutputLocation: 'moon' }], TypeError],
    ['a location of an unknown output', [path, { preferredOutputLocation: { z: 'cpu' } }], TypeError],
    ['an optimized model path of a wrong type', [path, { optimizedModelFilePath: 3 }], TypeError],
  ])('refuses %s', async (_, args, kind) => {
    const attempt = (InferenceSession.create as (...all: unknown[]) => Promise<unknown>)(...args);
    await expect(attempt).rejects.toThrow(kind);
  });

  test('accepts what onnxruntime-node does', async () => {
    const session = await create({
      executionProviders: ['cpu'],
      intraOpNumThreads: 1,
      graphOptimizationLevel: 'disabled',
      enableCpuMemArena: false,
      executionMode: 'parallel',
      logSeverityLevel: 3,
      preferredOutputLocation: { sum: 'cpu' },
      extra: { session: { set_denormal_as_zero: '1' } },
      externalData: null,
      somethingNew: 1,
    });
    expect(values((await session.run({ a, b })).diff)).toEqual([-3, -3, -3]);
    expect(await create({ executionProviders: [{ name: 'cpu' }] })).toBeDefined();
  });
});

test('names, metadata and a place for attributes of others', async () => {
  const session = await create();
  expect([session.inputNames, session.outputNames]).toEqual([
    ['a', 'b'],
    ['sum', 'diff'],
  ]);
  expect(session.inputMetadata[1]).toEqual({ name: 'b', isTensor: true, type: 'float32', shape: ['n', 3] });
  expect(session.outputMetadata[0]).toEqual({ name: 'sum', isTensor: true, type: 'float32', shape: ['n', 3] });
  expect(Object.isExtensible(session)).toBe(true);
});

describe('run', () => {
  test('gives all outputs, those named, or those of a map', async () => {
    const session = await create();
    expect(Object.keys(await session.run({ a, b }))).toEqual(['sum', 'diff']);
    expect(Object.keys(await session.run({ a, b }, ['diff']))).toEqual(['diff']);
    expect(Object.keys(await session.run({ a, b }, { sum: null }, {}))).toEqual(['sum']);
    const { diff } = await session.run({ a, b }, ['diff'], { tag: 'x', logSeverityLevel: 2 });
    expect(diff).toBeInstanceOf(Tensor);
    expect([diff.type, diff.dims, values(diff)]).toEqual(['float32', [1, 3], [-3, -3, -3]]);
  });

  test('writes to preallocated outputs', async () => {
    const session = await create();
    const memory = floats([0, 0, 0], [1, 3]);
    const { sum } = await session.run({ a, b }, { sum: memory });
    expect([values(memory), values(sum)]).toEqual([
      [5, 7, 9],
      [5, 7, 9],
    ]);
    await expect(session.run({ a, b }, { sum: floats([0, 0], [1, 2]) })).rejects.toThrow(Error);
    await expect(session.run({ a, b }, { sum: new Tensor('float64', [0, 0, 0], [1, 3]) })).rejects.toThrow(Error);
  });

  test('takes tensors of other copies, no elements, and feeds that disagree on a name', async () => {
    const session = await create();
    const alike = { type: 'float32', dims: [1, 3], data: a.data, location: 'cpu' } as unknown as Tensor;
    expect(values((await session.run({ a: alike, b, other: b })).sum)).toEqual([5, 7, 9]);
    const none = (await session.run({ a: floats([], [0, 3]), b: floats([], [0, 3]) })).sum;
    expect([none.dims, none.size]).toEqual([[0, 3], 0]);
    const wide = (await session.run({ a, b: floats([1, 2, 3, 4, 5, 6], [2, 3]) })).sum;
    expect([wide.dims, values(wide)]).toEqual([
      [2, 3],
      [2, 4, 6, 5, 7, 9],
    ]);
  });

  const broken = (fields: object) => ({ type: 'float32', dims: [1, 3], data: a.data, location: 'cpu', ...fields });
  const disposed = floats([1, 2, 3], [1, 3]);
  disposed.dispose();
  test.each<[string, unknown[], new (text?: string) => Error]>([
    ['no feeds', [], TypeError],
    ['an array of feeds', [[a, b]], TypeError],
    ['a missing feed', [{ a }], Error],
    ['a feed that is null', [{ a: null, b }], TypeError],
    ['dims that are no array', [{ a: broken({ dims: 3 }), b }], TypeError],
    ['dims of a wrong type', [{ a: broken({ dims: [1, '3'] }), b }], TypeError],
    ['negative dims', [{ a: broken({ dims: [1, -3] }), b }], RangeError],
    ['data elsewhere', [{ a: broken({ location: 'none' }), b }], RangeError],
    ['a disposed tensor', [{ a: disposed, b }], RangeError],
    ['data that is no typed array', [{ a: broken({ data: [1, 2, 3] }), b }], TypeError],
    ['too little data', [{ a: broken({ data: new Float32Array(2) }), b }], Error],
    ['a wrong element type', [{ a, b: new Tensor('float64', [1, 2, 3], [1, 3]) }], Error],
    ['a wrong rank', [{ a, b: floats([1, 2, 3], [3]) }], Error],
    ['a wrong shape', [{ a, b: floats([1, 2], [1, 2]) }], Error],
    ['an unknown output', [{ a, b }, ['product']], RangeError],
    ['no output names', [{ a, b }, []], TypeError],
    ['fetches that are a tensor', [{ a, b }, a], TypeError],
    ['fetches that are null', [{ a, b }, null], TypeError],
    ['options of a wrong type', [{ a, b }, ['sum'], 3], TypeError],
    ['a tag of a wrong type', [{ a, b }, { tag: 3 }], TypeError],
    ['a log level out of range', [{ a, b }, { logSeverityLevel: 9 }], RangeError],
  ])('refuses %s', async (_, args, kind) => {
    const session = await create();
    await expect((session.run as (...all: unknown[]) => Promise<unknown>)(...args)).rejects.toThrow(kind);
    expect(values((await session.run({ a, b })).sum)).toEqual([5, 7, 9]);
  });

  test('inputs with a default are not inputs of the session', async () => {
    const session = await InferenceSession.create(withDefault());
    expect(session.inputNames).toEqual(['a']);
    expect(session.inputMetadata).toEqual([{ name: 'a', isTensor: true, type: 'float32', shape: ['', 2] }]);
    const feeds = { a: floats([1, 2], [1, 2]), b: floats([5, 5], [2]) };
    expect(values((await session.run(feeds)).y)).toEqual([11, 22]);
  });

  test('strings, booleans and half floats', async () => {
    const strings = await InferenceSession.create(unary('Identity', 'string'));
    expect((await strings.run({ a: new Tensor('string', ['x', 'é'], [2]) })).y.data).toEqual(['x', 'é']);
    const mixed = new Tensor('string', ['x', 3 as unknown as string], [2]);
    await expect(strings.run({ a: mixed })).rejects.toThrow(TypeError);
    const flags = await InferenceSession.create(unary('Not', 'bool'));
    expect(values((await flags.run({ a: new Tensor('bool', [true, false], [2]) })).y)).toEqual([0, 1]);
    const halves = await InferenceSession.create(unary('Neg', 'float16'));
    const { y } = await halves.run({ a: new Tensor('float16', Uint16Array.of(0x3c00, 0xc000), [2]) });
    const { buffer, byteOffset, length } = y.data as Uint16Array;
    expect([...new Uint16Array(buffer, byteOffset, length)]).toEqual([0xbc00, 0x4000]);
  });
});

test('release ends a session', async () => {
  const session = await create();
  await session.release();
  expect(session.inputNames).toEqual(['a', 'b']);
  await expect(session.run({ a, b })).rejects.toThrow('Session already disposed.');
  await expect(session.release()).rejects.toThrow('Session already disposed.');
  expect(() => session.endProfiling()).toThrow('Session already disposed.');
});

test('profiling writes trace events', async () => {
  const session = await create({ enableProfiling: true, profileFilePrefix: join(folder, 'profile') });
  session.startProfiling();
  await session.run({ a, b });
  session.endProfiling();
  const [file] = readdirSync(folder).filter((name) => /^profile_.*\.json$/.test(name));
  const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { cat: string; name: string; dur: number }[];
  expect(events.filter(({ cat }) => cat === 'Node').length).toBeGreaterThan(0);
  expect(events.some(({ cat, name, dur }) => cat === 'Session' && name === 'model_run' && dur >= 0)).toBe(true);
});

test('backends and versions', () => {
  expect(listSupportedBackends()).toContainEqual({ name: 'cpu', bundled: true });
  expect(env.versions).toMatchObject({ common: expect.any(String), node: expect.any(String) });
});

describe.skipIf(original)('beyond the original', () => {
  test('free dimensions can be fixed', async () => {
    const session = await create({ freeDimensionOverrides: { n: 1, other: 7 } });
    expect(values((await session.run({ a, b })).sum)).toEqual([5, 7, 9]);
    const two = floats([1, 2, 3, 4, 5, 6], [2, 3]);
    await expect(session.run({ a: two, b: two })).rejects.toThrow(/"n"/);
    await expect(create({ freeDimensionOverrides: { n: 'x' } })).rejects.toThrow(TypeError);
  });

  test('the bytes of a model are free once it is loaded', async () => {
    const bytes = withDefault();
    const session = await InferenceSession.create(bytes);
    bytes.fill(0);
    expect(values((await session.run({ a: floats([1, 2], [1, 2]) })).y)).toEqual([11, 22]);
  });

  test('a preallocated output may be a feed', async () => {
    const session = await create();
    const both = floats([1, 2, 3], [1, 3]);
    const { sum, diff } = await session.run({ a: both, b }, { sum: both, diff: null });
    expect(sum).toBe(both);
    expect([values(both), values(diff)]).toEqual([
      [5, 7, 9],
      [-3, -3, -3],
    ]);
  });

  test('an element type without a Tensor is refused at load', async () => {
    await expect(InferenceSession.create(unary('Identity', 'bfloat16'))).rejects.toThrow(/tensor of bfloat16/);
  });

  test('the backend works in the registry of onnxruntime-common', async () => {
    const common = await import('onnxruntime-common');
    common.registerBackend('filigree-test', own.backend, -1);
    const session = await common.InferenceSession.create(path, { executionProviders: ['filigree-test'] });
    expect(values((await session.run({ a, b })).sum)).toEqual([5, 7, 9]);
  });
});

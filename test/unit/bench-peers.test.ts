import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { findEngines } from '../../bench/peers/engines.ts';
import { type Named, named, readTensors, writeTensors } from '../../bench/peers/exchange.ts';
import { rowsOf, turnOf } from '../../bench/peers/rows.ts';
import { measureIn } from '../../bench/report/child.ts';
import { tensor } from '../../lib/ir/tensor.ts';

const folder = mkdtempSync(join(tmpdir(), 'filigree-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('exchanged tensors', () => {
  const file = join(folder, 'tensors.json');
  const tensors: Named[] = [
    named('input', 'flags', tensor('bool', [3], Uint8Array.of(1, 0, 1))),
    named('input', 'ids', tensor('int64', [1, 2], BigInt64Array.of(-1n, 2n ** 40n))),
    named('output', 'y', tensor('float32', [2], Float32Array.of(0.5, Number.NaN))),
  ];

  it('come back as written, aligned or not', () => {
    writeTensors(file, 'test', tensors);
    const back = readTensors(file);
    expect(back.map(({ role, name, dtype, dims }) => ({ role, name, dtype, dims }))).toEqual(
      tensors.map(({ role, name, dtype, dims }) => ({ role, name, dtype, dims })),
    );
    expect(back.map(({ data }) => [...(data as Uint8Array)])).toEqual(
      tensors.map(({ data }) => [...(data as Uint8Array)]),
    );
    const index = JSON.parse(readFileSync(file, 'utf8'));
    expect(index.tensors[1]).toEqual({
      ...{ role: 'input', name: 'ids', dtype: 'int64', shape: [1, 2], offset: 3, bytes: 16 },
    });
  });

  it('are refused where the sizes do not fit', () => {
    writeTensors(file, 'test', tensors);
    writeFileSync(`${file}.bin`, readFileSync(`${file}.bin`).subarray(0, 24));
    expect(() => readTensors(file)).toThrow('"y" should have 8 bytes, has 5');
  });

  it('are numbers', () => {
    expect(() => named('input', 'words', tensor('string', [1], ['a']))).toThrow(
      'input "words": expected a tensor of numbers to compare, got strings',
    );
    expect(() => named('output', 'list', { kind: 'sequence', items: [], element: undefined } as never)).toThrow(
      'got sequence',
    );
  });
});

describe('engines', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('are those that are there', () => {
    vi.stubEnv('FILIGREE_PEERS', '');
    expect(findEngines([])[0]!.name).toBe('filigree');
    expect(() => findEngines(['nobody'])).toThrow('--engines: no nobody here; found filigree');
  });

  it('of a kit need its script and an environment', () => {
    vi.stubEnv('FILIGREE_PEERS', folder);
    expect(() => findEngines([])).toThrow('expected a folder with run-peer.py');
    writeFileSync(join(folder, 'run-peer.py'), '');
    mkdirSync(join(folder, 'venv-main/bin'), { recursive: true });
    writeFileSync(join(folder, 'venv-main/bin/python'), '');
    expect(findEngines(['openvino']).map(({ name }) => name)).toEqual(['filigree', 'openvino']);
    expect(() => findEngines(['deepsparse'])).toThrow('no deepsparse here');
  });

  it.skipIf(process.platform === 'win32')('of a kit get their own file and the sizes of dimensions', async () => {
    const script = join(folder, 'run-peer.py');
    const python = join(folder, 'venv-main/bin/python');
    writeFileSync(script, '');
    mkdirSync(join(folder, 'venv-main/bin'), { recursive: true });
    writeFileSync(python, '#!/bin/sh\nprintf \'{"seen":"%s"}\\n\' "$*"\n');
    chmodSync(python, 0o755);
    vi.stubEnv('FILIGREE_PEERS', folder);
    const settings = { threads: 2, seconds: 0.5, timeout: 20, shape: 'x=1x3,S=128' };
    const each = { model: '/a.onnx', variants: new Map([['ort', '/b.onnx']]), batch: 4 };
    const [, engine] = findEngines(['ort']);
    const { line } = await engine!.time(each, settings, '', []);
    const expected = '--engine ort --model /b.onnx --batch 4 --threads 2 --dims=S=128 --seconds 0.5';
    expect(line).toEqual({ seen: `${script} ${expected}` });
  });
});

describe('measuring processes', () => {
  const node = (code: string, seconds = 20) => measureIn(process.execPath, ['-e', code], seconds);

  it('give their last line of JSON', async () => {
    expect((await node('console.log("{\\"a\\":1}")')).line).toEqual({ a: 1 });
  });

  it('fail with what they said', async () => {
    expect((await node('throw new Error("no weights")')).line.error).toContain('no weights');
    expect((await node('process.exit(3)')).line.error).toBe('exit 3: no output');
    const told = 'console.log(JSON.stringify({error: {message: "bad model"}})); process.exit(1)';
    expect((await node(told)).line.error).toBe('bad model');
    expect((await measureIn('/no/such/program', [], 5)).line.error).toContain('ENOENT');
  });

  it('end when their time is over', async () => {
    expect((await node('setInterval(() => 0, 1000)', 0.3)).line.error).toBe('no result within 0.3 s');
  });
});

describe('rounds of several engines', () => {
  it('let each be first in turn', () => {
    const orders = [0, 1, 2].map((round) => [0, 1, 2].map((k) => turnOf(round, k, 3)));
    expect(orders).toEqual([
      [0, 1, 2],
      [1, 2, 0],
      [2, 0, 1],
    ]);
  });

  it('give ratios of the least times and by round', () => {
    const round = (median_ms: number, min_ms: number) => ({ line: { version: '1', median_ms, min_ms }, foreign: 0 });
    const failed = { line: { error: 'out of memory' }, foreign: 0 };
    const rounds = [
      [round(10, 9), round(12, 8), round(30, 20)],
      [round(20, 16), round(10, 10), round(20, 18)],
      [failed, failed, failed],
    ];
    const rows = rowsOf({ model: 'm', batch: 1 }, ['a', 'b', 'c'], rounds, [undefined, 1e-7, 'no output']);
    expect(rows[0]).toMatchObject({ engine: 'a', medianMs: 12, minMs: 8, minRatio: undefined, version: '1' });
    expect(rows[1]).toMatchObject({ minMs: 10, minRatio: 0.8, pairRatio: 1.2, difference: 1e-7 });
    expect(rows[2]).toMatchObject({ error: 'out of memory', minRatio: undefined, difference: 'no output' });
  });
});

import { describe, expect, test } from 'vitest';
import { chromeTrace, type ProfileReport } from '../../lib/cli/profile.ts';
import { profilePage } from '../../lib/cli/profile-page.ts';
import { tensor } from '../../lib/ir/tensor.ts';
import { bytesInUse } from '../../lib/plan/arena.ts';
import { CompiledModel } from '../../lib/runtime/compiled.ts';
import { peaksOf, readTime } from '../../lib/runtime/peaks.ts';
import { byOperator, type Profile, profileRuns } from '../../lib/runtime/profile.ts';
import { pruned } from '../../lib/sparse/prune.ts';
import { attribute, floats, model, node, port } from '../models/onnx-writer.ts';

/** A half-empty weight [4, 3], then a node that no kernel runs. */
const weights = [1, 0, 2, 0, 3, 0, 0, 4, 0, 5, 6, 0];
const bytes = model({
  nodes: [node('MatMul', ['x', 'w'], ['h']), node('Det', ['h'], ['y'])],
  inputs: [port('x', 'float32', ['n', 3, 4])],
  outputs: [port('y', 'float32', ['n'])],
  initializers: [floats('w', weights, [4, 3])],
});

async function profile(batch: number): Promise<Profile> {
  const compiled = CompiledModel.openSync(bytes, { threads: 1 });
  const x = tensor('float32', [batch, 3, 4], new Float32Array(batch * 12).fill(1));
  await compiled.run([x]);
  const measured = await profileRuns(compiled, [x], 3);
  compiled.dispose();
  return measured;
}

describe('profiles', () => {
  test('count multiply-adds, zeros and bytes of one run, and name fallbacks', async () => {
    const { layers, runs, memory, spans } = await profile(5);
    expect(runs).toBe(3);
    const [product, det] = layers;
    expect(product).toMatchObject({ denseMacs: 5 * 3 * 3 * 4, macs: 5 * 3 * 3 * 4 * 0.5, zeros: 0.5, dims: [5, 3, 3] });
    expect(product.dataBytes).toBeGreaterThanOrEqual(5 * (12 + 9) * 4);
    expect(product.boundMs).toBeGreaterThan(0);
    expect(product.reason).toBeUndefined();
    expect(det).toMatchObject({ op: 'Det', kernel: 'reference', boundMs: undefined, macs: undefined });
    expect(det.reason).toMatch(/kernel/);
    expect(layers.reduce((sum, layer) => sum + layer.share, 0)).toBeCloseTo(1, 6);
    expect(memory.length).toBe(spans.filter((span) => span.kernel !== 'reference').length);
  });

  test('sum layers by operator', async () => {
    const { layers } = await profile(2);
    const twice = byOperator([...layers, ...layers]);
    expect(twice.map((each) => each.count)).toEqual([2, 2]);
    expect(twice.find((each) => each.op === 'Det')?.boundMs).toBeUndefined();
    const product = twice.find((each) => each.op !== 'Det');
    expect(product?.macs).toBe(2 * (layers[0].macs as number));
    expect(product?.ms).toBeCloseTo(2 * layers[0].ms, 9);
  });

  test('give a trace of the last run', async () => {
    const measured = await profile(2);
    const { traceEvents } = JSON.parse(chromeTrace(measured));
    expect(traceEvents.length).toBe(measured.spans.length);
    for (const { ph, ts, dur } of traceEvents) {
      expect(ph).toBe('X');
      expect(ts).toBeGreaterThanOrEqual(0);
      expect(ts + dur).toBeLessThanOrEqual(1e6);
    }
  });
});

test('the page holds the report, escaped, and loads nothing', async () => {
  const { spans: _, ...numbers } = await profile(2);
  const name = '</script><script>alert(1)</script>';
  const report: ProfileReport = {
    ...{ engine: 'filigree', version: '0', model: name, batch: 2, isa: 'avx2', cpu: '', imposedSparsity: 0.9 },
    precision: 'float32',
    ...{ arenaBytes: 1, packedBytes: 1, ...numbers, operators: byOperator(numbers.layers) },
    layers: numbers.layers.map((layer) => ({ ...layer, name })),
  };
  const page = profilePage(report);
  const [, data] = /<script id="data" type="application\/json">(.*?)<\/script>/s.exec(page) as RegExpExecArray;
  expect(JSON.parse(data).layers[0].name).toBe(name);
  expect(page).not.toContain('alert(1)</script>');
  expect(page.match(/<script/g)).toHaveLength(2);
  // The name of the SVG namespace is the only address.
  expect(page.match(/https?:\/\/[^'"\s]*/g)).toEqual(['http://www.w3.org/2000/svg']);
});

test('bytes in use follow the lifetimes', () => {
  const buffers = [
    { buffer: 0, first: 0, last: 1, bytes: 100 },
    { buffer: 1, first: 1, last: 3, bytes: 10 },
  ];
  expect(bytesInUse(buffers, 5)).toEqual([100, 110, 10, 10, 0]);
});

describe('pruning', () => {
  test('keeps the largest magnitudes and exactly the share asked for', () => {
    const values = Float32Array.from({ length: 1000 }, (_, i) => (i % 2 ? -1 : 1) * ((i * 7919) % 1000));
    const left = pruned(tensor('float32', [10, 100], values), 0.9).data as Float32Array;
    const kept = [...left].filter((x) => x !== 0);
    expect(kept).toHaveLength(100);
    expect(Math.min(...kept.map(Math.abs))).toBe(900);
    left.forEach((x, i) => {
      if (x !== 0) expect(x).toBe(values[i]);
    });
  });
  test('breaks ties, keeps the type, and leaves the source', () => {
    const source = tensor('int8', [6], Int8Array.of(3, -3, 3, 3, 0, -4));
    expect([...(pruned(source, 0.5).data as Int8Array)]).toEqual([0, 0, 3, 3, 0, -4]);
    expect([...(pruned(source, 0).data as Int8Array)]).toEqual([3, -3, 3, 3, 0, -4]);
    expect([...(source.data as Int8Array)]).toEqual([3, -3, 3, 3, 0, -4]);
  });
});

test('imposed sparsity prunes weights before planning', async () => {
  const compiled = CompiledModel.openSync(bytes, { threads: 1, imposeSparsity: 0.75 });
  const x = tensor('float32', [1, 3, 4], new Float32Array(12).fill(1));
  await compiled.run([x]);
  const { layers } = await profileRuns(compiled, [x], 1);
  compiled.dispose();
  expect(layers[0].zeros).toBe(0.75);
});

test('imposed sparsity prunes both weights of a recurrent layer', async () => {
  const ramp = (length: number): number[] => Array.from({ length }, (_, i) => (i + 1) / length);
  const recurrent = model({
    nodes: [node('RNN', ['x', 'w', 'r'], ['y'], { attributes: [attribute.int('hidden_size', 4)] })],
    inputs: [port('x', 'float32', [2, 1, 2])],
    outputs: [port('y', 'float32', [2, 1, 1, 4])],
    initializers: [floats('w', ramp(8), [1, 4, 2]), floats('r', ramp(16), [1, 4, 4])],
  });
  const compiled = CompiledModel.openSync(recurrent, { threads: 1, imposeSparsity: 0.75 });
  const x = tensor('float32', [2, 1, 2], new Float32Array(4).fill(1));
  await compiled.run([x]);
  const { layers } = await profileRuns(compiled, [x], 1);
  compiled.dispose();
  expect(layers[0]).toMatchObject({ zeros: 0.75, denseMacs: 2 * 24, macs: 2 * 6 });
});

test('measured bounds are ordered and reading takes longer from farther away', () => {
  const peaks = peaksOf(1);
  expect(peaks.fma).toBeGreaterThan(0.1);
  expect(peaks.reads.map((each) => each.level)).toEqual(['L1', 'L2', 'L3', 'memory']);
  const sizes = peaks.reads.map((each) => each.bytes);
  expect([...sizes].sort((a, b) => a - b)).toEqual(sizes);
  expect(readTime(peaks, 1e6, 1)).toBeLessThan(readTime(peaks, 1e6, 1e12));
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { difference, type Tolerance } from '../../lib/cli/compare.ts';
import { runConformance } from '../../lib/cli/conformance.ts';
import type { DType } from '../../lib/ir/dtype.ts';
import { fromNumbers, type HostValue } from '../../lib/ir/tensor.ts';
import { encodeValue } from '../../lib/onnx/encode.ts';
import { model, node, port } from '../models/onnx-writer.ts';

const strict: Tolerance = { rtol: 1e-3, atol: 1e-7, rule: 'strict' };
const of = (values: number[], dtype: DType = 'float32', dims = [values.length]) => fromNumbers(dtype, dims, values);

describe('difference', () => {
  test('floats within the tolerance, special values in place', () => {
    expect(difference(of([1.0005, 0]), of([1, 0]), strict)).toBeUndefined();
    expect(difference(of([1.002, 1, 3]), of([1, 1, 2]), strict)).toMatch(
      /^2 of 3 elements differ, first at 0: got 1.00\d+, expected 1, largest difference 1.00$/,
    );
    expect(difference(of([Number.NaN, 1 / 0]), of([Number.NaN, 1 / 0]), strict)).toBeUndefined();
    expect(difference(of([1 / 0]), of([-1 / 0]), strict)).toContain('first at 0');
    expect(difference(of([1e38]), of([1 / 0]), strict)).toContain('first at 0');
    expect(difference(of([Number.NaN]), of([0]), strict)).toContain('first at 0');
    expect(difference(of([-0]), of([0]), strict)).toBeUndefined();
  });

  test('shape, rank and type are exact', () => {
    expect(difference(of([1]), of([1], 'float32', []), strict)).toBe('got shape [1], expected []');
    expect(difference(of([1]), of([1], 'float64'), strict)).toBe('got float32, expected float64');
    expect(difference({ kind: 'sequence', items: [] }, of([1]), strict)).toBe('got sequence, expected tensor');
  });

  test('integers, bools and strings are exact, coarse floats get two steps', () => {
    expect(difference(of([10001], 'int32'), of([10000], 'int32'), strict)).toContain('1 of 1');
    expect(difference(of([7, 1, -8], 'int4'), of([7, 1, -7], 'int4'), strict)).toContain('first at 2: got -8');
    const strings = (...data: string[]): HostValue => ({ kind: 'tensor', dtype: 'string', dims: [data.length], data });
    expect(difference(strings('a'), strings('b'), strict)).toContain('got a, expected b');
    expect(difference(of([1.0078125], 'bfloat16'), of([1], 'bfloat16'), strict)).toBeUndefined();
    expect(difference(of([1.0234375], 'bfloat16'), of([1], 'bfloat16'), strict)).toContain('1 of 1');
  });

  test('the rules: scaled to the largest value, or type and shape alone', () => {
    expect(difference(of([1e-4, 500]), of([0, 500]), strict)).toContain('first at 0');
    expect(difference(of([1e-4, 500]), of([0, 500]), { ...strict, rule: 'scaled' })).toBeUndefined();
    expect(difference(of([1e-3, 500]), of([0, 500]), { ...strict, rule: 'scaled' })).toContain('first at 0');
    expect(difference(of([1]), of([0]), { ...strict, rule: 'property' })).toBeUndefined();
    expect(difference(of([1]), of([0, 0]), { ...strict, rule: 'property' })).toContain('shape');
  });

  test('sequences, optionals and maps go by element', () => {
    const list = (...items: HostValue[]): HostValue => ({ kind: 'sequence', items });
    expect(difference(list(of([1]), of([2])), list(of([1]), of([3])), strict)).toMatch(/^element 1: 1 of 1/);
    expect(difference(list(of([1])), list(), strict)).toBe('got a sequence of 1, expected 0');
    const maybe = (value: HostValue | null): HostValue => ({ kind: 'optional', value });
    expect(difference(maybe(null), maybe(null), strict)).toBeUndefined();
    expect(difference(maybe(of([1])), maybe(null), strict)).toBe('got a value, expected no value');
    expect(difference(maybe(of([1])), maybe(of([2])), strict)).toContain('1 of 1');
    const map = (value: number): HostValue => ({
      kind: 'map',
      keyType: 'int64',
      valueType: 'float32',
      entries: new Map([[1n, value]]),
    });
    expect(difference(map(1.0005), map(1), strict)).toBeUndefined();
    expect(difference(map(2), map(1), strict)).toBe('key 1: got 2, expected 1');
  });
});

describe('runConformance', () => {
  const root = mkdtempSync(join(tmpdir(), 'cases-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const addCase = (name: string, op: string, sets: [number[], number[]][], meta?: object): void => {
    const folder = join(root, 'node', name);
    mkdirSync(folder, { recursive: true });
    const ports = { inputs: [port('x', 'float32', ['n'])], outputs: [port('y', 'float32', ['n'])] };
    writeFileSync(join(folder, 'model.onnx'), model({ nodes: [node(op, ['x'], ['y'])], ...ports }));
    if (meta) writeFileSync(join(folder, 'meta.json'), JSON.stringify(meta));
    sets.forEach(([x, y], i) => {
      const set = join(folder, `test_data_set_${i}`);
      mkdirSync(set);
      writeFileSync(join(set, 'input_0.pb'), encodeValue(of(x), 'x'));
      writeFileSync(join(set, 'output_0.pb'), encodeValue(of(y), 'y'));
    });
  };

  test('counts, filters, tolerances, exceptions', () => {
    addCase('test_neg', 'Neg', [
      [
        [1, 2],
        [-1, -2],
      ],
      [[3], [-3]],
    ]);
    addCase('test_neg_wrong', 'Neg', [
      [[1], [-1]],
      [[5], [5]],
    ]);
    addCase('test_abs_loose', 'Abs', [[[-1], [1.5]]], { rtol: 0, atol: [1] });
    addCase('test_relu_table', 'Relu', [[[1], [1.5]]]);
    addCase('test_unknown', 'Frobnicate', [[[1], [1]]]);
    writeFileSync(join(root, 'cases.tsv'), 'case\tkind\trtol\tatol\trule\ntest_relu_table\tnode\t0\t0\tproperty\n');
    const lines: string[] = [];
    const print = (line: string): void => {
      lines.push(line);
    };
    expect(runConformance([root], { print })).toEqual({ passed: 3, failed: 2, accepted: 0 });
    expect(lines[0]).toMatch(/^FAIL node\/test_neg_wrong: test_data_set_1, output "y": 1 of 1 elements differ/);
    expect(lines[1]).toMatch(/^FAIL node\/test_unknown: UnsupportedError: .*Frobnicate/);
    expect(lines.at(-1)).toBe('3 passed, 2 failed');

    const exceptions = new Map([
      ['node/test_unknown', 'no such operator'],
      ['node/test_neg', 'passes by now'],
    ]);
    lines.length = 0;
    expect(runConformance([root], { print, exceptions, filter: /unknown|^test_neg$/ })).toEqual({
      passed: 1,
      failed: 0,
      accepted: 1,
    });
    expect(lines[0]).toContain('take it off the list');
  });
});

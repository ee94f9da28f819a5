import { expect, test } from 'vitest';
import type { DType } from '../../lib/ir/dtype.ts';
import { type Attribute, type Graph, makeValue, type Node, tensorType, type Value } from '../../lib/ir/graph.ts';
import type { HostOptional, HostSequence, HostTensor, HostValue } from '../../lib/ir/tensor.ts';
import { inferTypes } from '../../lib/ops/infer.ts';
import { entries, evaluate, first, makeNode, t } from './node.ts';

/** A node over given values. */
function node(op: string, inputs: Value[], outputs: Value[], attributes: Node['attributes'] = new Map()): Node {
  const made: Node = { ...makeNode(op, 21, 0), inputs, outputs, attributes };
  for (const output of outputs) output.producer = made;
  return made;
}

const graph = (inputs: Value[], outputs: Value[], nodes: Node[]): Graph => ({
  name: 'body',
  inputs,
  outputs,
  nodes,
  captures: [],
});

const body = (value: Graph): { body: Attribute } => ({ body: { type: 'graph', value } });
const typed = (name: string, dtype: DType, dims?: number[]): Value => makeValue(name, tensorType(dtype, dims));
const scalar = (dtype: DType, value: number) => t(dtype, [value], []);

/** total += x; scans 2 * total. */
function running(): Graph {
  const [total, x] = [makeValue('total'), makeValue('x')];
  const [sum, twice] = [makeValue('sum'), makeValue('twice')];
  return graph([total, x], [sum, twice], [node('Add', [total, x], [sum]), node('Add', [sum, sum], [twice])]);
}

/** Keeps going while value < 10; value doubles, scans the old value. */
function doubling(): Graph {
  const [turn, goesOn, value] = [makeValue('turn'), makeValue('goesOn'), makeValue('value')];
  const [limit, next, more, old] = [makeValue('limit'), makeValue('next'), makeValue('more'), makeValue('old')];
  limit.constant = scalar('float32', 10);
  limit.type = tensorType('float32', []);
  return graph(
    [turn, goesOn, value],
    [more, next, old],
    [node('Add', [value, value], [next]), node('Less', [next, limit], [more]), node('Identity', [value], [old])],
  );
}

test('If runs the branch that its condition names', () => {
  const branch = (value: number): Attribute => {
    const constant = { ...typed('c', 'float32', []), constant: scalar('float32', value) };
    return { type: 'graph', value: graph([], [constant], []) };
  };
  const branches = { then_branch: branch(1), else_branch: branch(2) };
  expect(entries(first('If', 21, [t('bool', [1])], branches))).toEqual([1]);
  expect(entries(first('If', 21, [scalar('bool', 0)], branches))).toEqual([2]);
  expect(() => first('If', 21, [t('bool', [1, 0])], branches)).toThrow(/expected one bool/);
});

test('Loop ends by its condition or its trip count and stacks what it scans', () => {
  const loop = (trips: number | null, goesOn: number | null) =>
    evaluate(
      'Loop',
      21,
      [
        trips === null ? null : scalar('int64', trips),
        goesOn === null ? null : scalar('bool', goesOn),
        scalar('float32', 1),
      ],
      body(doubling()),
      2,
    ) as HostTensor[];
  expect(loop(null, null).map(entries)).toEqual([[16], [1, 2, 4, 8]]);
  expect(loop(2, 1).map(entries)).toEqual([[4], [1, 2]]);
});

test('a Loop that never turns gives an empty scan of the inferred type', () => {
  const inner = doubling();
  const inputs = [typed('trips', 'int64', []), typed('cond', 'bool', []), typed('x', 'float32', [])];
  const outputs = [makeValue('y'), makeValue('scan')];
  const outer = node('Loop', inputs, outputs, new Map(Object.entries(body(inner))));
  inferTypes(graph(inputs, outputs, [outer]));
  expect(outputs.map(({ type }) => type)).toEqual([tensorType('float32', undefined), tensorType('float32', undefined)]);
  const [y, scan] = evaluate(
    'Loop',
    21,
    [scalar('int64', 0), null, scalar('float32', 3)],
    body(inner),
    2,
  ) as HostTensor[];
  expect([entries(y), scan.dims, scan.dtype]).toEqual([[3], [0], 'float32']);
});

test('Scan walks axes in both directions', () => {
  const x = t('float32', [1, 2, 3, 4, 5, 6], [2, 3]);
  const start = t('float32', [0, 0]);
  const forward = { ...body(running()), num_scan_inputs: 1, scan_input_axes: [1], scan_output_axes: [-1] };
  const [last, scanned] = evaluate('Scan', 21, [start, x], forward, 2) as HostTensor[];
  expect(entries(last)).toEqual([6, 15]);
  expect([scanned.dims, entries(scanned)]).toEqual([
    [2, 3],
    [2, 6, 12, 8, 18, 30],
  ]);
  const backward = { ...forward, scan_input_directions: [1], scan_output_directions: [1] };
  expect(entries(evaluate('Scan', 21, [start, x], backward, 2)[1] as HostTensor)).toEqual([12, 10, 6, 30, 22, 12]);
  expect(() => evaluate('Scan', 21, [start, x], { ...forward, num_scan_inputs: 3 }, 2)).toThrow(/does not fit/);
});

test('Scan gives its body and its outputs exact types', () => {
  const inner = running();
  const inputs = [typed('start', 'float32', [2]), typed('x', 'float32', [5, 2])];
  const outputs = [makeValue('y'), makeValue('scan')];
  const attributes = new Map<string, Attribute>([
    ['body', { type: 'graph', value: inner }],
    ['num_scan_inputs', { type: 'int', value: 1 }],
  ]);
  inferTypes(graph(inputs, outputs, [node('Scan', inputs, outputs, attributes)]));
  expect(inner.inputs.map(({ type }) => type)).toEqual([tensorType('float32', [2]), tensorType('float32', [2])]);
  expect(outputs.map(({ type }) => type)).toEqual([tensorType('float32', [2]), tensorType('float32', [5, 2])]);
});

test('Scan of version 8 runs every sequence of the batch for its own length', () => {
  const x = t('float32', [1, 2, 3, 10, 20, 30], [2, 3, 1]);
  const start = t('float32', [0, 0], [2, 1]);
  const attributes = { ...body(running()), num_scan_inputs: 1 };
  const [last, scanned] = evaluate('Scan', 8, [t('int64', [3, 2]), start, x], attributes, 2) as HostTensor[];
  expect([last.dims, entries(last)]).toEqual([
    [2, 1],
    [6, 30],
  ]);
  expect([scanned.dims, entries(scanned)]).toEqual([
    [2, 3, 1],
    [2, 6, 12, 20, 60, 0],
  ]);
  const reversed = evaluate('Scan', 8, [null, start, x], { ...attributes, directions: [1] }, 2);
  expect(entries(reversed[1] as HostTensor)).toEqual([6, 10, 12, 60, 100, 120]);
});

test('sequences: insert, erase, at, length', () => {
  const [a, b] = [t('int64', [1]), t('int64', [2, 3])];
  const sequence = evaluate('SequenceConstruct', 11, [a, b])[0];
  const inserted = evaluate('SequenceInsert', 11, [sequence, a, scalar('int64', -1)])[0] as HostSequence;
  expect(inserted.items.map((item) => entries(item as HostTensor))).toEqual([[1n], [1n], [2n, 3n]]);
  expect((evaluate('SequenceErase', 11, [sequence, scalar('int64', 0)])[0] as HostSequence).items).toEqual([b]);
  expect(first('SequenceAt', 11, [sequence, scalar('int32', -1)])).toBe(b);
  expect(entries(first('SequenceLength', 11, [sequence]))).toEqual([2n]);
  expect(() => first('SequenceAt', 11, [sequence, scalar('int64', 2)])).toThrow(/position 2 is outside/);
  expect(() => first('SequenceInsert', 11, [sequence, t('float32', [1])])).toThrow(/float32 into a sequence of int64/);
  const empty = evaluate('SequenceEmpty', 11, [], { dtype: 7 })[0] as HostSequence;
  expect(empty).toMatchObject({ items: [], dtype: 'int64' });
  expect(() => evaluate('SequenceErase', 11, [empty])).toThrow(/empty/);
});

test('SplitToSequence and ConcatFromSequence', () => {
  const x = t('float32', [1, 2, 3, 4, 5, 6], [3, 2]);
  const dims = (...args: Parameters<typeof evaluate>) =>
    (evaluate(...args)[0] as HostSequence).items.map((item) => (item as HostTensor).dims);
  expect(dims('SplitToSequence', 24, [x, scalar('int64', 2)])).toEqual([
    [2, 2],
    [1, 2],
  ]);
  expect(dims('SplitToSequence', 24, [x, t('int64', [0, 2])], { axis: 1 })).toEqual([
    [3, 0],
    [3, 2],
  ]);
  expect(dims('SplitToSequence', 24, [x], { keepdims: 0 })).toEqual([[2], [2], [2]]);
  expect(() => dims('SplitToSequence', 24, [x, scalar('int64', 0)])).toThrow(/positive/);
  const rows = evaluate('SplitToSequence', 24, [x], { keepdims: 0 })[0];
  const stacked = first('ConcatFromSequence', 11, [rows], { axis: 1, new_axis: 1 });
  expect([stacked.dims, entries(stacked)]).toEqual([
    [2, 3],
    [1, 3, 5, 2, 4, 6],
  ]);
});

test('SequenceMap runs its body on each element', () => {
  const sequence: HostSequence = { kind: 'sequence', items: [t('float32', [1]), t('float32', [2, 3])] };
  const [sums, twice] = evaluate(
    'SequenceMap',
    17,
    [sequence, scalar('float32', 1)],
    body(running()),
    2,
  ) as HostSequence[];
  expect(sums.items.map((item) => entries(item as HostTensor))).toEqual([[2], [3, 4]]);
  expect(twice.items.map((item) => entries(item as HostTensor))).toEqual([[4], [6, 8]]);
});

test('optionals', () => {
  const x = t('float32', [1]);
  const full = evaluate('Optional', 28, [x])[0];
  const type: Attribute = { type: 'type', value: tensorType('float32', undefined) };
  const none = evaluate('Optional', 28, [], { type })[0] as HostOptional;
  const has = (...inputs: (HostValue | null)[]) => entries(first('OptionalHasElement', 28, inputs));
  expect([has(full), has(none), has(x), has(null), has()]).toEqual([[1], [0], [1], [0], [0]]);
  expect(first('OptionalGetElement', 28, [full])).toBe(x);
  expect(first('OptionalGetElement', 28, [x])).toBe(x);
  expect(() => first('OptionalGetElement', 28, [none])).toThrow(/no element/);
});

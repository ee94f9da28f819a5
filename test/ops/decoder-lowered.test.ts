import { expect, test } from 'vitest';
import type { DType } from '../../lib/ir/dtype.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';

const x = (dims: readonly number[], seed = 1, dtype: DType = 'float32'): HostTensor =>
  fromNumbers(dtype, dims, random(sizeOf(dims), seed));
const int32 = (...values: readonly number[]): HostTensor => fromNumbers('int32', [values.length], values);
const int64 = (dims: readonly number[], ...values: readonly number[]): HostTensor => fromNumbers('int64', dims, values);

interface Call {
  readonly queries: number;
  /** Keys of every batch entry, the new ones included. */
  readonly lengths: readonly number[];
  readonly total?: number;
  readonly capacity?: number;
  readonly packed?: boolean;
  readonly dtype?: DType;
  readonly rotary?: boolean;
  readonly positions?: HostTensor;
  readonly bias?: readonly number[];
  readonly sinks?: boolean;
  readonly norms?: boolean;
  readonly attributes?: LoweredCase['attributes'];
}

function groupQuery(c: Call): LoweredCase {
  const { queries, lengths, dtype = 'float32' } = c;
  const [batch, heads, kvHeads, size] = [lengths.length, 4, 2, 6];
  const total = c.total ?? Math.max(...lengths);
  const capacity = c.capacity ?? total - queries;
  const floats = (dims: readonly number[], seed: number): HostTensor => x(dims, seed, dtype);
  const inputs: (HostTensor | null)[] = [
    floats([batch, queries, (c.packed ? heads + 2 * kvHeads : heads) * size], 1),
    c.packed ? null : floats([batch, queries, kvHeads * size], 2),
    c.packed ? null : floats([batch, queries, kvHeads * size], 3),
    floats([batch, kvHeads, capacity, size], 4),
    floats([batch, kvHeads, capacity, size], 5),
    int32(...lengths.map((n) => n - 1)),
    int32(total),
    c.rotary ? floats([16, 2], 6) : null,
    c.rotary ? floats([16, 2], 7) : null,
    c.positions ?? null,
    c.bias ? floats(c.bias, 8) : null,
    c.sinks ? floats([heads], 9) : null,
    null,
    null,
    c.norms ? floats([size], 10) : null,
    c.norms ? floats([size], 11) : null,
  ];
  const attributes = { num_heads: heads, kv_num_heads: kvHeads, do_rotary: c.rotary ? 1 : 0, ...c.attributes };
  const outputs = 3;
  return { op: 'GroupQueryAttention', domain: 'com.microsoft', version: 1, inputs, attributes, outputs, constant: [6] };
}

test('GroupQueryAttention', () => {
  for (const packed of [false, true]) {
    for (const rotary of [false, true]) {
      // The first prompt, with nothing before it, and a prompt that is padded.
      checkLowered(groupQuery({ queries: 5, lengths: [5], packed, rotary }));
      checkLowered(groupQuery({ queries: 5, lengths: [5, 3], packed, rotary }));
      // Single tokens, several tokens, entries of different lengths.
      checkLowered(groupQuery({ queries: 1, lengths: [8], packed, rotary }));
      checkLowered(groupQuery({ queries: 4, lengths: [9], packed, rotary, norms: true }));
      checkLowered(groupQuery({ queries: 1, lengths: [8, 3], packed, rotary, sinks: true }));
    }
  }
  checkLowered(groupQuery({ queries: 1, lengths: [1], rotary: true, norms: true }));
  // A state with room for later tokens.
  checkLowered(groupQuery({ queries: 5, lengths: [5, 4], capacity: 12, rotary: true }));
  checkLowered(groupQuery({ queries: 1, lengths: [5, 4], capacity: 12, rotary: true }));
});

test('GroupQueryAttention: attributes and rarer inputs', () => {
  const float = (value: number) => ({ type: 'float', value }) as const;
  const cases: Call[] = [
    { queries: 1, lengths: [9], attributes: { local_window_size: 4 } },
    { queries: 9, lengths: [9], attributes: { local_window_size: 4 } },
    { queries: 4, lengths: [9, 6], attributes: { local_window_size: 3, scale: float(0.5), softcap: float(2) } },
    { queries: 1, lengths: [9], attributes: { smooth_softmax: 1 } },
    { queries: 5, lengths: [9], attributes: { causal: 0 } },
    { queries: 3, lengths: [9], rotary: true, attributes: { rotary_interleaved: 1 } },
    { queries: 3, lengths: [9], bias: [1, 1, 3, 9] },
    { queries: 1, lengths: [9], bias: [1, 4, 1, 9] },
    { queries: 1, lengths: [9, 9], rotary: true, positions: int64([2, 1], 3, 7) },
    { queries: 5, lengths: [5, 5], rotary: true, positions: int64([2, 5], 2, 9, 9, 9, 9, 9, 9, 9, 9, 9) },
  ];
  for (const c of cases) checkLowered(groupQuery(c));
});

test('GroupQueryAttention in half precision', () => {
  for (const dtype of ['float16', 'bfloat16'] as const) {
    checkLowered(groupQuery({ queries: 1, lengths: [8, 5], rotary: true, dtype }));
    checkLowered(groupQuery({ queries: 4, lengths: [4], packed: true, rotary: true, norms: true, dtype }));
    checkLowered(groupQuery({ queries: 4, lengths: [7], packed: true, bias: [1, 1, 4, 7], sinks: true, dtype }));
  }
});

test('GroupQueryAttention refuses what does not fit', () => {
  expect(() => runLowered(groupQuery({ queries: 1, lengths: [9, 10], total: 9 }))).toThrow(/last key/);
  expect(() => runLowered(groupQuery({ queries: 2, lengths: [9, 1], total: 9 }))).toThrow(/last key/);
  const far = int64([1, 1], 16);
  expect(() => runLowered(groupQuery({ queries: 1, lengths: [9], rotary: true, positions: far }))).toThrow(/outside/);
  const reasons = runLowered(
    groupQuery({ queries: 1, lengths: [3], attributes: { sliding_window_cache: 1, local_window_size: 2 } }),
  ).reasons;
  expect(reasons).toEqual(['a cache of the size of the window']);
});

const rotary = (inputs: readonly HostTensor[], attributes: LoweredCase['attributes'], domain = ''): LoweredCase => ({
  ...{ op: 'RotaryEmbedding', domain, version: domain ? 1 : 23, inputs, attributes },
});

test('RotaryEmbedding', () => {
  for (const interleaved of [0, 1]) {
    const heads = { num_heads: 3, interleaved };
    checkLowered(
      rotary([x([2, 3, 5, 8]), x([9, 4], 2), x([9, 4], 3), int64([2, 5], 0, 8, 1, 2, 3, 4, 4, 5, 6, 7)], {
        interleaved,
      }),
    );
    checkLowered(rotary([x([2, 5, 30]), x([2, 5, 3], 2), x([2, 5, 3], 3)], { ...heads, rotary_embedding_dim: 6 }));
    checkLowered(rotary([x([2, 5, 120]), x([2, 5, 20], 2), x([2, 5, 20], 3)], heads));
    checkLowered(rotary([x([2, 5, 24]), int64([1], 3), x([9, 4], 2), x([9, 4], 3)], { interleaved }, 'com.microsoft'));
    checkLowered(
      rotary(
        [x([2, 3, 1, 8], 1, 'float16'), int64([2, 1], 3, 0), x([9, 4], 2, 'float16'), x([9, 4], 3, 'float16')],
        { interleaved },
        'com.microsoft',
      ),
    );
  }
  const far = rotary([x([1, 3, 1, 8]), int64([1, 1], 9), x([9, 4], 2), x([9, 4], 3)], {}, 'com.microsoft');
  expect(() => runLowered(far)).toThrow(/outside/);
});

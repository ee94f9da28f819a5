import { describe, expect, test } from 'vitest';
import type { DType } from '../../lib/ir/dtype.ts';
import {
  type Attribute,
  type Graph,
  makeConstant,
  makeValue,
  type Node,
  tensorType,
  type Value,
} from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor, int64Vector, toNumbers } from '../../lib/ir/tensor.ts';
import { interpret } from '../../lib/ops/interpret.ts';
import { deadCode } from '../../lib/passes/dead-code.ts';
import { rowsAreIndependent } from '../../lib/plan/rows.ts';
import { RowCollector, sliceRows } from '../../lib/runtime/panels.ts';

type Loose = number | string | readonly number[];

function attributeOf(value: Loose): Attribute {
  if (typeof value === 'string') return { type: 'string', value };
  return typeof value === 'number' ? { type: 'int', value } : { type: 'ints', value };
}

/** A graph under construction. */
class Builder {
  readonly graph: Graph = { name: 'g', inputs: [], outputs: [], nodes: [], captures: [] };

  input(dtype: DType, item: readonly number[]): Value {
    const value = makeValue(`x${this.graph.inputs.length}`, tensorType(dtype, ['N', ...item]));
    this.graph.inputs.push(value);
    return value;
  }

  all(op: string, inputs: readonly (Value | null)[], attributes: Record<string, Loose> = {}, outputs = 1): Value[] {
    const domain = op.startsWith('filigree.') ? 'filigree' : '';
    const name = `n${this.graph.nodes.length}`;
    const values = Array.from({ length: outputs }, (_, i) => makeValue(`${name}.${i}`));
    const node: Node = {
      ...{
        name,
        op: op.replace('filigree.', ''),
        domain,
        version: 18,
        inputs: [...inputs],
        outputs: values,
        captures: [],
      },
      attributes: new Map(Object.entries(attributes).map(([key, value]) => [key, attributeOf(value)])),
    };
    for (const value of values) value.producer = node;
    this.graph.nodes.push(node);
    return values;
  }

  op(op: string, inputs: readonly (Value | null)[], attributes: Record<string, Loose> = {}): Value {
    return this.all(op, inputs, attributes)[0];
  }

  /** Entry `axis` of the shape of a value. */
  size(value: Value, axis = 0): Value {
    return this.op('Gather', [this.op('Shape', [value]), number(axis)], { axis: 0 });
  }

  /** The same as a vector. */
  length(value: Value, axis = 0): Value {
    return this.op('Gather', [this.op('Shape', [value]), ints(axis)], { axis: 0 });
  }

  /** 0, 1, 2 and so on for the items of a batch, [N] reshaped. */
  numbers(value: Value, ...dims: number[]): Value {
    return this.op('Reshape', [this.op('Range', [number(0), this.size(value), number(1)]), ints(...dims)]);
  }
}

const number = (value: number): Value => makeConstant('c', fromNumbers('int64', [], [value]));
const ints = (...values: number[]): Value => makeConstant('c', int64Vector(values));
const number32 = (value: number): Value => makeConstant('c', fromNumbers('float32', [], [value]));
const flags = (...values: number[]): Value => makeConstant('c', fromNumbers('bool', [values.length], values));
const floats = (...dims: number[]): Value => {
  const values = Float32Array.from({ length: sizeOf(dims) }, (_, i) => Math.sin(i * 1.7 + 1));
  return makeConstant('c', fromNumbers('float32', dims, values));
};

/** Attention of `x` to itself. */
function attention(g: Builder, layout: string, x: Value, ...mask: Value[]): Value {
  const layouts = Object.fromEntries(['q', 'k', 'v', 'y'].map((which) => [`${which}_layout`, layout]));
  return g.op('filigree.Attention', [x, x, x, ...mask], layouts);
}

/** What builds a network of two inputs: x [N, 4, 6] and ids [N, 4], whole numbers from 0 to 3. */
type Build = (g: Builder, x: Value, ids: Value) => Value | Value[];

function graphOf(build: Build): Graph {
  const g = new Builder();
  const made = build(g, g.input('float32', [4, 6]), g.input('int64', [4]));
  g.graph.outputs = Array.isArray(made) ? made : [made];
  return g.graph;
}

/** Contents for a batch: the items differ in everything. */
function feedsFor(batch: number): HostTensor[] {
  const x = Float32Array.from({ length: batch * 24 }, (_, i) => Math.sin(i * 0.7 + i * i * 0.01));
  const ids = Array.from({ length: batch * 4 }, (_, i) => (i * 7 + (i >> 2) * 3) % 4);
  return [fromNumbers('float32', [batch, 4, 6], x), fromNumbers('int64', [batch, 4], ids)];
}

const isClose = (a: number, b: number): boolean => Object.is(a, b) || Math.abs(a - b) < 1e-6;

/** True where batches on the references are what their items make one by one. */
function separates(graph: Graph): boolean {
  return [1, 2, 4, 5].every((batch) => {
    const feeds = feedsFor(batch);
    try {
      const whole = interpret(graph, feeds) as HostTensor[];
      const collector = new RowCollector(batch);
      for (let from = 0; from < batch; from++) {
        const item = { from, size: 1 };
        collector.add(
          interpret(
            graph,
            feeds.map((feed) => sliceRows(feed, item)),
          ),
          item,
        );
      }
      const apart = collector.outputs as HostTensor[];
      return whole.every(
        (each, i) =>
          String(each.dims) === String(apart[i].dims) &&
          toNumbers(each).every((value, k) => isClose(value, toNumbers(apart[i])[k])),
      );
    } catch {
      return false;
    }
  });
}

const itemDims = [
  [2, 4, 6],
  [2, 4],
];

const apart: Record<string, Build> = {
  elementwise: (g, x) => g.op('Relu', [x]),
  'an addend for each feature': (g, x) => g.op('Add', [x, floats(6)]),
  'an addend with one row': (g, x) => g.op('Add', [x, floats(1, 4, 6)]),
  'softmax over features': (g, x) => g.op('Softmax', [x], { axis: -1 }),
  'a product': (g, x) => g.op('MatMul', [x, floats(6, 5)]),
  'a product from the left': (g, x) => g.op('MatMul', [floats(3, 4), x]),
  'a product of items': (g, x) => g.op('MatMul', [x, g.op('Transpose', [x], { perm: [0, 2, 1] })]),
  'a reshape that keeps items': (g, x) => g.op('Reshape', [x, ints(-1, 2, 12)]),
  'rows of items, and back': (g, x) => {
    const flat = g.op('Reshape', [x, ints(-1, 6)]);
    const y = g.op('Gemm', [flat, floats(6, 5)]);
    return g.op('Reshape', [y, g.op('Concat', [g.length(x), ints(4, 5)], { axis: 0 })]);
  },
  'rows of items as outputs': (g, x) => g.op('Softmax', [g.op('Flatten', [x], { axis: 2 })], { axis: 1 }),
  'slices, splits, pads and joins beside the batch': (g, x) => {
    const slice = g.op('Slice', [x, ints(1), ints(6), ints(-1), ints(2)]);
    const [left, right] = g.all('Split', [x], { axis: 1, num_outputs: 2 }, 2);
    const pad = g.op('Pad', [x, ints(0, 0, 1, 0, 0, 2)]);
    const joined = g.op('Concat', [left, right], { axis: -1 });
    return [slice, pad, joined, g.op('Tile', [x, ints(1, 2, 1)])];
  },
  'slices that name the whole batch': (g, x) =>
    g.op('Slice', [x, ints(0, 1), ints(2 ** 31 - 1, 3), ints(0, 1), ints(1, 1)]),
  'reductions beside the batch': (g, x) => [
    g.op('ReduceMean', [x, ints(1, -1)], { keepdims: 0 }),
    g.op('ArgMax', [x], { axis: 2 }),
    g.op('CumSum', [x, number(1)]),
    ...g.all('TopK', [x, ints(2)], { axis: 1 }, 2),
  ],
  'normalisations of items': (g, x) => [
    g.op('LayerNormalization', [x, floats(6)], { axis: -1 }),
    g.op('InstanceNormalization', [x, floats(4), floats(4)]),
    g.op('LpNormalization', [x], { axis: 1 }),
  ],
  embeddings: (g, x, ids) => g.op('Add', [g.op('Gather', [floats(4, 6), ids], { axis: 0 }), x]),
  'embeddings of positions': (g, x) => {
    const all = g.op('Unsqueeze', [ints(0, 1, 2, 3, 4, 5, 6, 7, 8), ints(0)]);
    const positions = g.op('Slice', [all, ints(0), g.length(x, 1), ints(1)]);
    return g.op('Add', [x, g.op('Gather', [floats(9, 6), positions], { axis: 0 })]);
  },
  'elements at own indices': (g, x, ids) => [
    g.op('GatherElements', [x, g.op('Unsqueeze', [ids, ints(2)])], { axis: 1 }),
    g.op('GatherND', [x, g.op('Unsqueeze', [ids, ints(2)])], { batch_dims: 1 }),
    g.op('GatherND', [floats(4, 3), g.op('Unsqueeze', [ids, ints(2)])]),
    g.op('GatherElements', [floats(4, 4), ids], { axis: 0 }),
  ],
  'one-hot rows': (g, _, ids) =>
    g.op('OneHot', [ids, number(4), makeConstant('c', fromNumbers('float32', [2], [0, 1]))]),
  'a token that all items begin with': (g, x) => {
    const token = g.op('Expand', [floats(1, 1, 6), g.op('Concat', [g.length(x), ints(1, 6)], { axis: 0 })]);
    return g.op('Concat', [token, x], { axis: 1 });
  },
  'a shape with entries that might be -1': (g, x) => {
    const wanted = g.op('Concat', [g.length(x), ints(-1, 6)], { axis: 0 });
    const shape = g.op('Where', [g.op('Equal', [wanted, ints(-1, -1, -1)]), ints(1, 1, 1), wanted]);
    return g.op('Add', [x, g.op('Expand', [floats(1, 1, 6), shape])]);
  },
  'zeros of the size of the batch': (g, x) =>
    g.op('Add', [x, g.op('ConstantOfShape', [g.op('Concat', [g.length(x), ints(1, 1)], { axis: 0 })])]),
  'a mask by row numbers of the flattened batch': (g, x, ids) => {
    const flat = g.op('Flatten', [g.op('Cast', [ids], { to: 9 })], { axis: 2 });
    const rows = g.op('Mul', [g.numbers(ids, 0, 1, 1, 1), g.length(ids, 1)]);
    const columns = g.op('Reshape', [g.op('Range', [number(0), g.size(ids, 1), number(1)]), ints(1, 1, 1, -1)]);
    const picked = g.op('Reshape', [
      g.op('Gather', [flat, g.op('Add', [columns, rows])], { axis: 0 }),
      ints(0, 1, 1, 0),
    ]);
    const shape = g.op('Concat', [g.length(x), ints(-1), g.length(x, 1), g.length(ids, 1)], { axis: 0 });
    const wanted = g.op('Where', [g.op('Equal', [shape, ints(-1, -1, -1, -1)]), ints(1, 1, 1, 1), shape]);
    const mask = g.op('Where', [g.op('Expand', [picked, wanted]), number32(0), number32(-5)]);
    return attention(g, 'bshd', g.op('Reshape', [x, ints(0, 0, 2, 3)]), mask);
  },
  'a mask by places of rows and columns': (g, _, ids) => {
    const rows = g.numbers(ids, 0, 1, 1, 1);
    const columns = g.op('Reshape', [g.op('Range', [number(0), g.size(ids, 1), number(1)]), ints(1, 1, 1, -1)]);
    const shape = g.op('Shape', [g.op('Max', [rows, columns])]);
    const places = [rows, columns].map((each) => g.op('Unsqueeze', [g.op('Expand', [each, shape]), ints(-1)]));
    return g.op('GatherND', [ids, g.op('Concat', places, { axis: -1 })]);
  },
  'attention with a mask for each item': (g, x, ids) => {
    const heads = g.op('Reshape', [x, ints(0, 0, 2, 3)]);
    const mask = g.op('Reshape', [g.op('Cast', [ids], { to: 1 }), ints(0, 1, 1, -1)]);
    return attention(g, 'bshd', heads, mask);
  },
  'attention in heads of the flattened batch': (g, x) => {
    const heads = g.op('Reshape', [
      g.op('Transpose', [g.op('Reshape', [x, ints(0, 0, 2, 3)])], { perm: [0, 2, 1, 3] }),
      ints(-1, 4, 3),
    ]);
    return attention(g, 'hsd', heads);
  },
  'a resize to sizes that keep the batch': (g, x) => {
    const sizes = g.op('Concat', [g.length(x), ints(8, 3)], { axis: 0 });
    return g.op('Resize', [x, null, null, sizes], { mode: 'nearest' });
  },
  'one scale': (g, x) => g.op('QuantizeLinear', [x, number32(0.1)]),
};

const mixed: Record<string, Build> = {
  'softmax over the batch': (g, x) => g.op('Softmax', [x], { axis: 0 }),
  'a reshape that mixes items': (g, x) => g.op('Reshape', [x, ints(6, -1)]),
  'a reshape to a number of rows': (g, x) => g.op('Reshape', [x, ints(4, -1)]),
  'a transposition': (g, x) => g.op('Transpose', [x], { perm: [1, 0, 2] }),
  'rows of items given back in another order': (g, x) => {
    const flat = g.op('Reshape', [x, ints(-1, 6)]);
    const turned = g.op('Reshape', [flat, g.op('Concat', [ints(4), g.length(x), ints(6)], { axis: 0 })]);
    return g.op('Transpose', [turned], { perm: [1, 0, 2] });
  },
  'sums over the batch': (g, x) => g.op('Add', [x, g.op('ReduceSum', [x, ints(0)])]),
  'a mean of everything': (g, x) => g.op('Sub', [x, g.op('ReduceMean', [x])]),
  'a running sum over the batch': (g, x) => g.op('CumSum', [x, number(0)]),
  'the best of the batch': (g, x) => g.op('Mul', [x, g.op('ReduceMax', [x, ints(-3)])]),
  'an order of the batch': (g, x) => g.all('TopK', [x, g.length(x)], { axis: 0 }, 2)[0],
  'where the best of the batch is': (g, x) =>
    g.op('Add', [x, g.op('Cast', [g.op('ArgMax', [x], { axis: 0 })], { to: 1 })]),
  'a norm over the batch': (g, x) => g.op('LpNormalization', [x], { axis: 0 }),
  'a layer norm of everything': (g, x) => g.op('LayerNormalization', [x, floats(1)], { axis: 0 }),
  'a mean and variance over the batch': (g, x) => g.op('MeanVarianceNormalization', [x], { axes: [0, 2] }),
  'one scale of the whole batch': (g, x) => g.all('DynamicQuantizeLinear', [x], {}, 3)[0],
  'products of items with each other': (g, x) => {
    const flat = g.op('Flatten', [x], { axis: 1 });
    return g.op('MatMul', [flat, g.op('Transpose', [flat], { perm: [1, 0] })]);
  },
  'the batch twice': (g, x) => g.op('Concat', [x, x], { axis: 0 }),
  'the batch repeated': (g, x) => g.op('Tile', [x, ints(2, 1, 1)]),
  'an item more': (g, x) => g.op('Pad', [x, ints(1, 0, 0, 0, 0, 0)]),
  'an item for another': (g, x) => g.op('Pad', [x, ints(1, 0, 0, -1, 0, 0)]),
  'items from last to first': (g, x) => g.op('Slice', [x, ints(-1), ints(-99), ints(0), ints(-1)]),
  'all items but the first': (g, x) => g.op('Slice', [x, ints(1, 0), ints(2 ** 31 - 1, 3), ints(-3, 1)]),
  'every second item': (g, x) => g.op('Slice', [x, ints(0), ints(2 ** 31 - 1), ints(0), ints(2)]),
  'the first three items': (g, x) => g.op('Slice', [x, ints(0), ints(3), ints(0)]),
  'the first item for all': (g, x) => g.op('Add', [x, g.op('Gather', [x, ints(0)], { axis: 0 })]),
  'items by number, from last to first': (g, x) => {
    const last = g.op('Sub', [g.size(x), number(1)]);
    return g.op('Gather', [x, g.op('Sub', [last, g.numbers(x, -1)])], { axis: 0 });
  },
  'the next item': (g, x) => {
    const next = g.op('Mod', [g.op('Add', [g.numbers(x, -1), number(1)]), g.size(x)]);
    return g.op('Gather', [x, next], { axis: 0 });
  },
  'the first two items by number': (g, x) =>
    g.op('Gather', [x, g.op('Min', [g.numbers(x, -1), number(1)])], { axis: 0 }),
  'rows of the flattened batch by a wrong stride': (g, _, ids) => {
    const index = g.op('Add', [g.op('Mul', [g.numbers(ids, -1, 1), number(3)]), ints(0, 1, 2)]);
    return g.op('Gather', [g.op('Reshape', [ids, ints(-1)]), index], { axis: 0 });
  },
  'rows of the flattened batch beyond the own item': (g, _, ids) => {
    const index = g.op('Add', [g.op('Mul', [g.numbers(ids, -1, 1), number(4)]), ints(-1, 2)]);
    return g.op('Gather', [g.op('Reshape', [ids, ints(-1)]), index], { axis: 0 });
  },
  'rows by what the items hold': (g, _, ids) => g.op('Gather', [g.op('Reshape', [ids, ints(-1)]), ids], { axis: 0 }),
  'places in the wrong item': (g, x, ids) => {
    const place = [g.op('Unsqueeze', [ids, ints(2)]), g.op('Unsqueeze', [ids, ints(2)])];
    return g.op('GatherND', [x, g.op('Concat', place, { axis: -1 })]);
  },
  'columns by the number of the item': (g, x) => {
    const numbers = g.op('Expand', [g.numbers(x, -1, 1), g.op('Concat', [g.length(x), ints(2)], { axis: 0 })]);
    return g.op('GatherND', [x, g.op('Mod', [numbers, number(4)])]);
  },
  'the size of the batch as a divisor': (g, x) => g.op('Div', [x, g.op('Cast', [g.size(x)], { to: 1 })]),
  'the size of the batch in every row': (g, x) => {
    const shape = g.op('Concat', [g.length(x), ints(4, 6)], { axis: 0 });
    return g.op('Add', [x, g.op('Cast', [g.op('Expand', [g.size(x), shape])], { to: 1 })]);
  },
  'the size of the batch, as a byte': (g, x) => {
    const byte = g.op('Cast', [g.op('Cast', [g.length(x)], { to: 2 })], { to: 7 });
    return g.op('Reshape', [x, g.op('Concat', [g.op('Mul', [byte, byte]), ints(-1)], { axis: 0 })]);
  },
  'the number of the item as a factor': (g, x) => {
    const numbers = g.op('Cast', [g.numbers(x, -1, 1, 1)], { to: 1 });
    return g.op('Mul', [x, numbers]);
  },
  'the number of the item as a result': (g, x) => [x, g.numbers(x, -1)],
  'a choice by the number of the item': (g, x) =>
    g.op('Where', [g.op('Less', [g.numbers(x, -1, 1, 1), number(2)]), x, floats(1)]),
  'squares of numbers of items': (g, x) => {
    const numbers = g.numbers(x, -1);
    return g.op('Gather', [x, g.op('Mod', [g.op('Mul', [numbers, numbers]), g.size(x)])], { axis: 0 });
  },
  'a choice by the size of the batch': (g, x) => {
    const large = g.op('Greater', [g.size(x), number(3)]);
    return g.op('Where', [large, g.op('Relu', [x]), x]);
  },
  'an axis that goes where the batch is 1': (g, x) => g.op('Squeeze', [x]),
  'a diagonal of the batch': (g, x) => g.op('EyeLike', [g.op('Flatten', [x], { axis: 1 })], { dtype: 1 }),
  'places of maxima, counted through the batch': (g, x) => g.all('MaxPool', [x], { kernel_shape: [2] }, 2),
  'a scale for each of as many rows': (g, x) => {
    const turned = g.op('Transpose', [x], { perm: [1, 0, 2] });
    return g.op('Transpose', [g.op('Add', [turned, floats(4, 1, 1)])], { perm: [2, 1, 0] });
  },
  'a mask that lies along heads': (g, x, ids) => {
    const heads = g.op('Reshape', [x, ints(0, 0, 2, 3)]);
    const mask = g.op('Reshape', [g.op('Cast', [ids], { to: 1 }), ints(-1, 1, 4)]);
    return attention(g, 'bshd', heads, mask);
  },
  'attention from item to item': (g, x) => attention(g, 'shd', g.op('Reshape', [x, ints(0, 4, 6)])),
  'outputs without the batch': (g, x) => g.op('Unsqueeze', [x, ints(0)]),
  'a size of the batch along another axis': (g, x) =>
    g.op('Expand', [g.op('Slice', [x, ints(0), ints(3), ints(2)]), g.length(x)]),
  'sizes that are 0 for one item': (g, x) => {
    const pairs = g.op('Reshape', [x, ints(-1, 12)]);
    const size = g.op('Mul', [g.op('Sub', [g.length(x), ints(1)]), ints(3)]);
    return g.op('Reshape', [pairs, g.op('Concat', [size, ints(12)], { axis: 0 })]);
  },
  'sizes that are -1 for one item': (g, x) => {
    const size = g.op('Sub', [g.op('Mul', [g.length(x), ints(2)]), ints(3)]);
    return g.op('Reshape', [x, g.op('Concat', [size, ints(24)], { axis: 0 })]);
  },
  'rows left out by what they hold': (g, x) => g.op('Compress', [x, flags(1)], { axis: 0 }),
};

describe('items of a batch apart', () => {
  test.each(Object.entries(apart))('%s', (_, build) => {
    const graph = graphOf(build);
    expect(separates(graph)).toBe(true);
    expect(rowsAreIndependent(graph, itemDims)).toBe(true);
  });
});

describe('items of a batch together', () => {
  test.each(Object.entries(mixed))('%s', (_, build) => {
    const graph = graphOf(build);
    // The case would be none otherwise.
    expect(separates(graph)).toBe(false);
    expect(rowsAreIndependent(graph, itemDims)).toBe(false);
  });

  test('items of other sizes may behave in another way', () => {
    const graph = graphOf((g, x) => g.op('Softmax', [g.op('Squeeze', [x, ints(1)])], { axis: 0 }));
    expect(rowsAreIndependent(graph, itemDims)).toBe(false);
  });

  test('random numbers', () => {
    const graph = graphOf((g, x) => g.op('Add', [x, g.op('RandomNormalLike', [x])]));
    expect(rowsAreIndependent(graph, itemDims)).toBe(false);
  });

  test('a batch that the graph fixes', () => {
    const graph = graphOf((g, x) => g.op('Add', [x, floats(2, 4, 6)]));
    expect(rowsAreIndependent(graph, itemDims)).toBe(false);
  });
});

/** A network of random operators: most fit no shapes, and of those that do most mix items. */
function randomGraph(seed: number): Graph {
  let state = seed * 2654435761;
  const below = (count: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
  const g = new Builder();
  const [x, ids] = [g.input('float32', [4, 6]), g.input('int64', [4])];
  const pools = { floats: [x], integers: [ids, g.numbers(ids, -1), g.size(ids), g.length(x), ints(2), ints(-1, 1)] };
  const any = (pool: Value[]): Value => pool[below(pool.length)];
  const either = (): Value[] => (below(2) ? pools.floats : pools.integers);
  const axis = (): number => below(4) - 1;
  const onFloats: (() => Value)[] = [
    () => g.op(['Relu', 'Softmax', 'Flatten'][below(3)], [any(pools.floats)]),
    () => g.op(['Add', 'Mul', 'MatMul'][below(3)], [any(pools.floats), any(pools.floats)]),
    () => g.op('Cast', [any(pools.integers)], { to: 1 }),
  ];
  const onIntegers: (() => Value)[] = [
    () => g.op(['Add', 'Sub', 'Mul', 'Mod', 'Min', 'Max'][below(6)], [any(pools.integers), any(pools.integers)]),
    () => g.op('Shape', [any(either())]),
    () => g.op('Concat', [any(pools.integers), any(pools.integers)], { axis: axis() }),
    () => g.numbers(any(either()), -1, 1),
  ];
  const onBoth: ((pool: Value[]) => Value)[] = [
    (pool) => g.op('Gather', [any(pool), any(pools.integers)], { axis: axis() }),
    (pool) => g.op('GatherND', [any(pool), any(pools.integers)]),
    (pool) => g.op('GatherElements', [any(pool), any(pools.integers)], { axis: axis() }),
    (pool) => g.op('Reshape', [any(pool), any([...pools.integers, ints(-1), ints(-1, 6), ints(0, 0, 1, -1)])]),
    (pool) => g.op('Unsqueeze', [any(pool), ints(axis())]),
    (pool) => g.op('Expand', [any(pool), any(pools.integers)]),
    (pool) => g.op('Slice', [any(pool), ints(below(2)), ints(1 + below(4)), ints(axis())]),
    (pool) => g.op('ReduceMax', [any(pool), ints(axis())], { keepdims: below(2) }),
    (pool) => g.op('Transpose', [any(pool)]),
    (pool) => g.op('Concat', [any(pool), any(pool)], { axis: axis() }),
    (pool) => {
      const less = g.op(['Less', 'Equal', 'Greater'][below(3)], [any(pools.integers), any(pools.integers)]);
      return g.op('Where', [less, any(pool), any(pool)]);
    },
  ];
  for (let made = 0, tries = 0; made < 4 && tries < 60; tries++) {
    const count = g.graph.nodes.length;
    const toFloats = below(2) === 1;
    const pool = toFloats ? pools.floats : pools.integers;
    const own = toFloats ? onFloats : onIntegers;
    const y = below(3) ? onBoth[below(onBoth.length)](pool) : own[below(own.length)]();
    try {
      interpret({ ...g.graph, outputs: [y] }, feedsFor(3));
      pool.push(y);
      made++;
    } catch {
      g.graph.nodes.length = count;
    }
  }
  g.graph.outputs = [g.graph.nodes.at(-1)?.outputs[0] ?? x];
  deadCode.run(g.graph);
  return g.graph;
}

test('random networks: what is taken apart can be taken apart', () => {
  let taken = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const graph = randomGraph(seed);
    if (!rowsAreIndependent(graph, itemDims)) continue;
    taken++;
    expect(separates(graph), `seed ${seed}`).toBe(true);
  }
  expect(taken).toBeGreaterThan(30);
});

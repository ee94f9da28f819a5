/** Channels of feature maps joined, split and taken in segments, in graphs of many layers. */

import { describe, expect, test } from 'vitest';
import { type Attribute, type Graph, makeConstant, makeValue, type Node, type Value } from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, int64Vector, toNumbers } from '../../lib/ir/tensor.ts';
import { runNode } from '../../lib/ops/interpret.ts';
import { random } from '../kernels/harness.ts';
import { runGraph } from './lowered.ts';

/** Whole numbers below a limit, the same for the same seed. */
function dice(seed: number): (limit: number) => number {
  let state = seed * 2654435761 + 1;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

type Attributes = Record<string, number | string | readonly number[]>;

function attributeOf(value: Attributes[string]): Attribute {
  if (typeof value === 'number') return { type: 'int', value };
  return typeof value === 'string' ? { type: 'string', value } : { type: 'ints', value };
}

/** A graph over maps, and what its references give. */
class Maps {
  readonly #nodes: Node[] = [];
  readonly #contents = new Map<Value, HostValue>();
  readonly #inputs: Value[] = [];

  dims(value: Value): readonly number[] {
    return this.tensor(value).dims;
  }
  tensor(value: Value): HostTensor {
    return this.#contents.get(value) as HostTensor;
  }

  input(content: HostTensor): Value {
    const value = makeValue(`x${this.#inputs.length}`);
    this.#inputs.push(value);
    this.#contents.set(value, content);
    return value;
  }

  add(op: string, inputs: readonly Value[], attributes: Attributes = {}, outputs = 1, domain = ''): Value[] {
    const name = `${op}${this.#nodes.length}`;
    const values = Array.from({ length: outputs }, (_, i) => makeValue(`${name}_${i}`));
    const entries = Object.entries(attributes).map(([key, value]) => [key, attributeOf(value)] as const);
    const version = domain ? 1 : 17;
    const node = { name, op, domain, version, inputs: [...inputs], outputs: values, captures: [] };
    const whole = { ...node, attributes: new Map(entries) };
    for (const value of values) value.producer = whole;
    this.#nodes.push(whole);
    const read = inputs.map((input) => (input.constant ?? this.#contents.get(input)) as HostValue);
    runNode(whole, read).forEach((content, i) => {
      this.#contents.set(values[i], content);
    });
    return values;
  }

  /** A convolution that keeps the size of the map. */
  conv(x: Value, channels: number, kernel: number, density: number, seed: number, residual?: Value): Value {
    const dims = [
      channels,
      this.dims(x)[1],
      ...this.dims(x)
        .slice(2)
        .map(() => kernel),
    ];
    const chosen = dice(seed);
    const numbers = random(sizeOf(dims), seed).map((w) => (chosen(1000) < density * 1000 ? w : 0));
    const weights = makeConstant('w', fromNumbers('float32', dims, numbers));
    const bias = makeConstant('b', fromNumbers('float32', [channels], random(channels, seed + 1)));
    const pads = new Array<number>(2 * (dims.length - 2)).fill((kernel - 1) / 2);
    const inputs = [x, weights, bias, ...(residual ? [residual] : [])];
    return this.add('Conv', inputs, { pads, activation: 'Relu' }, 1, 'filigree')[0];
  }

  /** Runs the graph natively; the names of its kernels. Every value but constants is compared where `outputs` has it. */
  check(outputs: readonly Value[], threads: number): readonly string[] {
    const graph: Graph = { name: 'g', inputs: this.#inputs, outputs: [...outputs], nodes: this.#nodes, captures: [] };
    const bindings = new Map(this.#inputs.map((input) => [input, this.tensor(input)]));
    const { results, reasons, kernels } = runGraph(graph, bindings, threads);
    expect(reasons).toEqual([]);
    results.forEach((result, i) => {
      const want = this.tensor(outputs[i]);
      const got = result as HostTensor;
      expect(got.dims).toEqual(want.dims);
      const [a, b] = [toNumbers(got), toNumbers(want)];
      const size = b.reduce((most: number, v) => Math.max(most, Math.abs(v)), 1);
      const off = a.findIndex((v, at) => !(Math.abs(v - b[at]) <= 2e-5 * size));
      expect(off, `${outputs[i].name}[${off}] is ${a[off]}, not ${b[off]}`).toBe(-1);
    });
    return kernels;
  }

  get values(): Value[] {
    return this.#nodes.flatMap((node) => node.outputs as Value[]);
  }
  isRead(value: Value): boolean {
    return this.#nodes.some((node) => node.inputs.includes(value));
  }
}

const image = (dims: readonly number[], seed = 1): HostTensor =>
  fromNumbers('float32', dims, random(sizeOf(dims), seed));

const moves = ['strided.copy', 'segments.to_planes', 'segments.from_planes', 'segments.convert', 'segments.copy'];
const count = (kernels: readonly string[], names: readonly string[]): number =>
  kernels.filter((kernel) => names.includes(kernel)).length;

describe.each([1, 2])('on %i threads', (threads) => {
  test.each([
    [1, 1, 7, 15],
    [3, 16, 13, 17],
    [16, 17, 16, 5],
    [17, 3, 1, 4],
    [1, 32, 17, 17],
  ])('%i images of %i channels, %i x %i: every layer joined to all before it', (n, c, h, w) => {
    const maps = new Maps();
    const features = [maps.conv(maps.input(image([n, 3, h, w])), c, 3, 1, 7)];
    for (let layer = 0; layer < 4; layer++) {
      const joined = layer ? maps.add('Concat', features, { axis: 1 })[0] : features[0];
      const factors = [1, 2].map((seed) => makeConstant('f', image([maps.dims(joined)[1]], seed)));
      const [scaled] = maps.add('Scale', [joined, ...factors], { activation: 'Relu' }, 1, 'filigree');
      const narrow = maps.conv(scaled, 8, 1, layer % 2 ? 0.1 : 1, 20 + layer);
      features.push(maps.conv(narrow, c + layer, 3, layer % 2 ? 1 : 0.1, 40 + layer));
    }
    const [all] = maps.add('Concat', features, { axis: 1 });
    // The only conversions are those of the plan's own input and output.
    expect(count(maps.check([all], threads), moves)).toBe(2);
  });

  test('concatenations of concatenations', () => {
    const maps = new Maps();
    const x = maps.conv(maps.input(image([2, 3, 9, 16])), 5, 3, 1, 7);
    let [joined] = maps.add('Concat', [x, maps.conv(x, 3, 3, 1, 8)], { axis: 1 });
    for (let layer = 0; layer < 3; layer++) {
      joined = maps.add('Concat', [maps.conv(joined, 4, 3, 1, 9 + layer), joined], { axis: 1 })[0];
    }
    expect(count(maps.check([joined], threads), moves)).toBe(2);
  });

  test('a split whose parts are joined again beside what is made of them', () => {
    const maps = new Maps();
    const whole = maps.conv(maps.input(image([1, 3, 20, 20])), 32, 1, 1, 7);
    const [a, b] = maps.add('Split', [whole], { axis: 1 }, 2);
    const c = maps.conv(maps.conv(b, 16, 3, 1, 8), 16, 3, 1, 9, b);
    const [joined] = maps.add('Concat', [a, b, c], { axis: 1 });
    const y = maps.conv(joined, 8, 1, 1, 10);
    expect(count(maps.check([y], threads), moves)).toBe(2);
  });

  test('one map under windows that want other borders', () => {
    const maps = new Maps();
    const x = maps.conv(maps.input(image([1, 3, 13, 13])), 6, 1, 1, 7);
    const pads = [1, 1, 1, 1];
    const [a, b] = [maps.conv(x, 4, 1, 1, 8), maps.conv(x, 4, 1, 1, 9)];
    const before = maps.conv(a, 3, 3, 1, 10);
    const [joined] = maps.add('Concat', [a, b], { axis: 1 });
    const [pooled] = maps.add(
      'MaxPool',
      [
        maps.add(
          'Scale',
          [
            joined,
            makeConstant(
              'f',
              fromNumbers(
                'float32',
                [8],
                [...'12345678'].map((v) => -Number(v)),
              ),
            ),
          ],
          {},
          1,
          'filigree',
        )[0],
      ],
      { kernel_shape: [3, 3], pads },
    );
    const [direct] = maps.add('MaxPool', [joined], { kernel_shape: [3, 3], pads });
    const after = maps.conv(a, 3, 3, 1, 11);
    const [average] = maps.add('AveragePool', [b], { kernel_shape: [3, 3], pads });
    maps.check([before, pooled, direct, after, average], threads);
  });

  test.each([2, 3])('channels shuffled in %i groups', (group) => {
    for (const images of [1, 3]) {
      const maps = new Maps();
      const x = maps.conv(maps.input(image([images, 3, 13, 7])), 2 * group, 1, 1, 7);
      const [joined] = maps.add('Concat', [x, maps.conv(x, 4 * group, 3, 1, 8)], { axis: 1 });
      const [mixed] = maps.add('ShuffleChannels', [joined], { group }, 1, 'filigree');
      const [a, b] = maps.add('Split', [mixed], { axis: 1 }, 2);
      const [last] = maps.add('Concat', [a, maps.conv(b, 5, 3, 1, 9)], { axis: 1 });
      // The plan's input and output, the steps of the shuffle, and the part that is passed on.
      expect(count(maps.check([last], threads), moves)).toBe(2 + group + 1);
      const rows = maps.input(image([images, 3 * group, 2, 5]));
      maps.check(maps.add('ShuffleChannels', [rows], { group }, 1, 'filigree'), threads);
    }
  });

  test('means and maxima over the positions', () => {
    const maps = new Maps();
    const x = maps.conv(maps.input(image([3, 3, 13, 7])), 9, 1, 1, 7);
    const [, part] = maps.add('Split', [x, makeConstant('s', int64Vector([2, 7]))], { axis: 1 }, 2);
    const over = ['Mean', 'Max'].flatMap((name) =>
      [x, part].flatMap((of) => maps.add(`Reduce${name}`, [of], { axes: [2, 3], keepdims: of === x ? 1 : 0 })),
    );
    const others = maps.add('ReduceMean', [part], { axes: [1, 3] });
    expect(count(maps.check([...over, ...others], threads), ['pool.segments.global.f32'])).toBe(4);
  });

  test('the same map twice', () => {
    const maps = new Maps();
    const x = maps.conv(maps.input(image([1, 3, 7, 7])), 4, 1, 1, 7);
    const [twice] = maps.add('Concat', [x, x], { axis: 1 });
    const [alone] = maps.add('Concat', [twice], { axis: 1 });
    maps.check([alone, maps.conv(twice, 4, 3, 1, 8), maps.conv(alone, 4, 3, 1, 9)], threads);
  });

  test.each([[[2, 3, 40]], [[1, 3, 4, 5, 6]], [[3, 3, 1, 1]]])('of maps of %j', (dims) => {
    const maps = new Maps();
    const x = maps.conv(maps.input(image(dims)), 5, 3, 1, 7);
    const [joined] = maps.add('Concat', [x, maps.conv(x, 6, 1, 0.1, 8), maps.conv(x, 1, 3, 1, 9)], { axis: 1 });
    const [a, b] = maps.add('Split', [joined, makeConstant('s', int64Vector([8, 4]))], { axis: 1 }, 2);
    maps.check([maps.conv(a, 3, 3, 1, 10), maps.conv(b, 3, 1, 0.1, 11), b], threads);
  });

  test('bytes', () => {
    const maps = new Maps();
    const [scale, zero] = [fromNumbers('float32', [], [0.05]), fromNumbers('uint8', [], [128])];
    const grid = [makeConstant('s', scale), makeConstant('z', zero)];
    for (const [first, second] of [
      [8, 4],
      [4, 6],
      [5, 8],
    ]) {
      const x = maps.conv(maps.input(image([2, 3, 9, 9], first)), 7, 1, 1, 7);
      const parts = [first, second].map((c, i) => maps.add('QuantizeLinear', [maps.conv(x, c, 3, 1, i), ...grid])[0]);
      const [joined] = maps.add('Concat', parts, { axis: 1 });
      const [pooled] = maps.add('MaxPool', [joined], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
      const [, tail] = maps.add(
        'Split',
        [joined, makeConstant('n', int64Vector([4, first + second - 4]))],
        { axis: 1 },
        2,
      );
      const outputs = [maps.add('DequantizeLinear', [pooled, ...grid]), maps.add('DequantizeLinear', [tail, ...grid])];
      // A step of the quantisation may go the other way where sums round differently; none does here.
      maps.check(outputs.flat(), threads);
    }
  });
});

/** One random layer over the maps so far, all of one size. */
function grow(maps: Maps, known: Value[], roll: (limit: number) => number, seed: number): void {
  const pick = (): Value => known[roll(known.length)];
  const x = pick();
  const channels = maps.dims(x)[1];
  const spatial = maps.dims(x).length - 2;
  const window = { kernel_shape: new Array(spatial).fill(3), pads: new Array(2 * spatial).fill(1) };
  switch (roll(11)) {
    case 0:
    case 1:
    case 2: {
      const alike = known.filter((value) => maps.dims(value)[1] === channels);
      const residual = roll(3) === 0 ? alike[roll(alike.length)] : undefined;
      known.push(
        maps.conv(x, residual ? channels : 1 + roll(18), roll(2) ? 3 : 1, [1, 0.3, 0.05][roll(3)], seed, residual),
      );
      break;
    }
    case 3:
      known.push(...maps.add(roll(2) ? 'MaxPool' : 'AveragePool', [x], window));
      break;
    case 4: {
      if (channels < 2) break;
      const first = 1 + roll(channels - 1);
      const sizes = makeConstant('n', int64Vector([first, channels - first]));
      known.push(...maps.add('Split', [x, sizes], { axis: 1 }, 2));
      break;
    }
    case 5: {
      const first = roll(channels);
      const [start, end, axis] = [first, first + 1 + roll(channels - first), 1].map((v) =>
        makeConstant('i', int64Vector([v])),
      );
      known.push(...maps.add('Slice', [x, start, end, axis]));
      break;
    }
    case 6: {
      const [sigmoid] = maps.add('Sigmoid', [x]);
      known.push(...maps.add('Mul', [x, sigmoid]));
      break;
    }
    case 8: {
      const group = [5, 4, 3, 2, 1].find((each) => channels % each === 0) as number;
      known.push(...maps.add('ShuffleChannels', [x], { group }, 1, 'filigree'));
      break;
    }
    case 7: {
      const factors = makeConstant('f', image([channels], seed));
      known.push(...maps.add('Scale', [x, factors], { activation: 'Relu' }, 1, 'filigree'));
      break;
    }
    default: {
      const parts = Array.from({ length: 2 + roll(3) }, pick);
      if (parts.reduce((sum, part) => sum + maps.dims(part)[1], 0) > 120) break;
      known.push(...maps.add('Concat', parts, { axis: roll(2) ? 1 : 1 - maps.dims(x).length }));
    }
  }
}

test.each(Array.from({ length: 40 }, (_, i) => i))('random graph %i', (seed) => {
  const roll = dice(seed + 1);
  const sizes = [1, 7, 13, 16, 17];
  const spatial = seed % 8 === 7 ? [37] : [sizes[roll(5)], sizes[roll(5)]];
  const maps = new Maps();
  const input = maps.input(image([[1, 3, 16, 17][roll(4)], 3, ...spatial]));
  const known = [maps.conv(input, 1 + roll(20), 3, 1, seed)];
  for (let layer = 0; layer < 14; layer++) grow(maps, known, roll, 100 * seed + layer);
  const outputs = maps.values.filter((value) => !maps.isRead(value) || roll(6) === 0);
  maps.check(outputs, 1 + (seed % 2));
});

import { describe, expect, test } from 'vitest';
import { tensor } from '../../../lib/ir/tensor.ts';
import { fuseDynamic } from '../../../lib/passes/fuse-dynamic.ts';
import { fuseLinear } from '../../../lib/passes/fuse-linear.ts';
import { unpackQuantized } from '../../../lib/passes/unpack-quantized.ts';
import { attribute, floats, node, port, rawTensor } from '../../models/onnx-writer.ts';
import { checkLowered } from '../../ops/lowered.ts';
import { noise, rewrite } from './harness.ts';

const [depth, columns] = [24, 10];
const levels = (signed: boolean) => noise(depth * columns, 2).map((v) => Math.round(v * 120) + (signed ? 0 : 128));

function dynamicModel(signed: boolean, weights: number[], zero?: number) {
  const dtype = signed ? 'int8' : 'uint8';
  const bytes = signed ? Int8Array.from(weights) : Uint8Array.from(weights);
  const zeros = zero === undefined ? [] : [rawTensor('z', dtype, [], (signed ? Int8Array : Uint8Array).of(zero))];
  return {
    nodes: [
      node('DynamicQuantizeLinear', ['x'], ['q', 's', 'o']),
      node('MatMulInteger', ['q', 'w', 'o', ...(zero === undefined ? [] : ['z'])], ['sums']),
      node('Cast', ['sums'], ['floats'], { attributes: [attribute.int('to', 1)] }),
      node('Mul', ['s', 'ws'], ['scale']),
      node('Mul', ['floats', 'scale'], ['scaled']),
      node('Add', ['scaled', 'b'], ['biased']),
      node('Add', ['biased', 'r'], ['summed']),
      node('Relu', ['summed'], ['y']),
    ],
    inputs: [port('x', 'float32', [2, 3, depth]), port('r', 'float32', [2, 3, columns])],
    outputs: [port('y', 'float32')],
    initializers: [rawTensor('w', dtype, [depth, columns], bytes), floats('ws', [0.01], []), ...zeros].concat([
      floats('b', noise(columns, 5)),
    ]),
  };
}

describe('products of dynamically quantized values', () => {
  test.each([
    [true, undefined],
    [true, 3],
    [false, 128],
    [false, 121],
  ])('signed %s, zero point %s', (signed, zero) => {
    const passes = [unpackQuantized, fuseDynamic, fuseLinear];
    const { ops, graph } = rewrite(dynamicModel(signed, levels(signed), zero), passes, { tolerance: 0.05 });
    expect(ops).toEqual(['filigree.DynamicLinear']);
    expect(graph.nodes[0].inputs.map((value) => value?.name)).toMatchObject([
      'x',
      'w',
      'b',
      'r',
      'ws',
      ...(zero ? ['z'] : []),
    ]);
  });

  test('sparse weights stay floats', () => {
    const sparse = levels(true).map((v, i) => (i % 40 === 0 ? v : 0));
    const { ops } = rewrite(dynamicModel(true, sparse), [unpackQuantized, fuseDynamic], { tolerance: 0.05 });
    expect(ops).not.toContain('filigree.DynamicLinear');
  });
});

test('the kernels do what the reference says', () => {
  const one = { op: 'DynamicLinear', domain: 'filigree', version: 1 };
  const f32 = (dims: number[], seed: number) =>
    tensor(
      'float32',
      dims,
      Float32Array.from(
        noise(
          dims.reduce((a, b) => a * b, 1),
          seed,
        ),
      ),
    );
  const w = (k: number, n: number) =>
    tensor(
      'uint8',
      [k, n],
      Uint8Array.from(noise(k * n, 4), (v) => v * 100 + 128),
    );
  for (const [dims, n] of [
    [[1, 1], 1],
    [[5, 33], 17],
    [[2, 3, 40], 100],
  ] as const) {
    const k = dims.at(-1) as number;
    const out = [...dims.slice(0, -1), n];
    const scale = f32([n], 7);
    for (const extras of [false, true]) {
      checkLowered({
        ...one,
        inputs: [
          f32([...dims], 1),
          w(k, n),
          extras ? f32([n], 2) : null,
          extras ? f32(out, 3) : null,
          scale,
          tensor('uint8', [], Uint8Array.of(120)),
        ],
        constant: [1, 2, 4, 5],
        bound: 1e-4,
      });
    }
  }
});

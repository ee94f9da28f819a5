/** Small models that together call every kernel: one a family, over all its element types. */

import { type DType, dtypes } from '../../lib/ir/dtype.ts';
import { attribute, type Bytes, floats, longs, model, node, opset, port, rawTensor } from '../models/onnx-writer.ts';
import { op, sparse, wave } from './model-parts.ts';

const { int, float, ints } = attribute;

const numbers = dtypes.filter(({ kind, bits }) => bits >= 8 && ['float', 'int', 'uint'].includes(kind) && bits !== 0);
const plain = numbers.map(({ name }) => name).filter((name) => !name.startsWith('float8'));
const wide = plain.filter((name) => !/16/.test(name));

/** A model of one node for every type: `make` gives the node from input to output. */
function overTypes(
  types: readonly DType[],
  make: (x: string, y: string, type: DType) => Bytes,
  results?: DType,
): Bytes {
  return model({
    nodes: types.map((type) => make(`x_${type}`, `y_${type}`, type)),
    inputs: types.map((type) => port(`x_${type}`, type, ['n', 6])),
    outputs: types.map((type) => port(`y_${type}`, results ?? type)),
    initializers: [longs('k', [2]), longs('axis', [1], []), longs('axes', [1]), longs('size', [3, 6])],
    opsets: [opset('', 20)],
  });
}

const unsigned = (type: DType): boolean => type.startsWith('u');

/** Activations over images of bytes, the way exporters write them: every value is quantised and dequantised. */
function quantizedImages(): Bytes {
  const nodes: Bytes[] = [];
  const weights: Bytes[] = [
    floats('s', [0.05], []),
    rawTensor('z', 'uint8', [], Uint8Array.of(120)),
    floats('b', wave(16)),
  ];
  const requantized = (x: string): string => {
    nodes.push(op('QuantizeLinear', `${x} s z`, `${x}_q`), op('DequantizeLinear', `${x}_q s z`, `${x}_d`));
    return `${x}_d`;
  };
  const conv = (x: string, y: string, dims: number[], values: number[], ...attributes: Bytes[]): string => {
    weights.push(
      rawTensor(
        `${y}_w`,
        'int8',
        dims,
        Int8Array.from(values, (v) => v * 90),
      ),
    );
    weights.push(floats(`${y}_s`, new Array(dims[0]).fill(0.01)));
    weights.push(rawTensor(`${y}_z`, 'int8', [dims[0] as number], new Int8Array(dims[0] as number)));
    nodes.push(op('DequantizeLinear', `${y}_w ${y}_s ${y}_z`, `${y}_f`, int('axis', 0)));
    nodes.push(op('Conv', `${x} ${y}_f b`, y, ...attributes));
    return requantized(y);
  };
  const pads = ints('pads', [1, 1, 1, 1]);
  const a = conv(requantized('x'), 'a', [16, 3, 3, 3], wave(432), pads);
  const b = conv(a, 'c', [16, 16, 1, 1], sparse(256));
  const d = conv(b, 'd', [16, 1, 3, 3], wave(144), pads, int('group', 16));
  nodes.push(op('Add', `${d} ${a}`, 'e'));
  const e = requantized('e');
  nodes.push(op('MaxPool', e, 'f', ints('kernel_shape', [2, 2]), ints('strides', [2, 2])));
  nodes.push(op('Concat', `${requantized('f')} f`, 'y', int('axis', 1)));
  return model({
    nodes,
    inputs: [port('x', 'float32', ['n', 3, 8, 8])],
    outputs: [port('y', 'float32')],
    initializers: weights,
    opsets: [opset('', 17)],
  });
}

/** A layer of a language model of com.microsoft's operators, with weights of 4 bits and a state. */
function languageModel(): Bytes {
  const ms = (name: string, inputs: string, outputs: string, ...attributes: Bytes[]): Bytes =>
    node(
      name,
      inputs.split(' ').map((each) => (each === '-' ? '' : each)),
      outputs.split(' '),
      {
        attributes,
        domain: 'com.microsoft',
      },
    );
  const nbits = [int('K', 32), int('N', 32), int('bits', 4), int('block_size', 16)];
  const level = Uint8Array.from({ length: 512 }, (_, i) => (i * 37) & 255);
  return model({
    nodes: [
      ms(
        'GatherBlockQuantized',
        'table ids ts',
        'a',
        int('block_size', 16),
        int('gather_axis', 0),
        int('quantize_axis', 1),
      ),
      ms('MatMulNBits', 'a w ws', 'q', ...nbits),
      ms('MatMulNBits', 'a w ws', 'k', ...nbits, int('accuracy_level', 4)),
      ms('RotaryEmbedding', 'k positions cos sin', 'r', int('num_heads', 2)),
      ms(
        'GroupQueryAttention',
        'q r k pk pv last total cos sin',
        'o nk nv',
        int('num_heads', 2),
        int('kv_num_heads', 2),
        int('do_rotary', 1),
      ),
      node('Softmax', ['o'], ['y']),
    ],
    inputs: [
      port('ids', 'int64', [1, 3]),
      port('pk', 'float32', [1, 2, 'p', 16]),
      port('pv', 'float32', [1, 2, 'p', 16]),
    ],
    outputs: ['y', 'nk', 'nv'].map((name) => port(name, 'float32')),
    initializers: [
      ...[rawTensor('table', 'uint4', [8, 32], level.slice(0, 128)), floats('ts', wave(16), [8, 2])],
      ...[rawTensor('w', 'uint8', [32, 2, 8], level), floats('ws', wave(64)), longs('positions', [0, 1, 2], [1, 3])],
      ...[floats('cos', wave(64), [8, 8]), floats('sin', wave(64), [8, 8])],
      ...[rawTensor('last', 'int32', [1], Int32Array.of(5)), rawTensor('total', 'int32', [], Int32Array.of(6))],
    ],
    opsets: [opset('', 21), opset('com.microsoft', 1)],
  });
}

/** Chains, scales, regions and points on images. */
function images(): Bytes {
  return model({
    nodes: [
      op('Conv', 'x w', 'a', ints('pads', [1, 1, 1, 1])),
      op('Mul', 'a t', 'b'),
      op('Sigmoid', 'b', 'c'),
      op('Mul', 'b c', 'd'),
      op('Add', 'd a', 'e'),
      op('Tanh', 'e', 'f'),
      op('Conv', 'f v', 'g'),
      op('RoiAlign', 'g rois which', 'h', int('output_height', 2), int('output_width', 2), float('spatial_scale', 0.5)),
      op('Trilu', 'g', 'i', int('upper', 0)),
      op('ScatterND', 'g points update', 'j'),
      op('Expand', 'one size', 'k'),
      op('Conv', 'x u', 'l', int('group', 3)),
      op('Attention', 'g g g', 'm'),
    ],
    inputs: [port('x', 'float32', [1, 3, 6, 6])],
    outputs: ['h', 'i', 'j', 'k', 'l', 'm'].map((name) => port(name, 'float32')),
    initializers: [
      ...[
        floats('w', sparse(432), [16, 3, 3, 3]),
        floats('v', wave(64), [4, 16, 1, 1]),
        floats('t', wave(16), [1, 16, 1, 1]),
      ],
      ...[floats('rois', [0, 0, 3, 3, 1, 1, 4, 4], [2, 4]), longs('which', [0, 0]), floats('one', [1], [])],
      ...[longs('points', [0, 1, 0, 2], [2, 2]), floats('update', wave(72), [2, 6, 6]), longs('size', [3, 1, 5])],
      floats('u', wave(54), [6, 1, 3, 3]),
    ],
    opsets: [opset('', 23)],
  });
}

/** The models by name. */
export const kernelModels: Readonly<Record<string, Bytes>> = {
  unary: overTypes(plain, (x, y, type) => op(unsigned(type) ? 'BitwiseNot' : 'Neg', x, y)),
  not: overTypes(['bool'], (x, y) => op('Not', x, y)),
  binary: overTypes(plain, (x, y) => op('Add', `${x} ${x}`, y)),
  compare: overTypes(plain, (x, y) => op('Less', `${x} ${x}`, y), 'bool'),
  reduce: overTypes(wide, (x, y) => op('ReduceMax', `${x} axes`, y, int('keepdims', 0))),
  arguments: overTypes(wide, (x, y) => op('ArgMax', x, y, int('axis', 1)), 'int64'),
  top: overTypes(wide, (x, y) => op('TopK', `${x} k`, `${y} ${y}_i`)),
  sums: overTypes(['float32', 'float64', 'int32', 'int64'], (x, y) => op('CumSum', `${x} axis`, y)),
  casts: overTypes(plain, (x, y) => op('Cast', x, y, int('to', 1)), 'float32'),
  quantizedImages: quantizedImages(),
  languageModel: languageModel(),
  images: images(),
};

/** Small models with every kind of thing that a model file holds: what the fuzzer starts from without any folder. */

import type { DType } from '../../lib/ir/dtype.ts';
import {
  attribute,
  type Bytes,
  floats,
  functionProto,
  graph,
  longs,
  MessageWriter,
  model,
  node,
  opset,
  port,
  rawTensor,
} from '../models/onnx-writer.ts';
import { kernelModels } from './kernel-models.ts';
import { op, sparse, wave } from './model-parts.ts';

const { int, float, ints, string } = attribute;
type Ports = Readonly<Record<string, readonly [DType, readonly (number | string | null)[]]>>;

const portsOf = (ports: Ports): Bytes[] =>
  Object.entries(ports).map(([name, [dtype, shape]]) => port(name, dtype, shape));
function build(nodes: Bytes[], inputs: Ports, outputs: Ports, initializers: Bytes[] = [], functions?: Bytes[]): Bytes {
  return model({
    nodes,
    inputs: portsOf(inputs),
    outputs: portsOf(outputs),
    initializers,
    opsets: [opset('', 17), ...(functions ? [opset('local', 1)] : [])],
    ...(functions && { functions }),
  });
}

const image: Ports = { x: ['float32', ['n', 3, 9, 9]] };
const rows: Ports = { x: ['float32', ['n', 8]] };
const bytes = (name: string, dtype: DType, values: number[], dims: number[]): Bytes =>
  rawTensor(name, dtype, dims, Int8Array.from(values));

function convolutions(): Bytes {
  return build(
    [
      op('Conv', 'x w b', 'a', ints('kernel_shape', [3, 3]), ints('pads', [1, 1, 1, 1]), ints('strides', [2, 2])),
      op('BatchNormalization', 'a s s s v', 'c', float('epsilon', 1e-5)),
      op('Relu', 'c', 'd'),
      op('Conv', 'd dw', 'e', int('group', 20), ints('dilations', [1, 1]), string('auto_pad', 'SAME_UPPER')),
      op('Clip', 'e low high', 'f'),
      op('MaxPool', 'f', 'g', ints('kernel_shape', [2, 2]), int('ceil_mode', 1)),
      op('GlobalAveragePool', 'g', 'h'),
      op('Flatten', 'h', 'i', int('axis', 1)),
      op('Gemm', 'i fw fb', 'y', int('transB', 1), float('alpha', 0.5)),
    ],
    image,
    { y: ['float32', ['n', 4]] },
    [
      ...[floats('w', sparse(540), [20, 3, 3, 3]), floats('b', wave(20)), floats('s', wave(20))],
      ...[floats('v', new Array(20).fill(1)), floats('dw', wave(180), [20, 1, 3, 3])],
      ...[floats('low', [0], []), floats('high', [6], []), floats('fw', sparse(80), [4, 20]), floats('fb', wave(4))],
    ],
  );
}

function decoder(): Bytes {
  return build(
    [
      op('ConvTranspose', 'x w', 'a', ints('strides', [2, 2]), ints('output_padding', [1, 1])),
      op('LeakyRelu', 'a', 'b', float('alpha', 0.1)),
      op('Resize', 'b - scales', 'c', string('mode', 'linear')),
      op('Pad', 'c pads', 'd', string('mode', 'reflect')),
      op('InstanceNormalization', 'd s s', 'e'),
      op('AveragePool', 'e', 'f', ints('kernel_shape', [3, 2]), int('count_include_pad', 1)),
      op('Concat', 'f f', 'g', int('axis', 1)),
      op('Split', 'g parts', 'y z', int('axis', 1)),
    ],
    { x: ['float32', [1, 3, 4, 5]] },
    { y: ['float32', [1, null, null, null]], z: ['float32', [1, null, null, null]] },
    [
      ...[floats('w', wave(54), [3, 2, 3, 3]), floats('scales', [1, 1, 1.5, 2]), floats('s', [1, 2])],
      ...[longs('pads', [0, 0, 1, 1, 0, 0, 1, 0]), longs('parts', [1, 3])],
    ],
  );
}

function attention(): Bytes {
  return build(
    [
      op('LayerNormalization', 'x g g', 'a', int('axis', -1)),
      ...['q', 'k', 'v'].flatMap((name) => [
        op('MatMul', `a w${name}`, `${name}0`),
        op('Reshape', `${name}0 heads`, `${name}1`),
        op('Transpose', `${name}1`, name, ints('perm', name === 'k' ? [0, 2, 3, 1] : [0, 2, 1, 3])),
      ]),
      op('MatMul', 'q k', 's0'),
      op('Mul', 's0 scale', 's1'),
      op('Softmax', 's1', 's', int('axis', -1)),
      op('MatMul', 's v', 'o0'),
      op('Transpose', 'o0', 'o1', ints('perm', [0, 2, 1, 3])),
      op('Reshape', 'o1 flat', 'o'),
      op('Add', 'o x', 'r'),
      op('Erf', 'r', 'y'),
    ],
    { x: ['float32', ['n', 's', 8]] },
    { y: ['float32', ['n', 's', 8]] },
    [
      ...['wq', 'wk', 'wv'].map((name, i) => floats(name, wave(64, i + 0.4), [8, 8])),
      ...[longs('heads', [0, 0, 2, 4]), longs('flat', [0, 0, 8]), floats('scale', [0.5], []), floats('g', wave(8))],
    ],
  );
}

function recurrent(): Bytes {
  const hidden = int('hidden_size', 4);
  return build(
    [
      op('LSTM', 'x w r b', 'a - c', hidden, string('direction', 'forward')),
      op('Squeeze', 'a axes', 'd'),
      op('GRU', 'd gw gr', 'e', hidden, int('linear_before_reset', 1)),
      op('RNN', 'd gw4 gr4', 'f', hidden),
      op('Add', 'e f', 'y'),
    ],
    { x: ['float32', ['t', 'n', 3]] },
    { y: ['float32', ['t', 1, 'n', 4]], c: ['float32', [1, 'n', 4]] },
    [
      ...[floats('w', wave(48), [1, 16, 3]), floats('r', wave(64), [1, 16, 4]), floats('b', wave(32), [1, 32])],
      ...[floats('gw', wave(48), [1, 12, 4]), floats('gr', wave(48), [1, 12, 4]), longs('axes', [1])],
      ...[floats('gw4', wave(16), [1, 4, 4]), floats('gr4', wave(16), [1, 4, 4])],
    ],
  );
}

function quantized(): Bytes {
  return build(
    [
      op('QuantizeLinear', 'x s z', 'q'),
      op('QLinearConv', 'q s z w ws wz s z bias', 'c', ints('pads', [1, 1, 1, 1])),
      op('DequantizeLinear', 'c s z', 'd'),
      op('Relu', 'd', 'e'),
      op('DynamicQuantizeLinear', 'e', 'f fs fz'),
      op('Reshape', 'f shape', 'g'),
      op('MatMulInteger', 'g m fz', 'h'),
      op('Cast', 'h', 'y', int('to', 1)),
    ],
    image,
    { y: ['float32', [null, 2]], fs: ['float32', []] },
    [
      ...[
        floats('s', [0.02], []),
        bytes('z', 'uint8', [-128], []),
        floats(
          'ws',
          wave(4, 0.2).map((v) => v + 1.5),
        ),
      ],
      ...[
        bytes(
          'w',
          'int8',
          sparse(108).map((v) => v * 100),
          [4, 3, 3, 3],
        ),
        bytes('wz', 'int8', [0, 0, 0, 0], [4]),
      ],
      ...[rawTensor('bias', 'int32', [4], Int32Array.of(1, -2, 3, 4)), longs('shape', [-1, 9])],
      bytes(
        'm',
        'int8',
        wave(18).map((v) => v * 100),
        [9, 2],
      ),
    ],
  );
}

function indices(): Bytes {
  return build(
    [
      op('Shape', 'x', 'shape'),
      op('Gather', 'shape zero', 'count', int('axis', 0)),
      op('Range', 'zero count one', 'range'),
      op('Gather', 'x i', 'a', int('axis', 1)),
      op('GatherElements', 'x i2', 'b', int('axis', 1)),
      op('ScatterElements', 'x i2 x', 'c', int('axis', 1), string('reduction', 'add')),
      op('GatherND', 'x nd', 'd', int('batch_dims', 0)),
      op('TopK', 'x k', 'e f', int('axis', -1)),
      op('Slice', 'x starts ends axes steps', 'g'),
      op('OneHot', 'range depth values', 'h'),
      op('CumSum', 'x one', 'l'),
      op('NonZero', 'c', 'o'),
      op('Unique', 'x', 'p', int('sorted', 1)),
    ],
    { ...rows, i: ['int64', [3]], i2: ['int64', ['n', 8]] },
    Object.fromEntries(
      'a b c d e f g h l o p'
        .split(' ')
        .map((name) => [name, ['of'.includes(name) ? 'int64' : 'float32', null]]) as never,
    ),
    [
      ...[longs('zero', [0], []), longs('one', [1], []), longs('nd', [0, 1, 0, 7], [2, 2]), longs('k', [3])],
      ...[
        longs('starts', [-1]),
        longs('ends', [-9]),
        longs('axes', [1]),
        longs('steps', [-2]),
        longs('depth', [5], []),
      ],
      ...[floats('values', [0, 1])],
    ],
  );
}

function control(): Bytes {
  const branch = (name: string): Bytes =>
    graph({ nodes: [op(name, 'x x', `${name}y`)], outputs: [port(`${name}y`, 'float32', ['n', 8])] });
  const body = graph({
    nodes: [
      op('Add', 'state one', 'next'),
      op('Identity', 'go', 'again'),
      op('ReduceSum', 'next', 'sum', int('keepdims', 0)),
    ],
    inputs: [port('i', 'int64', []), port('go', 'bool', []), port('state', 'float32', ['n', 8])],
    outputs: [port('again', 'bool', []), port('next', 'float32', ['n', 8]), port('sum', 'float32', [])],
  });
  const scan = graph({
    nodes: [op('Add', 'carry row', 'out'), op('Identity', 'out', 'copy')],
    inputs: [port('carry', 'float32', [8]), port('row', 'float32', [8])],
    outputs: [port('out', 'float32', [8]), port('copy', 'float32', [8])],
  });
  return build(
    [
      op('ReduceMean', 'x', 'mean', int('keepdims', 0)),
      op('Greater', 'mean nought', 'positive'),
      op(
        'If',
        'positive',
        'a',
        attribute.graph('then_branch', branch('Add')),
        attribute.graph('else_branch', branch('Mul')),
      ),
      op('Loop', 'trips true a', 'b sums', attribute.graph('body', body)),
      op('Scan', 'start b', 'c d', attribute.graph('body', scan), int('num_scan_inputs', 1)),
      op('SequenceConstruct', 'c sums', 'sequence'),
      op('SequenceAt', 'sequence which', 'e'),
      op('Where', 'positive d b', 'y'),
    ],
    rows,
    { y: ['float32', ['n', 8]], e: ['float32', [null]] },
    [
      ...[floats('nought', [0], []), floats('one', [1], []), longs('trips', [3], []), longs('which', [1], [])],
      ...[bytes('true', 'bool', [1], []), floats('start', wave(8))],
    ],
  );
}

function functions(): Bytes {
  const nodes = [op('Mul', 'a factor', 'b'), op('Add', 'b a', 'c')];
  const constant = node('Constant', [], ['factor'], { attributes: [attribute.reference('value_float', 'by', 1)] });
  const scaled = functionProto('Scaled', {
    domain: 'local',
    inputs: ['a'],
    outputs: ['c'],
    nodes: [constant, ...nodes],
    defaults: [float('by', 2)],
  });
  const call = (from: string, to: string): Bytes =>
    node('Scaled', [from], [to], { domain: 'local', attributes: [float('by', 3)] });
  return build(
    [
      call('x', 'a'),
      call('a', 'b'),
      op('Einsum', 'b w', 'c', string('equation', 'ni,ij->jn')),
      op('Tile', 'c twice', 'y'),
    ],
    rows,
    { y: ['float32', [null, null]] },
    [floats('w', wave(24), [8, 3]), longs('twice', [2, 1])],
    [scaled],
  );
}

/** A model whose weight is a sparse initializer, with texts and half floats beside it. */
function storages(): Bytes {
  const weight = new MessageWriter()
    .bytes(1, floats('w', [0.5, -1, 2]))
    .bytes(2, longs('indices', [0, 9, 20]))
    .int(3, 8)
    .int(3, 3)
    .done();
  const texts = new MessageWriter().int(1, 2).int(2, 8).text(6, 'one').text(6, '2').text(8, 'texts').done();
  return model({
    nodes: [
      op('MatMul', 'x w', 'a'),
      op('Cast', 'half', 'b', int('to', 1)),
      op('Add', 'a b', 'y'),
      op('Identity', 'texts', 'words'),
      op('Cast', 'a', 'h', int('to', 16)),
    ],
    inputs: portsOf(rows),
    outputs: [port('y', 'float32'), port('words', 'string'), port('h', 'bfloat16')],
    initializers: [texts, rawTensor('half', 'float16', [3], Uint16Array.of(0x3c00, 0x4000, 0xc200))],
    sparse: [weight],
    opsets: [opset('', 17)],
  });
}

/** The models by name. */
export const builtinModels: Readonly<Record<string, Bytes>> = {
  convolutions: convolutions(),
  decoder: decoder(),
  attention: attention(),
  recurrent: recurrent(),
  quantized: quantized(),
  indices: indices(),
  control: control(),
  functions: functions(),
  storages: storages(),
  ...kernelModels,
};

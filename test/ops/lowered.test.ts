import { describe, expect, test } from 'vitest';
import type { DType } from '../../lib/ir/dtype.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';
import { t } from './node.ts';

const f32 = (dims: readonly number[], seed = 1, dtype: DType = 'float32'): HostTensor =>
  fromNumbers(
    dtype,
    dims,
    random(sizeOf(dims), seed).map((x) => x * 3),
  );
const ints = (values: readonly number[], dims?: readonly number[]) => t('int64', values, dims);
const whole = (dtype: DType, dims: readonly number[], seed = 1): HostTensor =>
  fromNumbers(
    dtype,
    dims,
    random(sizeOf(dims), seed).map((x) => Math.round(Math.abs(x) * 20) + 1),
  );

const floatTypes: readonly DType[] = ['float32', 'float64', 'float16', 'bfloat16'];
const integerTypes: readonly DType[] = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64'];

function group(name: string, cases: readonly LoweredCase[]): void {
  test(name, () => {
    for (const c of cases) checkLowered(c);
  });
}

describe('elementwise', () => {
  const plain = ['Abs', 'Neg', 'Exp', 'Sigmoid', 'Tanh', 'Relu', 'Erf', 'Sin', 'Cos', 'Atan', 'Floor', 'Round'];
  const shaped = ['LeakyRelu', 'Elu', 'Selu', 'Celu', 'HardSigmoid', 'HardSwish', 'ThresholdedRelu', 'Shrink'];
  const newer = ['Gelu', 'Mish', 'Softplus', 'Softsign', 'Sign', 'Ceil', 'Reciprocal'];
  for (const dtype of floatTypes) {
    group(
      `unary ${dtype}`,
      [...plain, ...shaped, ...newer].map((op) => ({ op, inputs: [f32([3, 37], 2, dtype)] })),
    );
    group(
      `binary ${dtype}`,
      ['Add', 'Sub', 'Mul', 'Div', 'Less', 'Equal', 'GreaterOrEqual', 'PRelu', 'Max', 'Min', 'Sum', 'Mean'].map(
        (op) => ({
          op,
          inputs: [f32([2, 3, 5], 2, dtype), f32([3, 1], 3, dtype)],
        }),
      ),
    );
  }
  group(
    'integers',
    integerTypes.flatMap((dtype) =>
      ['Add', 'Sub', 'Mul', 'Div', 'Mod', 'Less', 'Equal', 'Max', 'BitwiseAnd', 'BitwiseXor'].map((op) => ({
        op,
        inputs: [whole(dtype, [4, 7]), whole(dtype, [7], 5)],
      })),
    ),
  );
  group('attributes', [
    { op: 'LeakyRelu', inputs: [f32([9])], attributes: { alpha: { type: 'float', value: 0.3 } } },
    { op: 'Gelu', inputs: [f32([9])], attributes: { approximate: 'tanh' } },
    { op: 'IsInf', inputs: [t('float32', [1 / 0, -1 / 0, 0])], attributes: { detect_negative: 0 } },
    { op: 'IsNaN', inputs: [t('float32', [Number.NaN, 1])] },
    { op: 'Mod', inputs: [f32([9]), f32([9], 4)], attributes: { fmod: 1 } },
    { op: 'BitShift', inputs: [whole('uint8', [9]), t('uint8', [1])], attributes: { direction: 'LEFT' } },
    { op: 'Not', inputs: [t('bool', [0, 1, 1])] },
    { op: 'And', inputs: [t('bool', [0, 1, 1]), t('bool', [1, 1, 0])] },
    { op: 'Pow', inputs: [f32([9]), ints([2])], constant: [1] },
    { op: 'Pow', inputs: [whole('float32', [9]), t('float32', [0.5])] },
    { op: 'Max', inputs: [f32([1, 5]), f32([4, 1], 2), f32([4, 5], 3), f32([5], 4)] },
    { op: 'Mean', inputs: [f32([4, 5])] },
    { op: 'Clip', inputs: [f32([30]), t('float32', [-1], []), t('float32', [2], [])], constant: [1, 2] },
    { op: 'Clip', inputs: [f32([30]), t('float32', [-1], []), t('float32', [2], [])] },
    { op: 'Clip', inputs: [f32([30]), null, t('float32', [2], [])], constant: [2] },
    { op: 'Clip', inputs: [whole('int64', [30]), ints([3], []), ints([9], [])], constant: [1, 2] },
    { op: 'Where', inputs: [t('bool', [1, 0], [2, 1]), f32([2, 5]), f32([5], 4)] },
    { op: 'Where', inputs: [t('bool', [1, 0], [2, 1]), ints([1, 2]), ints([3], [])] },
    { op: 'BiasGelu', domain: 'com.microsoft', version: 1, inputs: [f32([3, 5]), f32([5], 2)] },
    { op: 'FastGelu', domain: 'com.microsoft', version: 1, inputs: [f32([3, 5])] },
    { op: 'QuickGelu', domain: 'com.microsoft', version: 1, inputs: [f32([3, 5])] },
  ]);
  group(
    'casts',
    [...floatTypes, ...integerTypes].flatMap((from) =>
      ([1, 2, 3, 7, 9, 10, 11, 16] as const).map((to) => ({
        op: 'Cast',
        inputs: [whole(from, [19])],
        attributes: { to },
      })),
    ),
  );
});

const manyIndices = ints(
  Array.from({ length: 20 * 33 * 8 }, (_, i) => ((i * 7919) % 9) - 4),
  [20, 33, 8],
);

describe('movement', () => {
  for (const dtype of ['float32', 'uint8', 'float16', 'int64', 'bool', 'complex64'] as const) {
    const x = (dims: readonly number[]): HostTensor =>
      dtype === 'complex64'
        ? t(
            dtype,
            [...random(2 * sizeOf(dims))].map((v) => Math.round(v * 100)),
            dims,
          )
        : fromNumbers(
            dtype,
            dims,
            Float64Array.from({ length: sizeOf(dims) }, (_, i) => (dtype === 'bool' ? i % 2 : i % 200)),
          );
    group(dtype, [
      { op: 'Transpose', inputs: [x([3, 4, 5])], attributes: { perm: [2, 0, 1] } },
      { op: 'Transpose', inputs: [x([1, 4, 1, 5])], attributes: { perm: [2, 1, 0, 3] } },
      {
        op: 'Slice',
        inputs: [x([7, 9]), ints([1, -1]), ints([6, -9]), ints([0, 1]), ints([2, -3])],
        constant: [1, 2, 3, 4],
      },
      { op: 'Slice', inputs: [x([7, 9]), ints([2]), ints([6])] },
      { op: 'Concat', inputs: [x([2, 3]), x([2, 0]), x([2, 4])], attributes: { axis: 1 } },
      { op: 'Concat', inputs: [x([0, 3, 0]), x([2, 3, 4])], attributes: { axis: 2 } },
      { op: 'Split', inputs: [x([2, 7]), ints([3, 4])], constant: [1], attributes: { axis: 1 }, outputs: 2 },
      { op: 'Expand', inputs: [x([3, 1]), ints([2, 1, 4])], constant: [1] },
      { op: 'Tile', inputs: [x([2, 3]), ints([2, 3])], constant: [1] },
      { op: 'Gather', inputs: [x([4, 3]), ints([0, -1, 2], [3, 1])], attributes: { axis: 1 } },
      { op: 'Gather', inputs: [x([4, 3]), t('int32', [3])] },
      { op: 'GatherElements', inputs: [x([4, 3]), ints([0, -1, 2, 1], [2, 2])], attributes: { axis: 0 } },
      { op: 'GatherND', inputs: [x([4, 3, 2]), ints([0, 1, -1, 2], [2, 2])] },
      { op: 'GatherND', inputs: [x([2, 3, 2]), ints([1, -1], [2, 1])], attributes: { batch_dims: 1 } },
      { op: 'DepthToSpace', inputs: [x([1, 8, 2, 3])], attributes: { blocksize: 2 } },
      { op: 'DepthToSpace', inputs: [x([1, 8, 2, 3])], attributes: { blocksize: 2, mode: 'CRD' } },
      { op: 'SpaceToDepth', inputs: [x([2, 2, 4, 6])], attributes: { blocksize: 2 } },
      { op: 'Reshape', inputs: [x([2, 6]), ints([3, -1])], constant: [1] },
      { op: 'Trilu', inputs: [x([2, 4, 5])], attributes: { upper: 0 } },
      { op: 'Trilu', inputs: [x([4, 5]), ints([1], [])], constant: [1] },
      { op: 'Pad', inputs: [x([2, 3]), ints([1, 0, 2, 1])], constant: [1] },
      { op: 'Pad', inputs: [x([2, 5]), ints([0, -1, 1, 2])], constant: [1] },
      { op: 'Pad', inputs: [x([3, 4]), ints([1, 2, 2, 1])], constant: [1], attributes: { mode: 'reflect' } },
      { op: 'Pad', inputs: [x([3, 4]), ints([1, 2, 2, 1])], constant: [1], attributes: { mode: 'edge' } },
      { op: 'CenterCropPad', inputs: [x([5, 2]), ints([3, 6])], constant: [1] },
      { op: 'ScatterElements', inputs: [x([3, 3]), ints([1, -1], [1, 2]), x([1, 2])], attributes: { axis: 1 } },
      ...[0, 1, 2].map((axis) => ({
        op: 'ScatterElements',
        inputs: [x([30, 40, 9]), manyIndices, x([20, 33, 8])],
        attributes: { axis },
      })),
      { op: 'ScatterND', inputs: [x([4, 3]), ints([3, 0], [2, 1]), x([2, 3])] },
    ]);
  }
  group('paddings with a value, reductions of scatters', [
    { op: 'Pad', inputs: [f32([2, 3]), ints([1, 0, 2, 1]), t('float32', [7], [])], constant: [1, 2] },
    ...['add', 'mul', 'max', 'min'].flatMap((reduction) =>
      (['float32', 'int64', 'int32', 'float64', 'uint8'] as const).flatMap((dtype): LoweredCase[] => [
        {
          op: 'ScatterElements',
          inputs: [whole(dtype, [3, 3]), ints([1, 1, 0], [3, 1]), whole(dtype, [3, 1], 3)],
          attributes: { reduction, axis: 1 },
        },
        {
          op: 'ScatterND',
          inputs: [whole(dtype, [4, 3]), ints([3, 3], [2, 1]), whole(dtype, [2, 3], 9)],
          attributes: { reduction },
        },
      ]),
    ),
  ]);

  test('an index out of range is an error of the run', () => {
    const inputs = [f32([4, 3]), ints([4])];
    expect(() => runLowered({ op: 'Gather', inputs })).toThrow(/index is out of range/);
  });
});

describe('reductions', () => {
  const names = ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'SumSquare', 'LogSumExp'];
  group(
    'of floats over any axes',
    names.flatMap((name) =>
      [[0], [1], [-1], [0, 2], [0, 1, 2]].flatMap((axes) =>
        (['float32', 'float16'] as const).map((dtype) => ({
          op: `Reduce${name}`,
          inputs: [f32([3, 4, 5], 2, dtype), ints(axes)],
          constant: [1],
          attributes: { keepdims: axes.length % 2 },
          bound: dtype === 'float16' ? 4e-3 : 1e-5,
        })),
      ),
    ),
  );
  group(
    'of integers',
    ['Sum', 'Mean', 'Max', 'Min', 'Prod'].flatMap((name) =>
      (['int32', 'int64', 'uint8', 'int8'] as const).map((dtype) => ({
        op: `Reduce${name}`,
        inputs: [whole(dtype, [3, 4, 5]), ints([1])],
        constant: [1],
      })),
    ),
  );
  group('others', [
    { op: 'ReduceSum', inputs: [f32([3, 4]), null], attributes: { noop_with_empty_axes: 1 } },
    { op: 'ReduceMax', inputs: [f32([2, 0]), ints([1])], constant: [1] },
    { op: 'ReduceMax', inputs: [t('bool', [0, 1, 0, 0], [2, 2]), ints([1])], constant: [1] },
    { op: 'ReduceSum', version: 11, inputs: [f32([3, 4])], attributes: { axes: [1] } },
    { op: 'ArgMax', inputs: [whole('float32', [3, 9, 2])], attributes: { axis: 1 } },
    { op: 'ArgMin', inputs: [whole('int32', [3, 9])], attributes: { axis: 1, select_last_index: 1, keepdims: 0 } },
    { op: 'ArgMax', inputs: [f32([17], 3, 'float16')] },
    { op: 'Softmax', inputs: [f32([2, 3, 19])] },
    { op: 'Softmax', inputs: [f32([2, 19, 3])], attributes: { axis: 1 } },
    { op: 'Softmax', version: 11, inputs: [f32([2, 19, 3])], attributes: { axis: 1 } },
    { op: 'LogSoftmax', inputs: [f32([4, 33])] },
    { op: 'Softmax', inputs: [f32([4, 33], 4, 'float16')] },
    { op: 'TopK', inputs: [whole('float32', [3, 40]), ints([7])], constant: [1], outputs: 2 },
    { op: 'TopK', inputs: [whole('int64', [5, 4, 3]), ints([2])], attributes: { axis: 1, largest: 0 }, outputs: 2 },
    { op: 'TopK', inputs: [t('float32', [1, Number.NaN, 3]), ints([0])], constant: [1], outputs: 2 },
    { op: 'CumSum', inputs: [f32([3, 9]), ints([1], [])], constant: [1] },
    {
      op: 'CumSum',
      inputs: [whole('int32', [3, 9]), ints([0], [])],
      attributes: { reverse: 1, exclusive: 1 },
      constant: [1],
    },
  ]);
});

describe('normalisations and others', () => {
  const skip = { domain: 'com.microsoft', version: 1 };
  group('normalisations', [
    { op: 'LayerNormalization', inputs: [f32([2, 3, 17]), f32([17], 2), f32([17], 3)], outputs: 3 },
    { op: 'LayerNormalization', inputs: [f32([2, 3, 5]), f32([3, 5], 2)], attributes: { axis: 1 } },
    { op: 'LayerNormalization', inputs: [f32([4, 8], 1, 'float16'), f32([8], 2, 'float16')], bound: 1e-2 },
    { op: 'RMSNormalization', version: 23, inputs: [f32([4, 8]), f32([8], 2)] },
    {
      op: 'SkipLayerNormalization',
      ...skip,
      inputs: [1, 2].map((s) => f32([2, 3, 8], s)).concat(f32([8], 3)),
      outputs: 4,
    },
    { op: 'SkipSimplifiedLayerNormalization', ...skip, inputs: [1, 2].map((s) => f32([3, 8], s)).concat(f32([8], 3)) },
    { op: 'InstanceNormalization', inputs: [f32([2, 3, 5, 4]), f32([3], 2), f32([3], 3)], bound: 1e-5 },
    { op: 'GroupNormalization', inputs: [f32([2, 6, 5]), f32([6], 2), f32([6], 3)], attributes: { num_groups: 2 } },
    {
      op: 'GroupNormalization',
      version: 18,
      inputs: [f32([2, 6, 5]), f32([2], 2), f32([2], 3)],
      attributes: { num_groups: 2 },
    },
    {
      op: 'BatchNormalization',
      inputs: [f32([2, 3, 5]), f32([3], 2), f32([3], 3), f32([3], 4), whole('float32', [3])],
    },
  ]);
  const scale = t('float32', [0.1, 0.25, 0.5]);
  group('quantisation', [
    ...(['uint8', 'int8', 'uint16', 'int16'] as const).flatMap((dtype) => [
      { op: 'QuantizeLinear', inputs: [f32([40]), t('float32', [0.02], []), t(dtype, [3], [])] },
      { op: 'QuantizeLinear', inputs: [f32([2, 3, 4]), scale, t(dtype, [0, 1, 2])] },
      { op: 'DequantizeLinear', inputs: [whole(dtype, [2, 3, 4]), scale, t(dtype, [0, 1, 2])] },
    ]),
    { op: 'QuantizeLinear', inputs: [t('float32', [1e30, -1e30, Number.NaN, 2.5, 3.5]), t('float32', [1])] },
    { op: 'DequantizeLinear', inputs: [whole('int32', [9]), t('float32', [0.5], [])] },
    { op: 'DequantizeLinear', inputs: [whole('int8', [2, 4, 3]), f32([2, 2, 3])], attributes: { block_size: 2 } },
    { op: 'DynamicQuantizeLinear', inputs: [f32([5, 9])], outputs: 3 },
    { op: 'DynamicQuantizeLinear', inputs: [t('float32', [0, 0])], outputs: 3 },
  ]);
  group('resizing', [
    { op: 'Resize', inputs: [f32([1, 2, 3, 4]), null, t('float32', [1, 1, 2, 2])], constant: [2] },
    { op: 'Resize', inputs: [whole('uint8', [1, 1, 3, 4]), null, null, ints([1, 1, 5, 2])], constant: [3] },
    ...['linear', 'cubic'].flatMap((mode) =>
      ['half_pixel', 'align_corners', 'asymmetric'].map((coordinates) => ({
        op: 'Resize',
        inputs: [f32([1, 2, 5, 6]), null, null, ints([1, 2, 9, 4])],
        constant: [3],
        attributes: { mode, coordinate_transformation_mode: coordinates },
      })),
    ),
    {
      op: 'Resize',
      inputs: [f32([1, 1, 9, 9]), null, null, ints([1, 1, 4, 4])],
      constant: [3],
      attributes: { mode: 'linear', antialias: 1 },
    },
    {
      op: 'Upsample',
      version: 9,
      inputs: [f32([1, 1, 2, 2]), t('float32', [1, 1, 2, 3])],
      constant: [1],
      attributes: { mode: 'linear' },
    },
  ]);
});

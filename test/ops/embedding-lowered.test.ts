import { describe, expect, test } from 'vitest';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';
import { t } from './node.ts';

const domain = 'com.microsoft';

function noise(dims: readonly number[], seed: number, dtype: HostTensor['dtype'] = 'float32'): HostTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 * seed));
  if (dtype === 'uint8')
    return t(
      dtype,
      values.map((x) => Math.round((x + 1) * 127)),
      dims,
    );
  return t(dtype, dtype === 'int8' ? values.map((x) => Math.round(x * 127)) : values, dims);
}

/** Whole numbers below `limit`. */
function whole(dims: readonly number[], limit: number, dtype: HostTensor['dtype'] = 'int32'): HostTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  return t(
    dtype,
    Array.from({ length: count }, (_, i) => (i * 7 + 3) % limit),
    dims,
  );
}

const [batch, length, width] = [3, 5, 17];

interface Choice {
  readonly segments?: boolean;
  readonly mask?: boolean;
  readonly positions?: readonly number[];
  readonly outputs?: number;
  readonly dtype?: HostTensor['dtype'];
}

function embedding({ segments, mask, positions, outputs = 3, dtype = 'float32' }: Choice): LoweredCase {
  const inputs = [
    whole([batch, length], 20),
    segments ? whole([batch, length], 2) : null,
    noise([20, width], 1, dtype),
    noise([9, width], 2, dtype),
    segments ? noise([2, width], 3, dtype) : null,
    noise([width], 4, dtype),
    noise([width], 5, dtype),
    mask ? whole([batch, length], 2) : null,
    positions ? whole(positions, 9) : null,
  ];
  return {
    op: 'EmbedLayerNormalization',
    domain,
    version: 1,
    inputs,
    outputs,
    ...(dtype === 'float16' ? { bound: 4e-3 } : {}),
  };
}

describe('embeddings on kernels', () => {
  test('of tables of floats', () => {
    for (const segments of [false, true]) {
      for (const mask of [false, true]) {
        for (const positions of [undefined, [batch, length], [1, length]]) {
          checkLowered({ bound: 1e-5, ...embedding({ segments, mask, ...(positions ? { positions } : {}) }) });
        }
      }
    }
    for (const outputs of [1, 2]) checkLowered({ bound: 1e-5, ...embedding({ segments: true, outputs }) });
  });

  test('of tables of halves', () => {
    checkLowered(embedding({ segments: true, mask: true, dtype: 'float16' }));
  });

  test.each(['uint8', 'int8'] as const)('of tables of %s', (dtype) => {
    const scales = [0.02, 0.03, 0.01, 0.05, 0.04].map((scale) => t('float32', [scale], []));
    const zeros = [3, 120, 7, 1, 60].map((zero) => t(dtype, [zero], []));
    const tables = [[20, width], [9, width], [2, width], [width], [width]];
    const inputs = [
      ...[whole([batch, length], 20), whole([batch, length], 2)],
      ...tables.map((dims, i) => noise(dims, i + 1, dtype)),
      ...[whole([batch, length], 2), ...scales, ...zeros],
    ];
    checkLowered({ op: 'QEmbedLayerNormalization', domain, version: 1, inputs, outputs: 2, bound: 1e-5 });
    const bare = inputs.map((input, i) => ([1, 4, 7, 10, 15].includes(i) ? null : input));
    checkLowered({ op: 'QEmbedLayerNormalization', domain, version: 1, inputs: bare, outputs: 2, bound: 1e-5 });
  });

  test('ids outside of a table, more ids than positions', () => {
    const c = embedding({});
    const far = c.inputs.map((input, i) => (i === 0 ? t('int32', [0, 20], [1, 2]) : input));
    expect(() => runLowered({ ...c, inputs: far })).toThrow();
    const long = c.inputs.map((input, i) => (i === 0 ? whole([1, 10], 20) : input));
    expect(() => runLowered({ ...c, inputs: long })).toThrow('position');
  });
});

describe('attention on projected data', () => {
  const attributes = { num_heads: 2 };
  const past = noise([2, 2, 2, 3, 4], 3);
  const on = (inputs: LoweredCase['inputs'], more: LoweredCase['attributes'] = {}, outputs = 1): LoweredCase => ({
    ...{ op: 'ProjectedAttention', domain: 'filigree', version: 1, inputs, outputs, bound: 1e-5 },
    attributes: { ...attributes, ...more },
  });

  test('masks, states, causality', () => {
    const qkv = noise([2, 5, 24], 1);
    checkLowered(on([qkv]));
    checkLowered(on([qkv, whole([2, 5], 2)]));
    checkLowered(on([qkv, t('int32', [4, 2])]));
    checkLowered(on([qkv, null, past], { unidirectional: 1 }, 2));
    checkLowered(on([qkv, null, null, noise([2, 2, 5, 5], 7)]));
  });
});

test('fills and ranges of known sizes', () => {
  for (const value of [t('float32', [2.5]), t('int64', [-3]), t('bool', [1]), t('float16', [0.5])]) {
    const attributes = { value: { type: 'tensor', value } as const };
    const shape = { inputs: [t('int64', [70, 90])], constant: [0], attributes };
    checkLowered({ op: 'ConstantOfShape', version: 20, ...shape });
  }
  const numbers = (dtype: HostTensor['dtype'], ...values: number[]): LoweredCase => ({
    ...{ op: 'Range', version: 11, inputs: values.map((x) => t(dtype, [x], [])), constant: [0, 1, 2] },
  });
  checkLowered(numbers('float32', 1, 5000, 0.75));
  checkLowered(numbers('int64', 9000, -9000, -3));
  checkLowered(numbers('int32', 0, 5000, 1));
});

test('indices as columns', () => {
  for (const dtype of ['float32', 'int64', 'bool', 'float16'] as const) {
    const values = t(dtype, dtype === 'bool' ? [0, 1] : [-1, 3]);
    for (const kind of ['int64', 'int32', 'float32'] as const) {
      for (const axis of [-1, 0, 1]) {
        const indices = t(kind, [0, -1, 3, 4, 2, -4, -5, 9], [2, 4]);
        const inputs = [indices, t('int64', [4], []), values];
        checkLowered({ op: 'OneHot', version: 11, inputs, constant: [1], attributes: { axis } });
      }
    }
  }
});

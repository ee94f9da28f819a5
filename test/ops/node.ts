/** Runs single operators on their references in tests. */

import { type DType, isBig } from '../../lib/ir/dtype.ts';
import { type Attribute, makeValue, type Node } from '../../lib/ir/graph.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromBigInts, fromNumbers, type HostTensor, type HostValue, tensor } from '../../lib/ir/tensor.ts';
import { runNode } from '../../lib/ops/interpret.ts';

type Loose = number | string | readonly number[] | readonly string[] | Attribute;

function attributeOf(value: Loose): Attribute {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value === 'number') return { type: 'int', value };
  if (!Array.isArray(value)) return value as Attribute;
  return typeof value[0] === 'string' ? { type: 'strings', value } : { type: 'ints', value };
}

/** A node of ai.onnx; integers and strings as attributes are taken for what they are. */
export function makeNode(
  op: string,
  version: number,
  inputs: number | readonly boolean[],
  attributes: Record<string, Loose> = {},
  outputs = 1,
): Node {
  const present = typeof inputs === 'number' ? new Array<boolean>(inputs).fill(true) : inputs;
  return {
    name: 'n',
    op,
    domain: '',
    version,
    inputs: present.map((has, i) => (has ? makeValue(`x${i}`) : null)),
    outputs: Array.from({ length: outputs }, (_, i) => makeValue(`y${i}`)),
    attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, attributeOf(value)])),
    captures: [],
  };
}

/** All outputs of an operator. */
export function evaluate(
  op: string,
  version: number,
  inputs: readonly (HostValue | null)[],
  attributes: Record<string, Loose> = {},
  outputs = 1,
): HostValue[] {
  const present = inputs.map((value) => value !== null);
  return runNode(makeNode(op, version, present, attributes, outputs), inputs);
}

/** The first output of an operator, a tensor. */
export function first(
  op: string,
  version: number,
  inputs: readonly (HostValue | null)[],
  attributes: Record<string, Loose> = {},
): HostTensor {
  return evaluate(op, version, inputs, attributes)[0] as HostTensor;
}

/** A tensor from numbers, bigints or strings; a vector where no dimensions are given. */
export function t(dtype: DType, values: readonly (number | bigint | string)[], dims?: readonly number[]): HostTensor {
  const shape = dims ?? [values.length];
  const width = dtype.startsWith('complex') ? 2 : 1;
  if (values.length !== sizeOf(shape) * width) throw new Error('wrong number of values');
  if (dtype === 'string') return tensor(dtype, shape, values as string[]);
  if (isBig(dtype)) return fromBigInts(dtype, shape, values.map(BigInt));
  return fromNumbers(dtype, shape, values as number[]);
}

/** The storage entries as a plain list. */
export function entries(tensor: HostTensor): (number | bigint | string)[] {
  return Array.from(tensor.data as ArrayLike<number | bigint | string>);
}

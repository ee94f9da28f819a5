/** Infers single operators in tests. */

import type { DType } from '../../lib/ir/dtype.ts';
import { makeConstant, makeValue, tensorType, type ValueType } from '../../lib/ir/graph.ts';
import type { Dim, Shape } from '../../lib/ir/shape.ts';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { inferTypes } from '../../lib/ops/infer.ts';
import { makeNode } from './node.ts';

/** An input for inference: a type of which only this is known, or a constant. */
export type Known = readonly [DType, Shape | undefined] | HostTensor | null;

/** Types of an operator's outputs. */
export function inferNode(
  op: string,
  version: number,
  inputs: readonly Known[],
  attributes: Parameters<typeof makeNode>[3] = {},
  outputs = 1,
): (ValueType | undefined)[] {
  const present = inputs.map((input) => input !== null);
  const node = makeNode(op, version, present, attributes, outputs);
  node.inputs = inputs.map((input, i) => {
    if (input === null) return null;
    return 'kind' in input ? makeConstant(`x${i}`, input) : makeValue(`x${i}`, tensorType(input[0], input[1]));
  });
  const values = node.outputs.filter((value) => value !== null);
  for (const value of values) value.producer = node;
  const feeds = node.inputs.filter((value) => value !== null && value.constant === undefined);
  inferTypes({ name: 'g', inputs: feeds as typeof values, outputs: values, nodes: [node], captures: [] });
  return values.map((value) => value.type);
}

/** Shapes of an operator's outputs; null for sizes that inference gave symbols of their own. */
export function inferShapes(...args: Parameters<typeof inferNode>): (Shape | undefined)[] {
  const plain = (dim: Dim): Dim => (typeof dim === 'string' && dim.startsWith('?') ? null : dim);
  return inferNode(...args).map((type) => (type?.kind === 'tensor' ? type.shape?.map(plain) : undefined));
}

/** What patterns ask about nodes and values. */

import { type DType, isWhole } from '../ir/dtype.ts';
import type { Attribute, Node, Value } from '../ir/graph.ts';
import { type Shape, sizeOf } from '../ir/shape.ts';
import { type HostTensor, toIntegers, toNumbers } from '../ir/tensor.ts';

type Maybe<T> = T | null | undefined;

/** The node that computes the value, if it is of this operator. */
export function producedBy(value: Maybe<Value>, op: string, domain = ''): Node | undefined {
  const node = value?.producer;
  return node?.op === op && node.domain === domain ? node : undefined;
}

export const isOp = (node: Maybe<Node>, ...ops: readonly string[]): node is Node =>
  node?.domain === '' && ops.includes(node.op);

export function shapeOf(value: Maybe<Value>): Shape | undefined {
  return value?.type?.kind === 'tensor' ? value.type.shape : undefined;
}

export function dtypeOf(value: Maybe<Value>): DType | undefined {
  return value?.type?.kind === 'tensor' ? value.type.dtype : undefined;
}

export function constantOf(value: Maybe<Value>, dtype?: DType): HostTensor | undefined {
  const content = value?.constant;
  return content?.kind === 'tensor' && (dtype === undefined || content.dtype === dtype) ? content : undefined;
}

/** The only element of a numeric constant. */
export function scalarOf(value: Maybe<Value>): number | undefined {
  const content = constantOf(value);
  if (!content || content.dtype === 'string' || sizeOf(content.dims) !== 1) return undefined;
  return toNumbers(content)[0];
}

/** True where the value is the constant `number` up to the rounding of its type. */
export function isNumber(value: Maybe<Value>, number: number): boolean {
  const scalar = scalarOf(value);
  if (scalar === undefined) return false;
  const slack = dtypeOf(value) === 'float16' || dtypeOf(value) === 'bfloat16' ? 4e-3 : 2e-7;
  return Math.abs(scalar - number) <= Math.abs(number) * slack;
}

/** The integers of a constant. */
export function integersOf(value: Maybe<Value>): number[] | undefined {
  const content = constantOf(value);
  return content && isWhole(content.dtype) ? toIntegers(content) : undefined;
}

export function intAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'int' ? attribute.value : fallback;
}

export function floatAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'float' ? attribute.value : fallback;
}

export function stringAttribute(node: Node, name: string, fallback: string): string {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'string' ? attribute.value : fallback;
}

export function intsAttribute(node: Node, name: string): readonly number[] | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'ints' ? attribute.value : undefined;
}

/** Integers that are the attribute `name` before version `since` and constant input `i` from there on. */
export function integersFrom(node: Node, name: string, i: number, since: number): readonly number[] | undefined {
  return node.version < since ? intsAttribute(node, name) : integersOf(node.inputs[i]);
}

export const int = (value: number): Attribute => ({ type: 'int', value });
export const ints = (value: readonly number[]): Attribute => ({ type: 'ints', value });
export const float = (value: number): Attribute => ({ type: 'float', value });
export const string = (value: string): Attribute => ({ type: 'string', value });

/** The input of a node of two inputs that is not `value`; undefined where both or neither are. */
export function otherInput(node: Node, value: Value): Value | undefined {
  const [a, b] = node.inputs;
  if (node.inputs.length !== 2 || a === b) return undefined;
  return (a === value ? b : b === value ? a : undefined) ?? undefined;
}

/** Both ways to see the inputs of a symmetric operation. */
export function bothWays(node: Node): readonly (readonly [Value, Value])[] {
  const [a, b] = node.inputs;
  if (node.inputs.length !== 2 || !a || !b) return [];
  return [
    [a, b],
    [b, a],
  ];
}

/** `x` and `c` where the value is x * c or x / (1 / c) with a constant number. */
export function scaled(value: Maybe<Value>): readonly [x: Value, factor: number] | undefined {
  const node = value?.producer;
  if (isOp(node, 'Mul')) {
    for (const [x, c] of bothWays(node)) {
      const factor = scalarOf(c);
      if (factor !== undefined && !x.constant && keepsRank(x, c)) return [x, factor];
    }
  }
  if (isOp(node, 'Div')) {
    const [x, c] = node.inputs;
    const divisor = scalarOf(c);
    if (x && c && divisor && !x.constant && keepsRank(x, c)) return [x, 1 / divisor];
  }
  return undefined;
}

/** True where the constant of one element does not add axes to `x`. */
export function keepsRank(x: Value, constant: Value): boolean {
  const rank = shapeOf(constant)?.length ?? 0;
  return rank === 0 || rank <= (shapeOf(x)?.length ?? 0);
}

/** The permutation of a Transpose; `rank` counts its axes. */
export function permOf(node: Node, rank: number): readonly number[] {
  return intsAttribute(node, 'perm') ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
}

/** True where the tensor's type is floating and known to be this one. */
export const isFloat32 = (value: Maybe<Value>): boolean => dtypeOf(value) === 'float32';

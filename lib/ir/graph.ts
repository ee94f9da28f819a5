/** The typed graph: values in static single assignment, nodes in topological order. */

import type { DType } from './dtype.ts';
import type { Shape } from './shape.ts';
import type { HostTensor, HostValue } from './tensor.ts';

/** Type of a tensor; `shape` is undefined where not even the rank is known. */
export interface TensorType {
  readonly kind: 'tensor';
  readonly dtype: DType;
  readonly shape: Shape | undefined;
}

/** Type of a sequence of values of one type. */
export interface SequenceType {
  readonly kind: 'sequence';
  readonly element: ValueType;
}

/** Type of a value that may be absent. */
export interface OptionalType {
  readonly kind: 'optional';
  readonly element: ValueType;
}

/** Type of a map from integers or strings (ai.onnx.ml). */
export interface MapType {
  readonly kind: 'map';
  readonly keyType: DType;
  readonly value: ValueType;
}

/** Type of an input or output. */
export type ValueType = TensorType | SequenceType | OptionalType | MapType;

/** Shorthand for a tensor type. */
export function tensorType(dtype: DType, shape: Shape | undefined): TensorType {
  return { kind: 'tensor', dtype, shape };
}

/** One value of the graph: an input, a constant, a captured outer value, or the output of one node. */
export interface Value {
  /** Name in the model; unique within its graph. */
  name: string;
  /** Undefined until inference. */
  type: ValueType | undefined;
  /** The content, where it is known before any run. */
  constant: HostValue | undefined;
  /** The node that computes it; undefined for inputs, captures and constants. */
  producer: Node | undefined;
}

/** A node's attribute as the model gives it; int64 as number (exact up to 2^53, saturated by nobody). */
export type Attribute =
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'tensor'; readonly value: HostTensor }
  | { readonly type: 'graph'; readonly value: Graph }
  | { readonly type: 'type'; readonly value: ValueType }
  | { readonly type: 'ints'; readonly value: readonly number[] }
  | { readonly type: 'floats'; readonly value: readonly number[] }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'tensors'; readonly value: readonly HostTensor[] }
  | { readonly type: 'graphs'; readonly value: readonly Graph[] };

export type AttributeType = Attribute['type'];

/** One operation. A null input is an omitted optional input; a null output is not wanted. */
export interface Node {
  /** Name in the model, or a made-up one; for messages and profiles. */
  name: string;
  op: string;
  /** '' is ai.onnx. */
  domain: string;
  /** Version of the domain that the model imports. */
  version: number;
  inputs: (Value | null)[];
  outputs: (Value | null)[];
  attributes: Map<string, Attribute>;
  /** Outer values that the node's subgraphs use, without repetition; always part of what the node reads. */
  captures: Value[];
}

/** A graph: the model's main graph, or the body of a control-flow node. */
export interface Graph {
  name: string;
  inputs: Value[];
  outputs: Value[];
  /** Topologically ordered. */
  nodes: Node[];
  /** For a body: its own values that stand for values of the enclosing graph. */
  captures: Capture[];
  /** Contents of inputs that a caller may leave out. */
  defaults?: ReadonlyMap<Value, HostTensor>;
}

/** `inner` in a body stands for `outer` of the enclosing graph. */
export interface Capture {
  readonly inner: Value;
  /** Replaced when a pass replaces the outer value. */
  outer: Value;
}

/** A fresh value. */
export function makeValue(name: string, type?: ValueType): Value {
  return { name, type, constant: undefined, producer: undefined };
}

/** A fresh constant value. */
export function makeConstant(name: string, constant: HostTensor): Value {
  return { name, type: tensorType(constant.dtype, constant.dims), constant, producer: undefined };
}

/** `Conv "layer1.0"`: how messages name a node. */
export function nodeText(node: Pick<Node, 'op' | 'domain' | 'name'>): string {
  const op = node.domain ? `${node.domain}.${node.op}` : node.op;
  return node.name ? `${op} "${node.name}"` : op;
}

/** The bodies of a node's graph attributes. */
export function bodiesOf(node: Node): Graph[] {
  const bodies: Graph[] = [];
  for (const attribute of node.attributes.values()) {
    if (attribute.type === 'graph') bodies.push(attribute.value);
    if (attribute.type === 'graphs') bodies.push(...attribute.value);
  }
  return bodies;
}

/** Everything a node reads: its inputs and what its bodies capture. */
export function readsOf(node: Node): Value[] {
  const reads = node.inputs.filter((value): value is Value => value !== null);
  return node.captures.length ? [...reads, ...node.captures] : reads;
}

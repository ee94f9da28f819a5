/** Graphs as text, for people. */

import { type Attribute, bodiesOf, type Graph, type Node, type Value, type ValueType } from './graph.ts';
import { shapeText } from './shape.ts';
import type { HostValue } from './tensor.ts';

/** List entries of an attribute that are shown. */
const SHOWN_ENTRIES = 8;

/** `float32[2,"n"]`: for messages and prints. */
export function typeText(type: ValueType | undefined): string {
  if (!type) return '?';
  switch (type.kind) {
    case 'tensor':
      return type.dtype + (type.shape ? shapeText(type.shape) : '');
    case 'map':
      return `map(${type.keyType}, ${typeText(type.value)})`;
    default:
      return `${type.kind}(${typeText(type.element)})`;
  }
}

function contentText(value: HostValue): string {
  if (value.kind !== 'tensor') return value.kind;
  const few = value.data.length <= SHOWN_ENTRIES ? ` {${Array.from(value.data as ArrayLike<unknown>).join(', ')}}` : '';
  return `${value.dtype}[${value.dims}]${few}`;
}

function attributeText(name: string, attribute: Attribute): string {
  switch (attribute.type) {
    case 'graph':
      return `${name}=graph "${attribute.value.name}"`;
    case 'graphs':
      return `${name}=${attribute.value.length} graphs`;
    case 'tensor':
      return `${name}=${contentText(attribute.value)}`;
    case 'tensors':
      return `${name}=${attribute.value.length} tensors`;
    case 'type':
      return `${name}=${typeText(attribute.value)}`;
    default:
      return `${name}=${plainText(attribute.value)}`;
  }
}

function plainText(value: number | string | readonly (number | string)[]): string {
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  const shown = value.slice(0, SHOWN_ENTRIES).map((entry) => plainText(entry));
  if (value.length > SHOWN_ENTRIES) shown.push(`... ${value.length} in all`);
  return `[${shown.join(', ')}]`;
}

function referenceText(value: Value | null): string {
  if (!value) return '-';
  return value.constant && !value.producer ? `${value.name}: ${contentText(value.constant)}` : value.name;
}

function nodeLine(node: Node): string {
  const outputs = node.outputs.map((value) => (value ? `${value.name}: ${typeText(value.type)}` : '-'));
  const op = node.domain ? `${node.domain}.${node.op}` : node.op;
  const attributes = [...node.attributes].map(([name, attribute]) => attributeText(name, attribute));
  const given = attributes.length ? `<${attributes.join(', ')}>` : '';
  return `${outputs.join(', ')} = ${op}${given}(${node.inputs.map(referenceText).join(', ')})`;
}

/** A graph as text, a line for each node, bodies indented below the node that has them. */
export function printGraph(graph: Graph, indent = ''): string {
  const ports = (values: readonly Value[]): string =>
    values.map((value) => `${value.name}: ${typeText(value.type)}`).join(', ');
  const captured = graph.captures.length ? ` captures ${graph.captures.map(({ inner }) => inner.name).join(', ')}` : '';
  const lines = [`${indent}graph "${graph.name}" (${ports(graph.inputs)}) -> (${ports(graph.outputs)})${captured}`];
  for (const node of graph.nodes) {
    lines.push(`${indent}  ${nodeLine(node)}`);
    for (const body of bodiesOf(node)) lines.push(printGraph(body, `${indent}    `));
  }
  return lines.join('\n');
}

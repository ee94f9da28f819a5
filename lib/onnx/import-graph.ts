/** GraphProto to Graph: scopes, captures, functions. */

import { ModelFormatError } from '../errors.ts';
import {
  type Attribute,
  bodiesOf,
  type Graph,
  makeConstant,
  makeValue,
  type Node,
  nodeText,
  type Value,
  type ValueType,
} from '../ir/graph.ts';
import type { Port } from '../ir/model.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { finish } from '../ir/turns.ts';
import { findOp } from '../ops/index.ts';
import { type OpDefinition, opKey } from '../ops/op.ts';
import { checkAttributes, decodeAttribute } from './attributes.ts';
import { calledBy, type FunctionTable, type ModelFunction } from './functions.ts';
import { domainOf } from './opsets.ts';
import { orderNodes, protoText } from './order.ts';
import type { AttributeProto, FunctionProto, GraphProto, NodeProto, ValueInfoProto } from './schema.ts';
import { decodeSparse, decodeTensor, type ExternalReader } from './tensor-proto.ts';
import { declaredType, decodeType } from './types.ts';

/** A node that cannot run, and why. */
export interface Problem {
  readonly node: string;
  readonly op: string;
  readonly reason: string;
  /** What the owner of the model could do about it. */
  readonly hint: string;
}

/** What to do about an operator that is not known. */
function hintForUnknown({ op, domain }: Node): string {
  const elsewhere = ['', 'ai.onnx.ml', 'com.microsoft'].find((other) => other !== domain && findOp(other, op));
  if (elsewhere !== undefined) return `the operator of that name is in ${elsewhere || 'ai.onnx'}: correct the domain`;
  return 'export it as operators that are known, or define it in the model as a function of them';
}

export interface ImportSources {
  readonly opsets: ReadonlyMap<string, number>;
  readonly functions: FunctionTable;
  readonly external: ExternalReader | undefined;
}

/** An attribute of a call, to be read where the call stands. */
interface Argument {
  readonly proto: AttributeProto;
  readonly scope: Scope;
}

/**
 * The names that nodes may use. A body's scope has the enclosing one as parent; a function's has none, and writes to
 * the graph that calls it.
 */
interface Scope {
  readonly graph: Graph;
  readonly parent: Scope | undefined;
  /** Null stands for an omitted argument of a function. */
  readonly names: Map<string, Value | null>;
  readonly opsets: ReadonlyMap<string, number>;
  /** In a function: the attributes of the call, defaults included. */
  readonly arguments: ReadonlyMap<string, Argument> | undefined;
  /** Put in front of the names of a function's values and nodes. */
  readonly prefix: string;
}

export interface ImportedMain {
  readonly graph: Graph;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
}

/** Nodes that are imported at a stretch. */
const STRETCH = 8;

function emptyGraph(name: string): Graph {
  return { name, inputs: [], outputs: [], nodes: [], captures: [] };
}

/** Without the omitted ones at the end. */
function trimmed<T>(list: (T | null)[]): (T | null)[] {
  let length = list.length;
  while (length > 0 && list[length - 1] === null) length--;
  return list.slice(0, length);
}

/** Imports the graphs of one model. */
export class GraphImporter {
  readonly #sources: ImportSources;
  /** Nodes that cannot run; the imported graph is of no use when there are any. */
  readonly problems: Problem[] = [];
  #calls = 0;

  constructor(sources: ImportSources) {
    this.#sources = sources;
  }

  /** The main graph, in turns. Initializers that are inputs as well become defaults where they are `overridable`. */
  *importMain(proto: GraphProto, overridable: boolean): Generator<void, ImportedMain> {
    const graph = emptyGraph(proto.name || 'main');
    const scope = this.#scope(graph, undefined);
    const initializers = this.#initializers(proto);
    const inputs: Port[] = [];
    const defaults = new Map<Value, HostTensor>();
    for (const info of proto.input) {
      const initial = initializers.get(info.name);
      if (initial && !overridable) continue;
      const value = this.#input(info, scope);
      if (initial) {
        defaults.set(value, initial);
        initializers.delete(info.name);
      }
      inputs.push({ name: info.name, type: value.type as ValueType });
    }
    if (defaults.size) graph.defaults = defaults;
    yield* this.#fill(proto, scope, initializers);
    const outputs = proto.output.map((info, i) => {
      const type = declaredType(info.type, info.name) ?? graph.outputs[i].type;
      return { name: info.name, type: type ?? { kind: 'tensor', dtype: 'float32', shape: undefined } } as Port;
    });
    return { graph, inputs, outputs };
  }

  #scope(graph: Graph, parent: Scope | undefined): Scope {
    const { opsets } = parent ?? this.#sources;
    return { graph, parent, names: new Map(), opsets, arguments: parent?.arguments, prefix: parent?.prefix ?? '' };
  }

  #body(proto: GraphProto, parent: Scope, where: string): Graph {
    const graph = emptyGraph(proto.name || where);
    const scope = this.#scope(graph, parent);
    const initializers = this.#initializers(proto);
    for (const info of proto.input) {
      this.#input(info, scope);
      initializers.delete(info.name);
    }
    finish(this.#fill(proto, scope, initializers));
    return graph;
  }

  #initializers(proto: GraphProto): Map<string, HostTensor> {
    const { external } = this.#sources;
    const tensors = new Map<string, HostTensor>();
    const add = (name: string, tensor: HostTensor): void => {
      if (name === '') throw new ModelFormatError(`graph "${proto.name}" has an initializer without a name`);
      if (tensors.has(name)) throw new ModelFormatError(`initializer "${name}" occurs twice`, { value: name });
      tensors.set(name, tensor);
    };
    for (const t of proto.initializer) add(t.name, decodeTensor(t, `initializer "${t.name}"`, external));
    for (const t of proto.sparseInitializer) {
      const name = t.values?.name ?? '';
      add(name, decodeSparse(t, `initializer "${name}"`, external));
    }
    return tensors;
  }

  #input(info: ValueInfoProto, scope: Scope): Value {
    if (info.name === '') throw new ModelFormatError(`graph "${scope.graph.name}" has an input without a name`);
    // Bodies may leave the types of their inputs to inference.
    const decode = scope.parent ? declaredType : decodeType;
    const declared = decode(info.type, `input "${info.name}"`);
    // The shape of a body's input may change from turn to turn, whatever the file declares.
    const type = declared?.kind === 'tensor' && scope.parent ? { ...declared, shape: undefined } : declared;
    const value = makeValue(info.name, type);
    this.#define(info.name, value, scope, 'the inputs');
    scope.graph.inputs.push(value);
    return value;
  }

  #define(name: string, value: Value | null, scope: Scope, by: string): void {
    if (scope.names.has(name)) {
      throw new ModelFormatError(`graph "${scope.graph.name}": "${name}" is defined a second time by ${by}`, {
        value: name,
      });
    }
    scope.names.set(name, value);
  }

  *#fill(proto: GraphProto, scope: Scope, initializers: ReadonlyMap<string, HostTensor>): Generator<void, void> {
    const { graph } = scope;
    for (const [name, tensor] of initializers) this.#define(name, makeConstant(name, tensor), scope, 'an initializer');
    yield* this.#nodes(proto.node, scope, `graph "${graph.name}"`);
    const declared = new Map([...proto.valueInfo, ...proto.output].map((info) => [info.name, info]));
    graph.outputs = proto.output.map(({ name }) => {
      const value = name === '' ? undefined : this.#lookup(name, scope);
      if (!value) {
        throw new ModelFormatError(`graph "${graph.name}": nothing computes the output "${name}"`, { value: name });
      }
      return value;
    });
    for (const [name, info] of declared) {
      const value = scope.names.get(name);
      if (value && !value.type) value.type = declaredType(info.type, name);
    }
  }

  *#nodes(nodes: readonly NodeProto[], scope: Scope, where: string): Generator<void, void> {
    for (const [i, node] of orderNodes(nodes, where).entries()) {
      if (i % STRETCH === 0) yield;
      const called = calledBy(node, this.#sources.functions);
      if (called) this.#inline(node, called, scope);
      else this.#node(node, scope);
    }
  }

  /** The value of a name, as a capture where an enclosing graph has it; undefined where none has. */
  #lookup(name: string, scope: Scope): Value | null | undefined {
    const own = scope.names.get(name);
    if (own !== undefined || !scope.parent) return own;
    const outer = this.#lookup(name, scope.parent);
    if (!outer) return outer;
    const inner = makeValue(outer.name, outer.type);
    inner.constant = outer.constant;
    scope.graph.captures.push({ inner, outer });
    scope.names.set(name, inner);
    return inner;
  }

  #inputs(node: NodeProto, scope: Scope): (Value | null)[] {
    return node.input.map((name, i) => {
      if (name === '') return null;
      const value = this.#lookup(name, scope);
      if (value === undefined) {
        throw new ModelFormatError(`${protoText(node)} reads "${name}" (input ${i}), which nothing defines`, {
          node: node.name,
          value: name,
        });
      }
      return value;
    });
  }

  #attributes(node: NodeProto, scope: Scope): Map<string, Attribute> {
    const attributes = new Map<string, Attribute>();
    for (const { name, proto, scope: from } of this.#argumentsOf(node, scope)) {
      const what = `attribute "${name}" of ${protoText(node)}`;
      if (attributes.has(name)) throw new ModelFormatError(`${what} occurs twice`, { node: node.name });
      const value = decodeAttribute(proto, what, {
        external: this.#sources.external,
        graph: (body) => this.#body(body, from, `${name} of ${protoText(node)}`),
      });
      attributes.set(name, value);
    }
    return attributes;
  }

  /** A node's attributes with references to the call's attributes resolved; what the call omits is omitted. */
  *#argumentsOf(node: NodeProto, scope: Scope): Iterable<Argument & { name: string }> {
    for (const proto of node.attribute) {
      if (proto.refAttrName === '') {
        yield { name: proto.name, proto, scope };
        continue;
      }
      if (!scope.arguments) {
        throw new ModelFormatError(`${protoText(node)} refers to attribute "${proto.refAttrName}" outside a function`);
      }
      const given = scope.arguments.get(proto.refAttrName);
      if (given) yield { name: proto.name, ...given };
    }
  }

  #node(node: NodeProto, scope: Scope): void {
    const domain = domainOf(node.domain);
    const inputs = trimmed(this.#inputs(node, scope));
    const made: Node = {
      name: scope.prefix + (node.name || `${node.opType}_${scope.graph.nodes.length}`),
      op: node.opType,
      domain,
      version: this.#version(node, domain, scope),
      inputs,
      outputs: [],
      attributes: new Map(),
      captures: [],
    };
    // Before the outputs: a body may not read what its own node computes.
    const attributes = this.#attributes(node, scope);
    made.outputs = trimmed(
      node.output.map((name) => {
        if (name === '') return null;
        const value = makeValue(scope.prefix + name);
        value.producer = made;
        this.#define(name, value, scope, protoText(node));
        return value;
      }),
    );
    scope.graph.nodes.push(made);
    const op = this.#definition(made);
    if (!op) return;
    checkCounts(op, node, inputs);
    made.attributes = checkAttributes(attributes, op, made.version, protoText(node));
    made.captures = [...new Set(bodiesOf(made).flatMap((body) => body.captures.map(({ outer }) => outer)))];
  }

  #version(node: NodeProto, domain: string, scope: Scope): number {
    const version = scope.opsets.get(domain) ?? this.#sources.opsets.get(domain);
    if (version === undefined) {
      throw new ModelFormatError(
        `${protoText(node)} is of domain ${domain || 'ai.onnx'}, of which the model imports no version`,
        { node: node.name, domain },
      );
    }
    return version;
  }

  /** The definition of a node's operator, or undefined with the reason noted. */
  #definition(node: Node): OpDefinition | undefined {
    const op = findOp(node.domain, node.op);
    const domain = node.domain || 'ai.onnx';
    const note = (reason: string, hint: string): void => {
      this.problems.push({ node: nodeText(node), op: opKey(node.domain, node.op), reason, hint });
    };
    if (!op) note(`no operator ${node.op} in ${domain} ${node.version}`, hintForUnknown(node));
    else if (node.version < op.since[0]) {
      const reason = `${node.op} exists since ${domain} ${op.since[0]}, the model imports ${node.version}`;
      note(reason, `convert the model to version ${op.since[0]} of ${domain}`);
    } else if (op.until !== undefined && node.version > op.until) {
      const reason = `${node.op} was removed after ${domain} ${op.until}, the model imports ${node.version}`;
      note(reason, `export the model for version ${op.until} of ${domain}`);
    } else return op;
    return undefined;
  }

  /** Puts a function's nodes in the place of a call. */
  #inline(node: NodeProto, called: ModelFunction, scope: Scope): void {
    const { proto, opsets } = called;
    const inputs = this.#inputs(node, scope);
    const name = node.name || `${node.opType}_${scope.graph.nodes.length}`;
    if (inputs.length > proto.input.length || node.output.length > proto.output.length) {
      throw new ModelFormatError(
        `${protoText(node)} has ${inputs.length} inputs and ${node.output.length} outputs, ` +
          `its function ${proto.input.length} and ${proto.output.length}`,
        { node: node.name },
      );
    }
    const frame: Scope = {
      graph: scope.graph,
      parent: undefined,
      names: new Map(),
      opsets,
      arguments: this.#callArguments(node, proto, scope),
      prefix: `${scope.prefix}${name}#${++this.#calls}/`,
    };
    const where = `function ${proto.domain}.${proto.name}`;
    proto.input.forEach((formal, i) => {
      this.#define(formal, inputs[i] ?? null, frame, where);
    });
    finish(this.#nodes(proto.node, frame, where));
    node.output.forEach((actual, i) => {
      if (actual === '') return;
      const value = frame.names.get(proto.output[i]);
      if (!value) throw new ModelFormatError(`${where}: nothing computes the output "${proto.output[i]}"`);
      if (value.name.startsWith(frame.prefix)) value.name = scope.prefix + actual;
      this.#define(actual, value, scope, protoText(node));
    });
  }

  #callArguments(node: NodeProto, proto: FunctionProto, scope: Scope): Map<string, Argument> {
    const given = new Map<string, Argument>();
    for (const attribute of proto.attributeProto) given.set(attribute.name, { proto: attribute, scope });
    const known = new Set([...proto.attribute, ...given.keys()]);
    for (const { name, ...argument } of this.#argumentsOf(node, scope)) {
      if (!known.has(name)) {
        throw new ModelFormatError(`${protoText(node)}: its function has no attribute "${name}"`, { attribute: name });
      }
      given.set(name, argument);
    }
    return given;
  }
}

function checkCounts(op: OpDefinition, node: NodeProto, inputs: readonly (Value | null)[]): void {
  const check = (what: string, least: number, most: number, listed: number, used: number): void => {
    if (listed >= least && used <= most) return;
    const expected =
      least === most ? `${least}` : most === Number.POSITIVE_INFINITY ? `${least} or more` : `${least} to ${most}`;
    throw new ModelFormatError(`${protoText(node)} has ${used} ${what}, expected ${expected}`, {
      node: node.name,
      op: node.opType,
    });
  };
  const [least, most] = op.inputs;
  check('inputs', least, most, node.input.length, inputs.length);
  for (let i = 0; i < least; i++) {
    if (inputs[i] || op.omittable?.includes(i)) continue;
    throw new ModelFormatError(`${protoText(node)}: input ${i} is omitted, which it may not be`, {
      node: node.name,
      op: node.opType,
    });
  }
  check('outputs', op.outputs[0], op.outputs[1], node.output.length, node.output.length);
}

/** Operators that are another operator under other attributes, inputs or name: the node as that operator sees it. */

import { InternalError } from '../errors.ts';
import type { DType } from '../ir/dtype.ts';
import type { Attribute, Graph, ValueType } from '../ir/graph.ts';
import type { Dim, Shape } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import {
  type InferContext,
  integerInput,
  NodeAccess,
  type NodeReader,
  type OpDefinition,
  type ReferenceContext,
} from './op.ts';

/** How the inner node differs from the outer one. */
export interface Delegation {
  /** The operator that does the work. */
  readonly op: OpDefinition;
  /** Version of its domain to follow. */
  readonly version: number;
  /** For each inner input the outer one that feeds it, or undefined for an omitted one. Default: the same. */
  readonly inputs?: readonly (number | undefined)[];
  /** Attributes that replace the outer ones. */
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/** The definition named `name` of a family. */
export function member(family: readonly OpDefinition[], name: string): OpDefinition {
  const op = family.find((candidate) => candidate.name === name && !candidate.domain);
  if (!op) throw new InternalError(`no operator ${name} in its family`);
  return op;
}

/** The outer node's attributes that the inner operator knows. */
function attributesOf(ctx: NodeReader, { op, attributes = {} }: Delegation): Map<string, Attribute> {
  const out = new Map<string, Attribute>(Object.entries(attributes));
  for (const [name, type] of Object.entries(op.attributes ?? {})) {
    if (out.has(name) || !ctx.hasAttribute(name)) continue;
    if (type === 'int') out.set(name, { type, value: ctx.int(name) });
    else if (type === 'float') out.set(name, { type, value: ctx.float(name) });
    else if (type === 'string') out.set(name, { type, value: ctx.string(name) });
    else if (type === 'ints') out.set(name, { type, value: ctx.ints(name) });
    else if (type === 'floats') out.set(name, { type, value: ctx.floats(name) });
    else if (type === 'strings') out.set(name, { type, value: ctx.strings(name) });
  }
  return out;
}

class Inner extends NodeAccess {
  readonly #map: readonly (number | undefined)[];

  constructor(ctx: NodeReader, delegation: Delegation, phase: 'load' | 'run') {
    const map = delegation.inputs ?? Array.from({ length: ctx.inputCount }, (_, i) => (ctx.has(i) ? i : undefined));
    super(
      {
        op: ctx.op,
        domain: ctx.domain,
        name: ctx.name,
        version: delegation.version,
        attributes: attributesOf(ctx, delegation),
        inputs: map.map((i) => (i !== undefined && ctx.has(i) ? i : null)),
        outputs: Array.from({ length: ctx.outputCount }, (_, i) => (ctx.wants(i) ? i : null)),
      },
      phase,
    );
    this.#map = map;
  }

  /** The outer index of input `i`; an index without a counterpart is past every input. */
  outer(i: number): number {
    return this.#map[i] ?? Number.MAX_SAFE_INTEGER;
  }
}

class InnerInfer extends Inner implements InferContext {
  readonly #ctx: InferContext;

  constructor(ctx: InferContext, delegation: Delegation) {
    super(ctx, delegation, 'load');
    this.#ctx = ctx;
  }

  type(i: number): ValueType | undefined {
    return this.has(i) ? this.#ctx.type(this.outer(i)) : undefined;
  }
  dtype(i: number): DType {
    return this.#ctx.dtype(this.outer(i));
  }
  shape(i: number): Shape | undefined {
    return this.has(i) ? this.#ctx.shape(this.outer(i)) : undefined;
  }
  constant(i: number): HostTensor | undefined {
    return this.has(i) ? this.#ctx.constant(this.outer(i)) : undefined;
  }
  integers(i: number): number[] | undefined {
    return this.has(i) ? this.#ctx.integers(this.outer(i)) : undefined;
  }
  entries(i: number): readonly Dim[] | undefined {
    return this.has(i) ? this.#ctx.entries(this.outer(i)) : undefined;
  }
}

class InnerReference extends Inner implements ReferenceContext {
  readonly #ctx: ReferenceContext;
  readonly #replaced: readonly (HostTensor | undefined)[];

  constructor(ctx: ReferenceContext, delegation: Delegation, replaced: readonly (HostTensor | undefined)[]) {
    super(ctx, delegation, 'run');
    this.#ctx = ctx;
    this.#replaced = replaced;
  }

  tensor(i: number): HostTensor {
    return this.#replaced[i] ?? this.#ctx.tensor(this.outer(i));
  }
  optional(i: number): HostTensor | undefined {
    return this.has(i) ? this.tensor(i) : undefined;
  }
  value(i: number): HostValue {
    return this.#replaced[i] ?? this.#ctx.value(this.outer(i));
  }
  integers(i: number): number[] {
    return integerInput(this, i);
  }
  runGraph(graph: Graph, feeds: readonly HostValue[]): HostValue[] {
    return this.#ctx.runGraph(graph, feeds);
  }
}

/** Infers as the inner operator. */
export function delegateInfer(ctx: InferContext, delegation: Delegation): (ValueType | undefined)[] {
  return delegation.op.infer(new InnerInfer(ctx, delegation));
}

/** Computes as the inner operator; `replaced` stands in for its inputs where given. */
export function delegateReference(
  ctx: ReferenceContext,
  delegation: Delegation,
  replaced: readonly (HostTensor | undefined)[] = [],
): HostValue[] {
  return delegation.op.reference(new InnerReference(ctx, delegation, replaced));
}

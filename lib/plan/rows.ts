/**
 * Whether the items of a batch can be computed apart.
 *
 * The walk follows a batch of one and a batch of three side by side. A value with rows has, in a batch of n, n blocks of
 * axis 0, and block i is what item i alone makes of it. That is proven node by node for every n: by what operators say of
 * themselves, and by sizes that are affine in n, so that two batches tell them all.
 */

import type { Graph, Node, Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, toIntegers, toNumbers } from '../ir/tensor.ts';
import { findOp } from '../ops/index.ts';
import { NodeAccess, type OpDefinition, type RowInputs } from '../ops/op.ts';
import { Facts } from './facts.ts';
import type { Typed } from './typed.ts';

/** Items of the two batches. */
const BATCHES = [1, 3] as const;
/** Elements of contents that are computed: indices into all items' rows are larger than shapes. */
const FOLD_LIMIT = 2 ** 16;
/** Contents of more elements are not looked at for parameters of operators. */
const PARAMETER_LIMIT = 64;

/**
 * What a value is in a batch of n.
 *
 * - shared: the same for all n.
 * - sized: of one shape, with integers that are affine in n.
 * - rows: block i of axis 0 depends on item i alone.
 * - numbered: block i of axis 0 depends on i alone, with integers that are affine in i.
 * - placed: block i of axis 0 depends on item i and on i; such a value may give its shape alone.
 */
type Kind = 'shared' | 'sized' | 'rows' | 'numbered' | 'placed';

const inBlocks = (kind: Kind | undefined): boolean => kind === 'rows' || kind === 'numbered';

const equal = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((each, i) => each === b[i]);

class RowAnalysis {
  /** Of either batch. */
  readonly #facts: readonly [Facts, Facts];
  readonly #kinds = new Map<Value, Kind>();

  constructor(graph: Graph, types: readonly ReadonlyMap<Value, Typed>[]) {
    this.#facts = [new Facts(types[0], new Map(), FOLD_LIMIT), new Facts(types[1], new Map(), FOLD_LIMIT)];
    for (const input of graph.inputs) this.#kinds.set(input, 'rows');
  }

  /** True where every output of the graph is in rows. */
  run(graph: Graph): boolean {
    for (const node of graph.nodes) if (!this.#visit(node)) return false;
    return graph.outputs.every((output) => inBlocks(this.#kind(output)) && this.#isFree(output));
  }

  #kind(value: Value): Kind | undefined {
    return this.#kinds.get(value) ?? (value.constant ? 'shared' : undefined);
  }

  #visit(node: Node): boolean {
    const op = findOp(node.domain, node.op);
    const traits = op?.traits ?? [];
    if (!op || node.captures.length > 0 || traits.includes('random') || traits.includes('control')) return false;
    for (const facts of this.#facts) {
      const types = facts.infer(node);
      if (!types) return false;
      const contents = facts.fold(node, types);
      node.outputs.forEach((output, i) => {
        const content = contents?.[i];
        const known = content?.kind === 'tensor' ? { dtype: content.dtype, dims: content.dims, content } : undefined;
        if (output) facts.set(output, known ? { kind: 'tensor', ...known } : types[i]);
      });
    }
    return node.outputs.every((output) => {
      const kind = output && this.#kindOf(node, op, output);
      if (kind) this.#kinds.set(output, kind);
      return !output || kind !== undefined;
    });
  }

  /** What an output is; undefined where that is not known. */
  #kindOf(node: Node, op: OpDefinition, output: Value): Kind | undefined {
    const kinds = node.inputs.map((value) => (value ? this.#kind(value) : 'shared'));
    if (kinds.includes(undefined)) return undefined;
    if (kinds.every((kind) => kind === 'shared')) return 'shared';
    // Of sizes alone, and they are affine in n.
    if (op.traits?.includes('metadata')) return this.#sizes(output);
    if (kinds.includes('placed')) return undefined;
    if (!kinds.some(inBlocks)) {
      const affine = isAffine(
        op,
        kinds.map((kind) => kind === 'sized'),
      );
      const kind = affine || this.#isSettled(node, op) ? this.#sizes(output) : undefined;
      if (kind) return kind;
    }
    if (!this.#hasBlocks(output)) return undefined;
    const access = new NodeAccess(node, 'run');
    const places = op.rowNumbers?.(access);
    if (places && inBlocks(kinds[0]) && kinds[1] !== 'shared') return this.#picked(node, places);
    const inputs = this.#rowInputs(node, kinds as Kind[]);
    if (op.numbersRows?.(access, inputs)) return this.#steps(output) && 'numbered';
    if (!this.#keepsRows(node, op, kinds as Kind[], output)) return undefined;
    const varying = kinds.map((kind, i) => kind !== 'shared' && !op.sizeInputs?.includes(i));
    if (!kinds.includes('rows') && isAffine(op, varying) && this.#steps(output)) return 'numbered';
    return node.inputs.every((value) => !value || this.#isFree(value)) ? 'rows' : 'placed';
  }

  /** True for a value that does not tell which item of a batch is which. */
  #isFree(value: Value): boolean {
    return this.#kind(value) !== 'numbered' || this.#steps(value)?.every((step) => step === 0) === true;
  }

  /** What input 0 holds at places whose rows are those of the own item. */
  #picked(node: Node, places: 'each' | 'first'): Kind | undefined {
    const [data, picks] = node.inputs as Value[];
    const [first] = this.#contents(picks) ?? [];
    const steps = this.#kind(picks) === 'numbered' ? this.#steps(picks) : undefined;
    if (!first || !steps || !this.#isFree(data)) return undefined;
    const rows = this.#dims(data)[0][0];
    const depth = places === 'each' ? 1 : (first.dims.at(-1) as number);
    const numbers = toIntegers(first);
    const own = steps.every((step, i) =>
      i % depth ? step === 0 : step === rows && numbers[i] >= 0 && numbers[i] < rows,
    );
    return own ? 'rows' : undefined;
  }

  #dims(value: Value | null): readonly [readonly number[], readonly number[]] {
    const [one, three] = this.#facts.map((facts) => {
      const typed = value && facts.typed(value);
      return typed?.kind === 'tensor' ? typed.dims : [];
    });
    return [one, three];
  }

  #contents(value: Value): readonly [HostTensor, HostTensor] | undefined {
    const [one, three] = this.#facts.map((facts) => {
      const typed = facts.typed(value);
      return typed?.kind === 'tensor' ? typed.content : undefined;
    });
    return one && three && [one, three];
  }

  /** A value of one shape whose elements are affine in n. */
  #sizes(value: Value): Kind | undefined {
    const contents = this.#contents(value);
    if (!contents || !equal(contents[0].dims, contents[1].dims) || contents[0].dtype === 'string') return undefined;
    if (equal(toNumbers(contents[0]) as never, toNumbers(contents[1]) as never)) return 'shared';
    return contents[0].dtype === 'int64' ? 'sized' : undefined;
  }

  /** True for `rank` sizes of which the first grows with n, and is one from n = 1 on: not a 0 or -1 that asks for another. */
  #sizesAxis0(value: Value, rank: number): boolean {
    const [one, three] = (this.#contents(value) ?? []).map(toIntegers);
    if (one?.length !== rank || !equal(one.slice(1), three.slice(1))) return false;
    return one[0] > 0 && three[0] > one[0];
  }

  /** True for a comparison of sizes, which only grow, with numbers that the least of them have passed. */
  #isSettled(node: Node, op: OpDefinition): boolean {
    if (!op.compares) return false;
    const sides = node.inputs.map((value) => value && this.#contents(value)?.map(toNumbers));
    const [a, b] = sides;
    if (!a || !b) return false;
    const grown = [a, b].filter(([one, three]) => !equal(one as never, three as never));
    const [still] = [a, b].filter((side) => !grown.includes(side));
    if (grown.length !== 1 || !still) return false;
    const [one, three] = grown[0];
    const most = still[0].reduce((max, each) => Math.max(max, each), Number.NEGATIVE_INFINITY);
    return one.every((each, i) => three[i] === each || (three[i] > each && each > most));
  }

  /** True for n times as many rows along axis 0 as one item has, and nothing else that depends on n. */
  #hasBlocks(value: Value): boolean {
    const [one, three] = this.#dims(value);
    return one.length > 0 && three[0] === one[0] * BATCHES[1] && equal(one.slice(1), three.slice(1));
  }

  /** What numbers of rows grow by from item to item; undefined where they are not known or are not affine. */
  #steps(value: Value): number[] | undefined {
    const contents = this.#contents(value);
    if (contents?.[0].dtype !== 'int64') return undefined;
    const [one, three] = contents.map(toIntegers);
    const steps = one.map((each, j) => three[one.length + j] - each);
    const fits = one.every((each, j) => three[j] === each && three[2 * one.length + j] === each + 2 * steps[j]);
    return fits ? steps : undefined;
  }

  #rowInputs(node: Node, kinds: readonly Kind[]): RowInputs {
    const dims = node.inputs.map((value) => this.#dims(value)[1]);
    return {
      dims,
      ranks: dims.map((each) => each.length),
      shared: kinds.map((kind) => !inBlocks(kind)),
      numbers: (i) => this.#parameter(node.inputs[i] ?? null, kinds[i]),
    };
  }

  #keepsRows(node: Node, op: OpDefinition, kinds: readonly Kind[], output: Value): boolean {
    const tellsSize = kinds.map((_, i) => op.sizeInputs?.includes(i) === true);
    if (kinds.some((kind, i) => (tellsSize[i] ? inBlocks(kind) : kind === 'sized'))) return false;
    const sizes = node.inputs.filter((_, i) => kinds[i] === 'sized') as Value[];
    if (!sizes.every((value) => this.#sizesAxis0(value, this.#dims(output)[0].length))) return false;
    if (op.traits?.includes('view')) return inBlocks(kinds[0]) && !kinds.slice(1).some(inBlocks);
    const inputs = this.#rowInputs(node, kinds);
    const { ranks, dims, shared } = inputs;
    const out = this.#dims(output)[1];
    if (shared.some((each, i) => !each && dims[i][0] !== out[0])) return false;
    if (op.traits?.includes('elementwise')) {
      return ranks.every((rank, i) => (shared[i] ? rank < out.length || dims[i][0] === 1 : rank === out.length));
    }
    if (op.keepsRows) return op.keepsRows(new NodeAccess(node, 'run'), inputs);
    // A pool may also tell where its maxima are, counted through the whole batch.
    const alone = node.outputs.filter((each) => each !== null).length === 1;
    const takesRows = (i: number): boolean => i === 0 || i === 3;
    return op.window !== undefined && alone && node.inputs.every((value, i) => !value || shared[i] !== takesRows(i));
  }

  #parameter(value: Value | null, kind: Kind | undefined): readonly number[] | undefined {
    const typed = value && kind === 'shared' ? this.#facts[1].typed(value) : undefined;
    const content = typed?.kind === 'tensor' ? typed.content : undefined;
    if (!content || content.dtype === 'string' || sizeOf(content.dims) > PARAMETER_LIMIT) return undefined;
    return Array.from(toNumbers(content));
  }
}

/** True where elements of the outputs are affine functions of the same elements of the varying inputs. */
function isAffine(op: OpDefinition, varying: readonly boolean[]): boolean {
  if (op.affine) return op.affine(varying);
  const moves = op.traits?.includes('movement') || op.traits?.includes('view');
  return moves === true && !varying.slice(1).includes(true);
}

/**
 * True where the graph computes every item of a batch apart. `dims` gives the shape of each input; axis 0 is the batch.
 * A graph that is not understood counts as one that does not.
 */
export function rowsAreIndependent(graph: Graph, dims: readonly (readonly number[])[]): boolean {
  const types = BATCHES.map(() => new Map<Value, Typed>());
  for (const [i, input] of graph.inputs.entries()) {
    const own = dims[i];
    if (!own?.length || input.type?.kind !== 'tensor' || input.type.dtype === 'string') return false;
    const { dtype } = input.type;
    for (const [b, batch] of BATCHES.entries()) {
      types[b].set(input, { kind: 'tensor', dtype, dims: [batch, ...own.slice(1)] });
    }
  }
  try {
    return graph.inputs.length > 0 && new RowAnalysis(graph, types).run(graph);
  } catch {
    // A graph whose batch is fixed does not infer with another one.
    return false;
  }
}

/** True for networks that multiply bytes. */
export function multipliesBytes(graph: Graph): boolean {
  return graph.nodes.some(({ domain, op }) => findOp(domain, op)?.traits?.includes('bytes'));
}

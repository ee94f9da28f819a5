/** Tree ensembles as their kernel walks them: every branch asks whether one feature is at most a number. */

import type { DType } from '../ir/dtype.ts';
import type { Branch, Ensemble } from './ml-tree-nodes.ts';

/** An ensemble of comparisons; see native/kernels/trees.cc for the lists. */
export interface FlatTrees {
  readonly dtype: 'float32' | 'float64';
  readonly branches: number;
  readonly leaves: number;
  readonly splits: Float32Array | Float64Array;
  readonly links: Int32Array;
  readonly roots: Int32Array;
  /** Where leaves have several votes, or speak of one of several targets. */
  readonly votes:
    | { readonly firsts: Int32Array; readonly targets: Int32Array; readonly weights: Float64Array }
    | undefined;
  /** Features that rows need. */
  readonly features: number;
  /** Comparisons that a row makes at most, over all trees. */
  readonly steps: number;
  readonly finite: boolean;
}

/** The sign bit of a link's feature: NaN is taken as no greater than the split. */
const MISSING_BELOW = -0x80000000;
const MAX_FEATURE = 0x7fffffff;

/** A comparison; `below` and `above` are nodes, or `-1 - leaf`. */
interface Comparison {
  readonly split: number;
  readonly feature: number;
  readonly missingBelow: boolean;
  below: number;
  above: number;
}

const bits = new DataView(new ArrayBuffer(8));

/** The next number below `x` of a type; NaN, which nothing is at most, below -Infinity. */
export function numberBelow(x: number, dtype: 'float32' | 'float64'): number {
  if (Number.isNaN(x) || x === Number.NEGATIVE_INFINITY) return Number.NaN;
  if (x === 0) return dtype === 'float32' ? -(2 ** -149) : -Number.MIN_VALUE;
  if (dtype === 'float32') {
    bits.setFloat32(0, x);
    bits.setInt32(0, bits.getInt32(0) - Math.sign(x));
    return bits.getFloat32(0);
  }
  bits.setFloat64(0, x);
  bits.setBigInt64(0, bits.getBigInt64(0) - BigInt(Math.sign(x)));
  return bits.getFloat64(0);
}

/** Makes comparisons of the branches of an ensemble. Comparisons lead to branches by `branch number`. */
class Comparisons {
  readonly list: Comparison[] = [];
  readonly #dtype: 'float32' | 'float64';

  constructor(dtype: 'float32' | 'float64') {
    this.#dtype = dtype;
  }

  /** Appends the comparisons of a branch, the first of which is where it begins. Places are left as the branch has them. */
  add(branch: Branch): void {
    const { mode, split, onTrue, onFalse, missingTrue } = branch;
    // No number is at most NaN, nor at least.
    switch (Number.isNaN(split) && mode.startsWith('BRANCH_G') ? 'BRANCH_LT' : mode) {
      case 'BRANCH_LEQ':
        this.#push(branch, split, onTrue, onFalse, missingTrue);
        break;
      case 'BRANCH_LT':
        this.#push(branch, numberBelow(split, this.#dtype), onTrue, onFalse, missingTrue);
        break;
      case 'BRANCH_GT':
        this.#push(branch, split, onFalse, onTrue, !missingTrue);
        break;
      case 'BRANCH_GTE':
        this.#push(branch, numberBelow(split, this.#dtype), onFalse, onTrue, !missingTrue);
        break;
      case 'BRANCH_EQ':
        this.#member(branch, [split], onTrue, onFalse, missingTrue);
        break;
      case 'BRANCH_NEQ':
        this.#member(branch, [split], onFalse, onTrue, false);
        break;
      case 'BRANCH_MEMBER':
        this.#member(branch, [...(branch.members ?? [])], onTrue, onFalse, missingTrue);
        break;
    }
  }

  #push({ feature }: Branch, split: number, below: number, above: number, missingBelow: boolean): void {
    this.list.push({ split, feature, missingBelow, below, above });
  }

  /**
   * Membership: at most the greatest member, then by halves to one member, then not below it. NaN goes above, so to
   * `outside` from the first comparison, else to `inside` from the last.
   */
  #member(branch: Branch, members: number[], inside: number, outside: number, missingInside: boolean): void {
    const sorted = [...new Set(members)].filter((x) => !Number.isNaN(x)).sort((a, b) => a - b);
    if (sorted.length === 0) {
      this.#push(branch, Number.NaN, inside, outside, missingInside);
      return;
    }
    const first = this.list.length;
    const next = (at: number): number => NEXT + at - first;
    this.#push(branch, sorted[sorted.length - 1], next(first + 1), outside, missingInside);
    const narrow = (from: number, to: number): void => {
      if (to - from === 1) {
        this.#push(branch, numberBelow(sorted[from], this.#dtype), outside, inside, false);
        return;
      }
      const middle = (from + to) >> 1;
      const at = this.list.length;
      this.#push(branch, sorted[middle - 1], next(at + 1), 0, false);
      narrow(from, middle);
      this.list[at].above = next(this.list.length);
      narrow(middle, to);
    };
    narrow(0, sorted.length);
  }
}

/** Places from here on are comparisons of the same branch. */
const NEXT = 2 ** 40;

/** Branches that the roots lead to, each before those it leads to; undefined where there is a cycle. */
function sortedBranches({ branches, roots }: Ensemble): number[] | undefined {
  const ENTERED = 1;
  const DONE = 2;
  const state = new Uint8Array(branches.length);
  const finished: number[] = [];
  // Later roots first, so that the reversed order has the trees in theirs.
  for (let r = roots.length - 1; r >= 0; r--) {
    const stack = [roots[r]];
    while (stack.length) {
      const at = stack[stack.length - 1];
      if (at < 0 || state[at] === DONE) {
        stack.pop();
      } else if (state[at] === ENTERED) {
        state[at] = DONE;
        finished.push(at);
        stack.pop();
      } else {
        state[at] = ENTERED;
        const { onTrue, onFalse } = branches[at];
        if ([onTrue, onFalse].some((next) => next >= 0 && state[next] === ENTERED)) return undefined;
        stack.push(onTrue, onFalse);
      }
    }
  }
  return finished.reverse();
}

/** Leaves in the order in which the sorted nodes lead to them. */
function sortedLeaves(comparisons: readonly Comparison[], roots: readonly number[]): Map<number, number> {
  const order = new Map<number, number>();
  const see = (place: number): void => {
    if (place < 0 && !order.has(-1 - place)) order.set(-1 - place, order.size);
  };
  for (const { below, above } of comparisons) {
    see(below);
    see(above);
  }
  for (const root of roots) see(root);
  return order;
}

const single = (x: number): boolean => Number.isNaN(x) || Math.fround(x) === x;

/** Element type in which splits and, where they lie in the nodes, weights are exact. */
function typeFor(trees: Ensemble, rows: DType, lone: boolean): 'float32' | 'float64' {
  if (rows !== 'float32' && rows !== 'float16' && rows !== 'bfloat16') return 'float64';
  const exact = ({ split, members }: Branch): boolean => single(split) && (!members || [...members].every(single));
  const weights = !lone || trees.leaves.every((leaf) => single(leaf[0].weight));
  return weights && trees.branches.every(exact) ? 'float32' : 'float64';
}

function votesOf(trees: Ensemble, order: ReadonlyMap<number, number>): NonNullable<FlatTrees['votes']> {
  const firsts = new Int32Array(order.size + 1);
  const targets: number[] = [];
  const weights: number[] = [];
  for (const [leaf, at] of order) {
    for (const { target, weight } of trees.leaves[leaf]) {
      targets.push(target);
      weights.push(weight);
    }
    firsts[at + 1] = targets.length;
  }
  return { firsts, targets: Int32Array.from(targets), weights: Float64Array.from(weights) };
}

/** Most comparisons from each node to a leaf, summed over the roots. */
function stepsOf(links: Int32Array, roots: Int32Array, branches: number): number {
  const depth = new Int32Array(branches);
  const below = (node: number): number => (node < branches ? depth[node] : 0);
  for (let i = branches - 1; i >= 0; i--) depth[i] = 1 + Math.max(below(links[3 * i + 1]), below(links[3 * i + 2]));
  return roots.reduce((sum, root) => sum + below(root), 0);
}

/** The flat form for rows of type `rows`, or why there is none. */
export function flattenTrees(trees: Ensemble, rows: DType): FlatTrees | string {
  if (trees.roots.length === 0) return 'no trees';
  if (trees.leaves.every((leaf) => leaf.length === 0)) return 'leaves without weights';
  const sorted = sortedBranches(trees);
  if (!sorted) return 'the nodes of a tree form a cycle';
  const lone = trees.targets === 1 && trees.leaves.every((leaf) => leaf.length === 1);
  const dtype = typeFor(trees, rows, lone);
  const comparisons = new Comparisons(dtype);
  const begins = new Int32Array(trees.branches.length);
  const firstOf: number[] = [];
  for (const number of sorted) {
    begins[number] = comparisons.list.length;
    comparisons.add(trees.branches[number]);
    while (firstOf.length < comparisons.list.length) firstOf.push(begins[number]);
  }
  const { list } = comparisons;
  const order = sortedLeaves(list, trees.roots);
  const place = (at: number, first: number): number => {
    if (at >= NEXT) return first + at - NEXT;
    return at >= 0 ? begins[at] : list.length + (order.get(-1 - at) as number);
  };
  const links = new Int32Array(3 * list.length);
  const splits = new (dtype === 'float32' ? Float32Array : Float64Array)(list.length + order.size);
  let features = 0;
  for (const [i, { split, feature, missingBelow, below, above }] of list.entries()) {
    if (feature >= MAX_FEATURE) return `a comparison of feature ${feature}`;
    features = Math.max(features, feature + 1);
    splits[i] = split;
    links.set(
      [missingBelow ? feature + MISSING_BELOW : feature, place(below, firstOf[i]), place(above, firstOf[i])],
      3 * i,
    );
  }
  if (lone) for (const [leaf, at] of order) splits[list.length + at] = trees.leaves[leaf][0].weight;
  const roots = Int32Array.from(trees.roots, (root) => place(root, 0));
  const finite = trees.leaves.every((leaf) => leaf.every(({ weight }) => Number.isFinite(weight)));
  return {
    ...{ dtype, branches: list.length, leaves: order.size, splits, links, roots, features, finite },
    votes: lone ? undefined : votesOf(trees, order),
    steps: stepsOf(links, roots, list.length),
  };
}

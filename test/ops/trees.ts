/** Random tree ensembles in the attributes of their operators. */

import type { Attribute } from '../../lib/ir/graph.ts';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { t } from './node.ts';

const comparisons = ['BRANCH_LEQ', 'BRANCH_LT', 'BRANCH_GTE', 'BRANCH_GT', 'BRANCH_EQ', 'BRANCH_NEQ'] as const;

/** Whole numbers and numbers in [0, 1) that look random and repeat. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 7919 + 1;
  }
  unit(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }
  below(n: number): number {
    return Math.floor(this.unit() * n);
  }
}

/** Few enough different numbers for splits to be met, and some that are no numbers. */
export function valuesFor(dice: Dice, count: number): number[] {
  const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 0.1];
  return Array.from({ length: count }, () => (dice.below(8) === 0 ? odd[dice.below(6)] : dice.below(9) / 2 - 2));
}

export interface ForestOptions {
  readonly seed: number;
  readonly trees: number;
  readonly depth: number;
  readonly features: number;
  readonly targets: number;
  readonly modes?: readonly string[];
  /** Votes of a leaf: one for a random target, one for each, or any number. */
  readonly votes?: 'one' | 'each' | 'any';
  readonly missing?: boolean;
  readonly signed?: boolean;
}

const floats = (value: readonly number[]): Attribute => ({ type: 'floats', value: value.map(Math.fround) });
const ints = (value: readonly number[]): Attribute => ({ type: 'ints', value });

/** Attributes of TreeEnsembleClassifier ('class') or TreeEnsembleRegressor ('target'). */
export function legacyForest(kind: 'class' | 'target', o: ForestOptions): Record<string, Attribute> {
  const dice = new Dice(o.seed);
  const n = {
    tree: [] as number[],
    id: [] as number[],
    feature: [] as number[],
    value: [] as number[],
    yes: [] as number[],
  };
  const [no, missing, modes] = [[] as number[], [] as number[], [] as string[]];
  const v = { tree: [] as number[], node: [] as number[], id: [] as number[], weight: [] as number[] };
  const vote = (tree: number, node: number): void => {
    const each = o.votes === 'each';
    const count = each ? o.targets : o.votes === 'any' ? dice.below(4) : 1;
    for (let i = 0; i < count; i++) {
      v.tree.push(tree);
      v.node.push(node);
      v.id.push(each ? i : dice.below(o.targets));
      v.weight.push(dice.unit() - (o.signed ? 0.5 : 0));
    }
  };
  for (let tree = 0; tree < o.trees; tree++) {
    let next = 1;
    const grow = (node: number, depth: number): void => {
      const leaf = depth === 0 || (depth < o.depth && dice.below(4) === 0);
      const at = n.id.length;
      n.tree.push(tree);
      n.id.push(node);
      n.feature.push(dice.below(o.features));
      n.value.push(leaf ? 0 : (valuesFor(dice, 1)[0] as number));
      modes.push(leaf ? 'LEAF' : (o.modes ?? comparisons)[dice.below((o.modes ?? comparisons).length)]);
      missing.push(o.missing && dice.below(2) ? 1 : 0);
      n.yes.push(0);
      no.push(0);
      if (leaf) {
        vote(tree, node);
        return;
      }
      [n.yes[at], no[at]] = [next++, next++];
      grow(n.yes[at], depth - 1);
      grow(no[at], depth - 1);
    };
    grow(0, o.depth);
  }
  return {
    nodes_treeids: ints(n.tree),
    nodes_nodeids: ints(n.id),
    nodes_featureids: ints(n.feature),
    nodes_modes: { type: 'strings', value: modes },
    nodes_values: floats(n.value),
    nodes_truenodeids: ints(n.yes),
    nodes_falsenodeids: ints(no),
    nodes_missing_value_tracks_true: ints(missing),
    [`${kind}_treeids`]: ints(v.tree),
    [`${kind}_nodeids`]: ints(v.node),
    [`${kind}_ids`]: ints(v.id),
    [`${kind}_weights`]: floats(v.weight),
  };
}

/** Attributes of TreeEnsemble, of all modes, with numbers of type `dtype`. */
export function forest(dtype: HostTensor['dtype'], o: ForestOptions): Record<string, Attribute> {
  const dice = new Dice(o.seed);
  const b = { feature: [] as number[], split: [] as number[], mode: [] as number[], missing: [] as number[] };
  const next = { yes: [] as number[], yesLeaf: [] as number[], no: [] as number[], noLeaf: [] as number[] };
  const [targets, weights, members, roots] = [[] as number[], [] as number[], [] as number[], [] as number[]];
  const leaf = (): number => {
    weights.push(dice.unit() - (o.signed ? 0.5 : 0));
    return targets.push(dice.below(o.targets)) - 1;
  };
  const grow = (depth: number): number => {
    const at = b.feature.push(dice.below(o.features)) - 1;
    b.split.push(valuesFor(dice, 1)[0] as number);
    b.mode.push(dice.below(7));
    b.missing.push(o.missing ? dice.below(2) : 0);
    if (b.mode[at] === 6) {
      members.push(...valuesFor(dice, dice.below(6)).filter((x) => !Number.isNaN(x)), Number.NaN);
    }
    for (const list of Object.values(next)) list.push(0);
    const inner = depth > 0 && dice.below(4) > 0;
    next.yesLeaf[at] = inner ? 0 : 1;
    next.yes[at] = inner ? grow(depth - 1) : leaf();
    next.noLeaf[at] = depth > 0 ? 0 : 1;
    next.no[at] = depth > 0 ? grow(depth - 1) : leaf();
    return at;
  };
  for (let tree = 0; tree < o.trees; tree++) roots.push(grow(o.depth));
  const list = (values: readonly number[], type = dtype): Attribute => ({ type: 'tensor', value: t(type, values) });
  return {
    n_targets: { type: 'int', value: o.targets },
    tree_roots: ints(roots),
    nodes_featureids: ints(b.feature),
    nodes_splits: list(b.split),
    nodes_modes: list(b.mode, 'uint8'),
    nodes_missing_value_tracks_true: ints(b.missing),
    nodes_truenodeids: ints(next.yes),
    nodes_trueleafs: ints(next.yesLeaf),
    nodes_falsenodeids: ints(next.no),
    nodes_falseleafs: ints(next.noLeaf),
    leaf_targetids: ints(targets),
    leaf_weights: list(weights),
    ...(members.length ? { membership_values: list(members) } : {}),
  };
}

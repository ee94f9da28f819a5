/** The nodes of tree ensembles, read from either form of attributes and checked. */

import { toIntegers, toNumbers } from '../ir/tensor.ts';
import type { NodeReader } from './op.ts';

/** What a leaf adds to which target. */
export type Leaf = readonly { readonly target: number; readonly weight: number }[];

type Mode = 'BRANCH_LEQ' | 'BRANCH_LT' | 'BRANCH_GTE' | 'BRANCH_GT' | 'BRANCH_EQ' | 'BRANCH_NEQ' | 'BRANCH_MEMBER';
const modes: readonly Mode[] = [
  'BRANCH_LEQ',
  'BRANCH_LT',
  'BRANCH_GTE',
  'BRANCH_GT',
  'BRANCH_EQ',
  'BRANCH_NEQ',
  'BRANCH_MEMBER',
];

export interface Branch {
  readonly mode: Mode;
  readonly feature: number;
  readonly split: number;
  readonly members: ReadonlySet<number> | undefined;
  readonly missingTrue: boolean;
  /** Next place: a branch number, or `-1 - leaf`. */
  readonly onTrue: number;
  readonly onFalse: number;
}

export interface Ensemble {
  readonly branches: readonly Branch[];
  readonly leaves: readonly Leaf[];
  /** Places where the trees begin. */
  readonly roots: readonly number[];
  readonly targets: number;
}

function takes(branch: Branch, x: number): boolean {
  if (branch.missingTrue && Number.isNaN(x)) return true;
  switch (branch.mode) {
    case 'BRANCH_LEQ':
      return x <= branch.split;
    case 'BRANCH_LT':
      return x < branch.split;
    case 'BRANCH_GTE':
      return x >= branch.split;
    case 'BRANCH_GT':
      return x > branch.split;
    case 'BRANCH_EQ':
      return x === branch.split;
    case 'BRANCH_NEQ':
      return x !== branch.split;
    case 'BRANCH_MEMBER':
      return branch.members?.has(x) ?? false;
  }
}

/** The leaves that an example reaches, one a tree. */
export function leavesOf(ctx: NodeReader, trees: Ensemble, x: ArrayLike<number>): Leaf[] {
  return trees.roots.map((root) => {
    let place = root;
    for (let steps = 0; place >= 0; steps++) {
      const branch = trees.branches[place];
      if (steps > trees.branches.length) throw ctx.error('the nodes of a tree form a cycle');
      if (branch.feature >= x.length) throw ctx.error(`feature ${branch.feature} of ${x.length}`);
      place = takes(branch, x[branch.feature]) ? branch.onTrue : branch.onFalse;
    }
    return trees.leaves[-1 - place];
  });
}

function checkLengths(ctx: NodeReader, lists: Readonly<Record<string, ArrayLike<unknown>>>): void {
  const lengths = Object.entries(lists).map(([name, list]) => `${name} ${list.length}`);
  if (new Set(Object.values(lists).map((list) => list.length)).size > 1) {
    throw ctx.error(`lists of different lengths: ${lengths.join(', ')}`);
  }
}

/** Floats, or doubles in a tensor beside them. */
function wideFloats(ctx: NodeReader, name: string): ArrayLike<number> {
  const wide = ctx.tensorAttribute(`${name}_as_tensor`);
  return wide ? toNumbers(wide) : ctx.floats(name, []);
}

function checkedMode(ctx: NodeReader, mode: string | undefined): Mode {
  const found = modes.find((known) => known === mode);
  if (!found) throw ctx.error(`the node mode "${mode}" is none of ${modes.join(', ')}`);
  return found;
}

interface Votes {
  readonly byNode: ReadonlyMap<string, Leaf>;
}

function readVotes(ctx: NodeReader, kind: 'class' | 'target', targets: number): Votes {
  const treeIds = ctx.ints(`${kind}_treeids`, []);
  const nodeIds = ctx.ints(`${kind}_nodeids`, []);
  const ids = ctx.ints(`${kind}_ids`, []);
  const weights = wideFloats(ctx, `${kind}_weights`);
  checkLengths(ctx, { treeids: treeIds, nodeids: nodeIds, ids, weights });
  const byNode = new Map<string, { target: number; weight: number }[]>();
  ids.forEach((target, i) => {
    if (!(target >= 0 && target < targets)) throw ctx.error(`${kind} ${target} of ${targets}`);
    const key = `${treeIds[i]} ${nodeIds[i]}`;
    const votes = byNode.get(key) ?? [];
    votes.push({ target, weight: weights[i] });
    byNode.set(key, votes);
  });
  return { byNode };
}

/** Trees of TreeEnsembleClassifier ('class') and TreeEnsembleRegressor ('target'). */
export function readLegacyTrees(ctx: NodeReader, kind: 'class' | 'target', targets: number): Ensemble {
  const treeIds = ctx.ints('nodes_treeids');
  const nodeIds = ctx.ints('nodes_nodeids');
  const modeNames = ctx.strings('nodes_modes');
  const features = ctx.ints('nodes_featureids');
  const values = wideFloats(ctx, 'nodes_values');
  const [yes, no] = [ctx.ints('nodes_truenodeids'), ctx.ints('nodes_falsenodeids')];
  checkLengths(ctx, { treeids: treeIds, nodeids: nodeIds, modes: modeNames, features, values, true: yes, false: no });
  const missing = ctx.ints('nodes_missing_value_tracks_true', []);
  const { byNode } = readVotes(ctx, kind, targets);
  const places = new Map<string, number>();
  const leaves: Leaf[] = [];
  let branchCount = 0;
  const key = (i: number, node: number): string => `${treeIds[i]} ${node}`;
  nodeIds.forEach((node, i) => {
    const name = key(i, node);
    if (places.has(name)) throw ctx.error(`node ${node} of tree ${treeIds[i]} occurs twice`);
    if (modeNames[i] === 'LEAF') places.set(name, -leaves.push(byNode.get(name) ?? []));
    else places.set(name, branchCount++);
  });
  const placeOf = (i: number, node: number): number => {
    const place = places.get(key(i, node));
    if (place === undefined) throw ctx.error(`tree ${treeIds[i]} has no node ${node}`);
    return place;
  };
  const branches: Branch[] = [];
  const reached = new Set<number>();
  nodeIds.forEach((_, i) => {
    if (modeNames[i] === 'LEAF') return;
    const [onTrue, onFalse] = [placeOf(i, yes[i]), placeOf(i, no[i])];
    reached.add(onTrue).add(onFalse);
    if (features[i] < 0) throw ctx.error(`feature ${features[i]} is negative`);
    branches.push({
      mode: checkedMode(ctx, modeNames[i]),
      feature: features[i],
      split: values[i],
      members: undefined,
      missingTrue: missing[i] === 1,
      onTrue,
      onFalse,
    });
  });
  // The root of a tree is the first of its nodes that no branch leads to.
  const roots = new Map<number, number>();
  nodeIds.forEach((node, i) => {
    const place = placeOf(i, node);
    if (!reached.has(place) && !roots.has(treeIds[i])) roots.set(treeIds[i], place);
  });
  return { branches, leaves, roots: [...roots.values()], targets };
}

/** The sets of membership nodes, delimited by NaN. */
function memberSets(ctx: NodeReader): Set<number>[] {
  const t = ctx.tensorAttribute('membership_values');
  const sets: Set<number>[] = [];
  let current = new Set<number>();
  for (const value of t ? toNumbers(t) : []) {
    if (!Number.isNaN(value)) current.add(value);
    else {
      sets.push(current);
      current = new Set();
    }
  }
  if (current.size) sets.push(current);
  return sets;
}

/** Trees of TreeEnsemble. */
export function readTrees(ctx: NodeReader): Ensemble {
  const targets = ctx.int('n_targets', 1);
  const [modeTensor, splitTensor] = [ctx.tensorAttribute('nodes_modes'), ctx.tensorAttribute('nodes_splits')];
  const weightTensor = ctx.tensorAttribute('leaf_weights');
  if (!modeTensor || !splitTensor || !weightTensor)
    throw ctx.error('nodes_modes, nodes_splits or leaf_weights is missing');
  const kinds = toIntegers(modeTensor);
  const splits = toNumbers(splitTensor);
  const features = ctx.ints('nodes_featureids');
  const [yes, no] = [ctx.ints('nodes_truenodeids'), ctx.ints('nodes_falsenodeids')];
  const [yesLeaf, noLeaf] = [ctx.ints('nodes_trueleafs'), ctx.ints('nodes_falseleafs')];
  checkLengths(ctx, { modes: kinds, splits, features, true: yes, false: no, trueleafs: yesLeaf, falseleafs: noLeaf });
  const missing = ctx.ints('nodes_missing_value_tracks_true', []);
  const ids = ctx.ints('leaf_targetids');
  const weights = toNumbers(weightTensor);
  checkLengths(ctx, { leaf_targetids: ids, leaf_weights: weights });
  const leaves = ids.map((target, i): Leaf => {
    if (!(target >= 0 && target < targets)) throw ctx.error(`target ${target} of ${targets}`);
    return [{ target, weight: weights[i] }];
  });
  const place = (id: number, leaf: number): number => {
    if (!(id >= 0 && id < (leaf ? leaves.length : kinds.length))) throw ctx.error(`${leaf ? 'leaf' : 'node'} ${id}`);
    return leaf ? -1 - id : id;
  };
  const sets = memberSets(ctx);
  let used = 0;
  const branches = kinds.map((kind, i): Branch => {
    const mode = checkedMode(ctx, modes[kind] ?? String(kind));
    const members = mode === 'BRANCH_MEMBER' ? sets[used++] : undefined;
    if (mode === 'BRANCH_MEMBER' && !members) throw ctx.error('membership_values has too few sets');
    if (features[i] < 0) throw ctx.error(`feature ${features[i]} is negative`);
    return {
      mode,
      feature: features[i],
      split: splits[i],
      members,
      missingTrue: missing[i] === 1,
      onTrue: place(yes[i], yesLeaf[i]),
      onFalse: place(no[i], noLeaf[i]),
    };
  });
  return { branches, leaves, roots: ctx.ints('tree_roots').map((root) => place(root, 0)), targets };
}

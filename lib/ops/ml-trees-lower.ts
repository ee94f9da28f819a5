/** Native tree ensembles. */

import { dtypeInfo } from '../ir/dtype.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';
import type { LowerContext, Operand } from './lower.ts';
import { castStep, kernelSuffixes, noKernel } from './lower-elementwise.ts';
import { matrixDims, type PostTransform, readLabels } from './ml-scores.ts';
import { type Aggregate, aggregateCodes, type Ending, scoresStep } from './ml-scores-lower.ts';
import { type FlatTrees, flattenTrees } from './ml-tree-flat.ts';
import { type Ensemble, readLegacyTrees } from './ml-tree-nodes.ts';
import { binaryEnding, votingOf } from './ml-tree-votes.ts';

/** Trees that go through a row together, as native/kernels/tree_nodes.h has it. */
const WALKS = 8;
/** Nanoseconds of a comparison, with others under way. */
const STEP_COST = 0.8;
/** What one thread should have to do, in nanoseconds. */
const SHARE_COST = 8000;
const BLOCK_ROWS = 32;

/** What a node says of its trees. */
interface Known {
  readonly trees: FlatTrees | string;
  readonly targets: number;
  readonly ending: Ending;
}

/** By node: the list that names its children, and the type of rows. */
const known = new WeakMap<object, Map<string, Known>>();

function remembered(ctx: LowerContext, read: () => Known): Known {
  const owner = ctx.ints('nodes_truenodeids', []);
  const key = `${ctx.op} ${ctx.dtype(0)}`;
  let entries = known.get(owner);
  if (!entries) {
    entries = new Map();
    known.set(owner, entries);
  }
  let entry = entries.get(key);
  if (!entry) {
    entry = read();
    entries.set(key, entry);
  }
  return entry;
}

function packedTrees(ctx: LowerContext, trees: FlatTrees, targets: number): Operand {
  const list = (key: string, make: () => HostTensor): Operand => ctx.literal(`trees: ${key}`, make);
  const ints = (key: string, data: Int32Array): Operand => list(key, () => tensor('int32', [data.length], data));
  const { votes, splits } = trees;
  const sources = [
    list('splits', () => tensor(trees.dtype, [splits.length], splits)),
    ints('links', trees.links),
    ints('roots', trees.roots),
    votes ? ints('firsts', votes.firsts) : null,
    votes ? ints('targets', votes.targets) : null,
    votes ? list('weights', () => tensor('float64', [votes.weights.length], votes.weights)) : null,
  ];
  return ctx.packed(`pack.trees.${kernelSuffixes[trees.dtype]}`, sources, {
    ...{ branches: trees.branches, leaves: trees.leaves, trees: trees.roots.length },
    ...{ features: trees.features, targets, votes: votes?.weights.length ?? 0 },
  });
}

/** Rows in the type of the splits. */
function rowsAs(ctx: LowerContext, dtype: FlatTrees['dtype']): Operand {
  const x = ctx.input(0);
  if (x.dtype === dtype) return x;
  const converted = ctx.scratch(dtype, x.dims);
  castStep(ctx, x, converted);
  return converted;
}

/** Emits sums and ending; the reason where the node has to run on its reference. */
function emit(ctx: LowerContext, { trees, targets, ending }: Known): string | undefined {
  const [rows, features] = matrixDims(ctx, ctx.dims(0));
  if (typeof trees === 'string') return trees;
  if (rows === 0) return 'no rows';
  if (features === 0) return 'rows of no features';
  if (!kernelSuffixes[ctx.dtype(0)] || dtypeInfo(ctx.dtype(0)).kind === 'bool') return noKernel(ctx.dtype(0));
  if (features < trees.features) return `rows of ${features} features for trees of ${trees.features}`;
  const how = aggregateCodes[ending.aggregate ?? 'SUM'];
  if (how !== aggregateCodes.SUM && !trees.finite) return 'extremes of weights that are not finite';
  const cost = trees.steps * STEP_COST;
  const shares = Math.min(ctx.threads, Math.ceil((rows * cost) / SHARE_COST));
  const groups = Math.ceil(trees.roots.length / WALKS);
  const parts = Math.max(1, Math.min(groups, Math.floor(shares / Math.ceil(rows / BLOCK_ROWS))));
  const x = rowsAs(ctx, trees.dtype);
  const sums = ctx.scratch('float64', [parts, rows, targets]);
  ctx.step(`trees.${kernelSuffixes[trees.dtype]}`, [x, packedTrees(ctx, trees, targets), sums], {
    ...{ rows, features, targets, trees: trees.roots.length, parts, aggregate: how, row_cost: cost },
  });
  scoresStep(ctx, { operand: sums, parts, rows, columns: targets }, ending);
  return undefined;
}

/** What a regressor makes of its trees. */
export interface TreeRegressor {
  readonly trees: Ensemble;
  readonly aggregate: Aggregate | undefined;
  readonly transform: PostTransform;
  /** One number, or one a target; empty for none. */
  readonly base: readonly number[];
}

/** Lowers a regressor, or TreeEnsemble. */
export function lowerRegressor(ctx: LowerContext, read: () => TreeRegressor): string | undefined {
  const entry = remembered(ctx, () => {
    const { trees, aggregate, transform, base } = read();
    const targets = trees.targets;
    const bases = Array.from({ length: targets }, (_, t) => (base.length === 1 ? base[0] : (base[t] ?? 0)));
    const divisor = aggregate === 'AVERAGE' ? Math.max(trees.roots.length, 1) : 1;
    const flat = aggregate ? flattenTrees(trees, ctx.dtype(0)) : 'an unknown aggregate function';
    return { trees: flat, targets, ending: { transform, base: bases, aggregate: aggregate ?? 'SUM', divisor } };
  });
  return emit(ctx, entry);
}

/** Lowers a classifier whose labels are integers. */
export function lowerClassifier(ctx: LowerContext): string | undefined {
  const entry = remembered(ctx, (): Known => {
    const labels = readLabels(ctx, 'classlabels_int64s');
    const classes = labels.names.length;
    const trees = readLegacyTrees(ctx, 'class', classes);
    const voting = votingOf(ctx, labels, trees);
    const names = voting.names.filter((name): name is bigint => typeof name === 'bigint');
    if (voting.only !== undefined) {
      const leaves = trees.leaves.map((leaf) => leaf.map(({ weight }) => ({ target: 0, weight })));
      const { base, pair, transform } = binaryEnding(voting, voting.only);
      const flat = flattenTrees({ ...trees, leaves, targets: 1 }, ctx.dtype(0));
      return { trees: flat, targets: 1, ending: { transform, base: [base], pair, labels: names } };
    }
    const base = Array.from({ length: classes }, (_, c) => voting.base[c] ?? 0);
    const flat = classes < 2 ? 'fewer than two classes' : flattenTrees(trees, ctx.dtype(0));
    return { trees: flat, targets: classes, ending: { transform: voting.transform, base, labels: names } };
  });
  return emit(ctx, entry);
}

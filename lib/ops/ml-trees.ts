/** Tree ensembles of ai.onnx.ml: classifier, regressor, and the one operator that replaced both. */

import type { DType } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { fromNumbers, type HostValue, toNumbers } from '../ir/tensor.ts';
import {
  argMax,
  batchOf,
  inferClassifier,
  labelTensor,
  logistic,
  matrixDims,
  type PostTransform,
  postTransform,
  readLabels,
  transformScores,
} from './ml-scores.ts';
import { type Ensemble, type Leaf, leavesOf, readLegacyTrees, readTrees } from './ml-tree-nodes.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

type Aggregate = 'AVERAGE' | 'SUM' | 'MIN' | 'MAX';
const aggregates: readonly Aggregate[] = ['AVERAGE', 'SUM', 'MIN', 'MAX'];

/** Sums (or extremes) of the leaves that an example reaches, per target; NaN where none speaks of the target. */
function gather(trees: Ensemble, leaves: readonly Leaf[], targets: number, how: Aggregate): Float64Array {
  const out = new Float64Array(targets).fill(Number.NaN);
  for (const leaf of leaves) {
    for (const { target, weight } of leaf) {
      const held = out[target];
      if (Number.isNaN(held)) out[target] = weight;
      else if (how === 'MIN') out[target] = Math.min(held, weight);
      else if (how === 'MAX') out[target] = Math.max(held, weight);
      else out[target] = held + weight;
    }
  }
  if (how === 'AVERAGE') return out.map((sum) => sum / Math.max(trees.roots.length, 1));
  return out;
}

function regress(
  ctx: ReferenceContext,
  trees: Ensemble,
  how: Aggregate | undefined,
  transform: PostTransform,
  base: readonly number[],
  dtype: DType,
): HostValue[] {
  if (!how) throw ctx.error('the aggregate function is none of AVERAGE, SUM, MIN and MAX');
  const x = ctx.tensor(0);
  const [examples, features] = matrixDims(ctx, x.dims);
  const { targets } = trees;
  const values = toNumbers(x);
  const out = new Float64Array(examples * targets);
  for (let n = 0; n < examples; n++) {
    const leaves = leavesOf(ctx, trees, values.subarray(n * features, (n + 1) * features));
    const row = gather(trees, leaves, targets, how).map(
      (sum, t) => (Number.isNaN(sum) ? 0 : sum) + (base.length === 1 ? base[0] : (base[t] ?? 0)),
    );
    transformScores(row, transform);
    out.set(row, n * targets);
  }
  return [fromNumbers(dtype, [examples, targets], out)];
}

/** How a classifier's weights decide. */
interface Voting {
  readonly names: readonly (string | bigint)[];
  readonly base: readonly number[];
  /** The one class of two that all weights speak of; undefined where they speak of several. */
  readonly only: number | undefined;
  readonly positive: boolean;
  readonly transform: PostTransform;
}

interface Decision {
  readonly label: string | bigint;
  readonly scores: Float64Array;
}

/** Label and scores where all weights speak of one class of two: `sum` is what they add up to. */
function decideBinary(sum: number, only: number, v: Voting): Decision {
  const total = sum + (v.base[v.base.length === 2 ? only : 0] ?? 0);
  const label = v.names[total > (v.positive ? 0.5 : 0) ? 1 : 0];
  if (only === 1 || v.base.length === 2) {
    const scores = only === 1 ? Float64Array.of(v.base.length === 2 ? v.base[0] : 0, total) : Float64Array.of(total, 0);
    transformScores(scores, v.transform);
    return { label, scores };
  }
  if (v.transform === 'LOGISTIC') return { label, scores: Float64Array.of(logistic(-total), logistic(total)) };
  const scores = v.positive ? Float64Array.of(1 - total, total) : Float64Array.of(-total, total);
  if (v.transform === 'PROBIT') transformScores(scores, v.transform);
  return { label, scores };
}

function decide(sums: Float64Array, v: Voting): Decision {
  if (v.only !== undefined) return decideBinary(Number.isNaN(sums[v.only]) ? 0 : sums[v.only], v.only, v);
  const scores = sums.map((sum, c) => (Number.isNaN(sum) ? 0 : sum) + (v.base[c] ?? 0));
  const label = v.names[argMax(scores)];
  transformScores(scores, v.transform);
  return { label, scores };
}

function classify(ctx: ReferenceContext): HostValue[] {
  const labels = readLabels(ctx, 'classlabels_int64s');
  const trees = readLegacyTrees(ctx, 'class', labels.names.length);
  const x = ctx.tensor(0);
  const [examples, features] = matrixDims(ctx, x.dims);
  const weights = trees.leaves.flat();
  const voted = new Set(weights.map(({ target }) => target));
  const v: Voting = {
    names: labels.names.length === 1 ? single(labels.names[0]) : labels.names,
    base: numbersAttribute(ctx, 'base_values'),
    only: labels.names.length <= 2 && voted.size === 1 ? weights[0].target : undefined,
    positive: weights.every(({ weight }) => weight >= 0),
    transform: postTransform(ctx),
  };
  const values = toNumbers(x);
  const results = Array.from({ length: examples }, (_, n) => {
    const leaves = leavesOf(ctx, trees, values.subarray(n * features, (n + 1) * features));
    return decide(gather(trees, leaves, labels.names.length, 'SUM'), v);
  });
  const columns = results[0]?.scores.length ?? labels.names.length;
  const out = new Float64Array(examples * columns);
  results.forEach(({ scores }, n) => {
    out.set(scores, n * columns);
  });
  const chosen = results.map(({ label }) => label);
  return [labelTensor(labels, chosen), fromNumbers('float32', [examples, columns], out)];
}

/** The two answers of a classifier with one label. */
function single(name: string | bigint): readonly (string | bigint)[] {
  return typeof name === 'string' ? ['', name] : [0n, name];
}

/** A list of numbers given as floats or, for doubles, as a tensor. */
function numbersAttribute(ctx: NodeReader, name: string): readonly number[] {
  const wide = ctx.tensorAttribute(`${name}_as_tensor`);
  return wide ? Array.from(toNumbers(wide)) : ctx.floats(name, []);
}

const legacyAttributes = (kind: 'class' | 'target'): NonNullable<OpDefinition['attributes']> => ({
  base_values: 'floats',
  base_values_as_tensor: 'tensor',
  [`${kind}_ids`]: 'ints',
  [`${kind}_nodeids`]: 'ints',
  [`${kind}_treeids`]: 'ints',
  [`${kind}_weights`]: 'floats',
  [`${kind}_weights_as_tensor`]: 'tensor',
  nodes_falsenodeids: 'ints',
  nodes_featureids: 'ints',
  nodes_hitrates: 'floats',
  nodes_hitrates_as_tensor: 'tensor',
  nodes_missing_value_tracks_true: 'ints',
  nodes_modes: 'strings',
  nodes_nodeids: 'ints',
  nodes_treeids: 'ints',
  nodes_truenodeids: 'ints',
  nodes_values: 'floats',
  nodes_values_as_tensor: 'tensor',
  post_transform: 'string',
});

export const mlTreesOps: readonly OpDefinition[] = [
  defineOp({
    name: 'TreeEnsembleClassifier',
    domain: 'ai.onnx.ml',
    since: [1, 3, 5],
    inputs: [1, 1],
    outputs: [1, 2],
    attributes: { ...legacyAttributes('class'), classlabels_int64s: 'ints', classlabels_strings: 'strings' },
    infer: (ctx) => {
      const labels = readLabels(ctx, 'classlabels_int64s');
      return inferClassifier(ctx, labels, Math.max(labels.names.length, 2));
    },
    reference: classify,
  }),
  defineOp({
    name: 'TreeEnsembleRegressor',
    domain: 'ai.onnx.ml',
    since: [1, 3, 5],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { ...legacyAttributes('target'), aggregate_function: 'string', n_targets: 'int' },
    infer: (ctx) => [tensorType('float32', [batchOf(ctx), ctx.int('n_targets', 1)])],
    reference: (ctx) => {
      const trees = readLegacyTrees(ctx, 'target', ctx.int('n_targets', 1));
      const how = aggregates.find((name) => name === ctx.string('aggregate_function', 'SUM'));
      return regress(ctx, trees, how, postTransform(ctx), numbersAttribute(ctx, 'base_values'), 'float32');
    },
  }),
  defineOp({
    name: 'TreeEnsemble',
    domain: 'ai.onnx.ml',
    since: [5],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: {
      aggregate_function: 'int',
      leaf_targetids: 'ints',
      leaf_weights: 'tensor',
      membership_values: 'tensor',
      n_targets: 'int',
      nodes_falseleafs: 'ints',
      nodes_falsenodeids: 'ints',
      nodes_featureids: 'ints',
      nodes_hitrates: 'tensor',
      nodes_missing_value_tracks_true: 'ints',
      nodes_modes: 'tensor',
      nodes_splits: 'tensor',
      nodes_trueleafs: 'ints',
      nodes_truenodeids: 'ints',
      post_transform: 'int',
      tree_roots: 'ints',
    },
    infer: (ctx) => [tensorType(ctx.dtype(0), [batchOf(ctx), ctx.int('n_targets', 1)])],
    reference: (ctx) => {
      const trees = readTrees(ctx);
      const how = aggregates[ctx.int('aggregate_function', 1)];
      return regress(ctx, trees, how, postTransform(ctx, true), [], ctx.tensor(0).dtype);
    },
  }),
];

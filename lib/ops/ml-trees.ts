/** Tree ensembles of ai.onnx.ml: classifier, regressor, and the one operator that replaced both. */

import type { DType } from '../ir/dtype.ts';
import { tensorType } from '../ir/graph.ts';
import { fromNumbers, type HostValue, toNumbers } from '../ir/tensor.ts';
import {
  argMax,
  batchOf,
  inferClassifier,
  labelTensor,
  matrixDims,
  postTransform,
  readLabels,
  rowsOfMatrix,
  transformScores,
} from './ml-scores.ts';
import type { Aggregate } from './ml-scores-lower.ts';
import { type Ensemble, type Leaf, leavesOf, readLegacyTrees, readTrees } from './ml-tree-nodes.ts';
import { binaryEnding, numbersAttribute, type Voting, votingOf } from './ml-tree-votes.ts';
import { lowerClassifier, lowerRegressor, type TreeRegressor } from './ml-trees-lower.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const aggregates: readonly Aggregate[] = ['AVERAGE', 'SUM', 'MIN', 'MAX'];

/** Sums (or extremes) of the leaves that an example reaches, per target; 0 where none speaks of the target. */
function gather(trees: Ensemble, leaves: readonly Leaf[], targets: number, how: Aggregate): Float64Array {
  const out = new Float64Array(targets);
  const spoken = new Uint8Array(targets);
  for (const leaf of leaves) {
    for (const { target, weight } of leaf) {
      if (how === 'MIN' && spoken[target]) out[target] = Math.min(out[target], weight);
      else if (how === 'MAX' && spoken[target]) out[target] = Math.max(out[target], weight);
      else out[target] += weight;
      spoken[target] = 1;
    }
  }
  return how === 'AVERAGE' ? out.map((sum) => sum / Math.max(trees.roots.length, 1)) : out;
}

function legacyRegressor(ctx: NodeReader): TreeRegressor {
  return {
    trees: readLegacyTrees(ctx, 'target', ctx.int('n_targets', 1)),
    aggregate: aggregates.find((name) => name === ctx.string('aggregate_function', 'SUM')),
    transform: postTransform(ctx),
    base: numbersAttribute(ctx, 'base_values'),
  };
}

function regressor(ctx: NodeReader): TreeRegressor {
  const aggregate = aggregates[ctx.int('aggregate_function', 1)];
  return { trees: readTrees(ctx), aggregate, transform: postTransform(ctx, true), base: [] };
}

function regress(ctx: ReferenceContext, { trees, aggregate: how, transform, base }: TreeRegressor, dtype: DType) {
  if (!how) throw ctx.error('the aggregate function is none of AVERAGE, SUM, MIN and MAX');
  const x = ctx.tensor(0);
  const [examples, features] = matrixDims(ctx, x.dims);
  const { targets } = trees;
  const values = toNumbers(x);
  const out = new Float64Array(examples * targets);
  for (let n = 0; n < examples; n++) {
    const leaves = leavesOf(ctx, trees, values.subarray(n * features, (n + 1) * features));
    const row = gather(trees, leaves, targets, how).map(
      (sum, t) => sum + (base.length === 1 ? base[0] : (base[t] ?? 0)),
    );
    transformScores(row, transform);
    out.set(row, n * targets);
  }
  return [fromNumbers(dtype, [examples, targets], out)];
}

interface Decision {
  readonly label: string | bigint;
  readonly scores: Float64Array;
}

function decide(sums: Float64Array, v: Voting): Decision {
  if (v.only !== undefined) {
    const { base, pair, transform } = binaryEnding(v, v.only);
    const total = sums[v.only] + base;
    const scores = Float64Array.from([pair.first, pair.second], ([from, factor]) =>
      factor === 0 ? from : from + factor * total,
    );
    transformScores(scores, transform);
    return { label: v.names[total > pair.threshold ? 1 : 0], scores };
  }
  const scores = sums.map((sum, c) => sum + (v.base[c] ?? 0));
  const label = v.names[argMax(scores)];
  transformScores(scores, v.transform);
  return { label, scores };
}

function classify(ctx: ReferenceContext): HostValue[] {
  const labels = readLabels(ctx, 'classlabels_int64s');
  const trees = readLegacyTrees(ctx, 'class', labels.names.length);
  const x = ctx.tensor(0);
  const [examples, features] = matrixDims(ctx, x.dims);
  const v = votingOf(ctx, labels, trees);
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
    lower: lowerClassifier,
    keepsRows: rowsOfMatrix,
  }),
  defineOp({
    name: 'TreeEnsembleRegressor',
    domain: 'ai.onnx.ml',
    since: [1, 3, 5],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { ...legacyAttributes('target'), aggregate_function: 'string', n_targets: 'int' },
    infer: (ctx) => [tensorType('float32', [batchOf(ctx), ctx.int('n_targets', 1)])],
    reference: (ctx) => regress(ctx, legacyRegressor(ctx), 'float32'),
    lower: (ctx) => lowerRegressor(ctx, () => legacyRegressor(ctx)),
    keepsRows: rowsOfMatrix,
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
    reference: (ctx) => regress(ctx, regressor(ctx), ctx.tensor(0).dtype),
    lower: (ctx) => lowerRegressor(ctx, () => regressor(ctx)),
    keepsRows: rowsOfMatrix,
  }),
];

/**
 * Classifiers with strings for labels become classifiers that number them, and a LabelEncoder that names the numbers:
 * kernels handle no strings.
 */

import { type Graph, makeValue, type Node } from '../ir/graph.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { ints } from './match.ts';
import type { Pass } from './pass.ts';

const domain = 'ai.onnx.ml';

/** The attribute that has a classifier's integer labels. */
const integerLabels: Readonly<Record<string, string>> = {
  TreeEnsembleClassifier: 'classlabels_int64s',
  LinearClassifier: 'classlabels_ints',
  SVMClassifier: 'classlabels_ints',
};

/** The labels of a classifier; undefined where it has none that could be numbered. */
function stringLabels(node: Node): readonly string[] | undefined {
  if (node.domain !== domain || !(node.op in integerLabels)) return undefined;
  const labels = node.attributes.get('classlabels_strings');
  if (labels?.type !== 'strings' || labels.value.length < 2) return undefined;
  // One linear model between more or fewer labels than two has answers of its own.
  const intercepts = node.attributes.get('intercepts');
  const models = intercepts?.type === 'floats' ? intercepts.value.length : 0;
  const settled = node.op !== 'LinearClassifier' || labels.value.length === 2 || models === labels.value.length;
  return settled ? labels.value : undefined;
}

function numberLabels(editor: GraphEditor, node: Node): boolean {
  const labels = stringLabels(node);
  if (!labels) return false;
  const numbers = ints(labels.map((_, i) => i));
  const attributes = new Map(node.attributes).set(integerLabels[node.op], numbers);
  attributes.delete('classlabels_strings');
  const [label, scores = null] = node.outputs;
  const shape = label?.type?.kind === 'tensor' ? label.type.shape : undefined;
  const number = label && makeValue(`${node.name}_number`, { kind: 'tensor', dtype: 'int64', shape });
  editor.insert(node, { ...node, attributes: Object.fromEntries(attributes) }, [number, scores]);
  if (label && number) {
    const names = { keys_int64s: numbers, values_strings: { type: 'strings', value: labels } } as const;
    editor.insert(node, { op: 'LabelEncoder', domain, version: 2, inputs: [number], attributes: names }, [label]);
  }
  editor.remove([node]);
  return true;
}

function numberAll(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) changed = numberLabels(editor, node) || changed;
  return changed;
}

export const numberStringLabels: Pass = { name: 'number-labels', run: (graph) => everyGraph(graph, numberAll) };

/** ModelProto to Graph. */

import { ModelFormatError, UnsupportedError } from '../errors.ts';
import type { Model } from '../ir/model.ts';
import { readFunctions } from './functions.ts';
import { GraphImporter, type Problem } from './import-graph.ts';
import { checkIrVersion, decodeOpsets } from './opsets.ts';
import type { ModelProto } from './schema.ts';
import type { ExternalReader } from './tensor-proto.ts';

/** The first IR version in which an initializer need not be an input, so that one that is can be overridden. */
const OVERRIDABLE_SINCE = 4;

/**
 * Imports a decoded model, in turns: names resolved, nodes in order, functions inlined, everything checked against the operator
 * definitions. `external` reads data that lies outside the model. Throws ModelFormatError for an invalid model and one
 * UnsupportedError with all nodes that cannot run.
 */
export function* importingModel(proto: ModelProto, external?: ExternalReader): Generator<void, Model> {
  checkIrVersion(proto.irVersion);
  if (!proto.graph) throw new ModelFormatError('not a valid ONNX model: it has no graph');
  const opsets = decodeOpsets(proto.opsetImport, 'the model');
  const functions = readFunctions(proto, proto.graph);
  const importer = new GraphImporter({ opsets, functions, external });
  const { graph, inputs, outputs } = yield* importer.importMain(proto.graph, proto.irVersion >= OVERRIDABLE_SINCE);
  if (importer.problems.length) throw unsupported(importer.problems);
  return {
    graph,
    inputs,
    outputs,
    irVersion: proto.irVersion,
    opsets,
    metadata: new Map(proto.metadataProps.map(({ key, value }) => [key, value])),
    producer: [proto.producerName, proto.producerVersion].filter(Boolean).join(' '),
    domain: proto.domain,
    version: proto.modelVersion,
    description: proto.docString,
  };
}

/** Nodes of one reason that the text of an error names; its details name all. */
const NAMED = 8;

/** One error about all nodes that cannot run, grouped by reason. */
function unsupported(problems: readonly Problem[]): UnsupportedError {
  const groups = new Map<string, Problem[]>();
  for (const problem of problems) {
    const group = groups.get(problem.reason);
    if (group) group.push(problem);
    else groups.set(problem.reason, [problem]);
  }
  const lines = [...groups].map(([reason, group]) => {
    const named = group.slice(0, NAMED).map((problem) => problem.node);
    const rest = group.length > NAMED ? ` and ${group.length - NAMED} more` : '';
    return `${reason} (${named.join(', ')}${rest}; ${group[0].hint})`;
  });
  return new UnsupportedError(`the model cannot run here: ${lines.join('; ')}`, { nodes: problems });
}

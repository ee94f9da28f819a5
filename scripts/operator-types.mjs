// Writes docs/operator-types.json: which element types of each operator ran natively, and which on the reference, in
// folders of test cases: node scripts/operator-types.mjs DIR... Types of several inputs are named by the first.
import { writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dataSets, findCases } from '../dist/cli/cases.js';
import { CompiledModel } from '../dist/runtime/compiled.js';

const path = join(resolve(dirname(fileURLToPath(import.meta.url)), '..'), 'docs', 'operator-types.json');
const seen = new Map();

function typeOf(node) {
  const typed = [...node.inputs, ...node.outputs].find((value) => value?.type);
  return typed?.type.kind === 'tensor' ? typed.type.dtype : typed?.type.kind;
}

function note(node, way) {
  const key = node.domain ? `${node.domain}.${node.op}` : node.op;
  const type = typeOf(node);
  if (!type) return;
  if (!seen.has(key)) seen.set(key, { native: new Set(), reference: new Set() });
  seen.get(key)[way].add(type);
}

function observe(found) {
  const compiled = CompiledModel.openSync(join(found.folder, 'model.onnx'), { optimization: 'none' });
  try {
    for (const set of dataSets(found.folder, compiled.model)) compiled.runSync(set.feeds);
    for (const { sections } of compiled.stages) {
      for (const section of sections) {
        if (section.kind === 'reference') note(section.node, 'reference');
        else for (const { node } of section.plan.steps) if (node) note(node, 'native');
      }
    }
  } finally {
    compiled.dispose();
  }
}

for (const found of process.argv.slice(2).flatMap(findCases)) {
  try {
    observe(found);
  } catch (error) {
    console.error(`${found.id}: ${error.message}`);
  }
}
const lines = [...seen]
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([op, { native, reference }]) => {
    const alone = [...reference].filter((type) => !native.has(type));
    return `  ${JSON.stringify(op)}: ${JSON.stringify({ native: [...native].sort(), reference: alone.sort() })}`;
  });
writeFileSync(path, `{\n${lines.join(',\n')}\n}\n`);

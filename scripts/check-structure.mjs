// Sizes of files and directions of imports. Part of `npm run check`.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file && existsSync(join(root, file)));
const problems = [];

const ceilings = [
  [/\.(ts|mts|cts|mjs)$/, 500],
  [/\.(cc|h|inc)$/, 600],
];
for (const file of files) {
  const ceiling = ceilings.find(([pattern]) => pattern.test(file))?.[1];
  if (!ceiling) continue;
  const lines = readFileSync(join(root, file), 'utf8').split('\n').length - 1;
  if (lines > ceiling) problems.push(`${file}: ${lines} lines, at most ${ceiling}`);
}

/** What each layer may import, besides itself; errors are everybody's. */
const layers = {
  ir: [],
  sparse: ['ir'],
  ops: ['ir'],
  onnx: ['ir', 'ops'],
  passes: ['ir', 'ops', 'sparse'],
  plan: ['ir', 'ops', 'sparse'],
  runtime: ['ir', 'ops', 'sparse', 'onnx', 'passes', 'plan'],
  ort: ['ir', 'runtime'],
  cli: ['ir', 'ops', 'sparse', 'onnx', 'passes', 'plan', 'runtime', 'ort'],
};
const nativeLayers = {
  simd: [],
  jit: ['simd'],
  cpu: [],
  kernels: ['simd', 'jit'],
  engine: ['cpu'],
  addon: ['cpu', 'engine'],
};

function checkImport(file, target, table, base) {
  const [from, to] = [file, target].map((path) => relative(base, path).split('/')[0]);
  if (from === to || !(from in table) || !(to in table)) return;
  if (!table[from].includes(to)) problems.push(`${file}: ${from} may not import ${to} (${target})`);
}

for (const file of files.filter((each) => /^lib\/.*\.ts$/.test(each))) {
  for (const [, path] of readFileSync(join(root, file), 'utf8').matchAll(/from '(\.[^']+)'/g)) {
    checkImport(file, relative(root, resolve(root, dirname(file), path)), layers, 'lib');
  }
}
for (const file of files.filter((each) => /^native\/.*\.(cc|h)$/.test(each))) {
  for (const [, path] of readFileSync(join(root, file), 'utf8').matchAll(/#include "([^"]+)"/g)) {
    // The kernel contract is what both sides share.
    if (path === 'engine/kernel.h') continue;
    checkImport(file, `native/${path}`, nativeLayers, 'native');
  }
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length ? 1 : 0;

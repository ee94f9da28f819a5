/** The preload, in processes of their own: an application that knows only onnxruntime-node. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sumAndDifference } from './models.ts';

const root = resolve(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'register-'));
const dist = join(folder, 'dist');

const work = `
  const f = (v) => new ort.Tensor('float32', Float32Array.from(v), [1, 3]);
  const session = await ort.InferenceSession.create('model.onnx');
  const { sum } = await session.run({ a: f([1, 2, 3]), b: f([4, 5, 6]) });
  return [...sum.data].join() + (sum instanceof ort.Tensor ? '' : ' foreign');
`;
const esm = `import * as ort from 'onnxruntime-node';\nconst result = await (async () => {${work}})();\n`;
const cjs = `const ort = require('onnxruntime-node');\nconst result = (async () => {${work}})();\n`;

beforeAll(() => {
  execFileSync(
    process.execPath,
    [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json', '--outDir', dist],
    {
      cwd: root,
    },
  );
  execFileSync(process.execPath, [join(root, 'scripts', 'mark-commonjs.mjs'), dist]);
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(join(root, 'node_modules', 'onnxruntime-common'), join(folder, 'node_modules', 'onnxruntime-common'));
  writeFileSync(join(folder, 'model.onnx'), sumAndDifference());
  writeFileSync(join(folder, 'app.mjs'), `${esm}console.log(result);\n`);
  writeFileSync(join(folder, 'app.cjs'), `${cjs}result.then(console.log);\n`);
  writeFileSync(
    join(folder, 'worker.mjs'),
    `import { Worker, isMainThread, parentPort } from 'node:worker_threads';
if (isMainThread) new Worker(new URL(import.meta.url)).on('message', console.log);
else {
  ${esm.replace("import * as ort from 'onnxruntime-node'", "const ort = await import('onnxruntime-node')")}
  parentPort.postMessage(result);
}
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(args: readonly string[], env: Record<string, string> = {}) {
  const addon = process.env.FILIGREE_ADDON ?? join(root, 'build', 'Release', 'filigree.node');
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    env: { ...process.env, NODE_PATH: '', FILIGREE_ADDON: addon, ...env },
    encoding: 'utf8',
  });
  return { status, stdout: stdout.trim(), stderr };
}

const done = { status: 0, stdout: '5,7,9', stderr: '' };

for (const flag of ['--require', '--import']) {
  test.each(['app.mjs', 'app.cjs', 'worker.mjs'])(`${flag} for %s`, (app) => {
    expect(start([flag, join(dist, 'register.js'), app])).toEqual(done);
  });
}

test('NODE_OPTIONS', () => {
  expect(start(['app.mjs'], { NODE_OPTIONS: `--require ${join(dist, 'register.js')}` })).toEqual(done);
});

test('without the preload there is no onnxruntime-node', () => {
  expect(start(['app.cjs']).stderr).toMatch(/Cannot find module 'onnxruntime-node'/);
});

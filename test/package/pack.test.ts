/**
 * The package as consumers get it: packed, unpacked into an empty folder, used from there. The addon is not compiled
 * again: the one that the other tests run on is put where an installation would have put it.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { model, node, port } from '../models/onnx-writer.ts';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('../..', import.meta.url));
const manifest = require('../../package.json') as { files: string[]; dependencies: Record<string, string> };
const addon = process.env.FILIGREE_ADDON ?? join(root, 'build/Release/filigree.node');

const work = mkdtempSync(join(tmpdir(), 'filigree-pack-'));
const app = join(work, 'app');
const modules = join(app, 'node_modules');
const installed = join(modules, 'filigree');
const platforms = join(modules, '@filigree');
let packed: { unpackedSize: number; size: number; files: { path: string }[] };

/** Runs node in the consumer's folder, without the override that tests may run under. */
function run(...args: string[]) {
  const { FILIGREE_ADDON: _, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: app, env, encoding: 'utf8' });
  return { status, stdout: stdout.trim(), stderr };
}

function write(file: string, text: string | Uint8Array): string {
  writeFileSync(join(app, file), text);
  return file;
}

beforeAll(() => {
  const clone = join(work, 'clone');
  const sources = manifest.files.filter((file) => file !== 'dist');
  const more = ['lib', 'scripts', 'package.json', 'tsconfig.json', 'tsconfig.build.json', 'README.md', 'LICENSE'];
  for (const file of [...sources, ...more]) cpSync(join(root, file), join(clone, file), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
  execFileSync('npm', ['run', '-s', 'build'], { cwd: clone });
  const answer = execFileSync('npm', ['pack', '--json', '--ignore-scripts'], { cwd: clone, encoding: 'utf8' });
  packed = JSON.parse(answer)[0];

  mkdirSync(installed, { recursive: true });
  const archive = join(clone, (packed as unknown as { filename: string }).filename);
  execFileSync('tar', ['-xzf', archive, '--strip-components=1', '-C', installed]);
  for (const name of [...Object.keys(manifest.dependencies), '@types/node', 'undici-types']) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  const prebuild = ['scripts/prebuild.mjs', '--addon', addon, '--out', modules];
  execFileSync(process.execPath, prebuild, { cwd: clone, encoding: 'utf8' });
  const relu = { nodes: [node('Relu', ['x'], ['y'])], inputs: [port('x', 'float32', ['n'])] };
  write('relu.onnx', model({ ...relu, outputs: [port('y', 'float32', ['n'])] }));
}, 120_000);

afterAll(() => rmSync(work, { recursive: true, force: true }));

const body = `
  const x = new Tensor('float32', Float32Array.of(-1, 2), [2]);
  Session.load('relu.onnx').then((s) => s.run({ x })).then(({ y }) => console.log([...y.data].join()));`;
const esm = `import { Session, Tensor } from 'filigree';${body}`;
const ran = { status: 0, stdout: '0,2', stderr: '' };

test('the tarball holds what is needed and is small', () => {
  console.log(`packed ${packed.size} bytes, unpacked ${packed.unpackedSize} bytes, ${packed.files.length} files`);
  expect(packed.unpackedSize).toBeLessThan(10e6);
  const folders = new Set(packed.files.map(({ path }) => path.split('/')[0]));
  expect([...folders].sort()).toEqual([
    'CMakeLists.txt',
    'LICENSE',
    'README.md',
    'binding.gyp',
    'dist',
    'examples',
    'native',
    'package.json',
    'scripts',
  ]);
  expect(packed.files.filter(({ path }) => /\.node$|^scripts\/(?!install\.mjs)/.test(path))).toEqual([]);
});

test('ES modules', () => expect(run(write('app.mjs', esm))).toEqual(ran));

test('CommonJS', () => {
  expect(run(write('app.cjs', `const { Session, Tensor } = require('filigree');${body}`))).toEqual(ran);
});

test('filigree/ort, and filigree/register for require and import', () => {
  const use = `ort.InferenceSession.create('relu.onnx').then((s) => s.run({ x: new ort.Tensor('float32', [-1, 2], [2]) }))
    .then(({ y }) => console.log([...y.data].join()));`;
  expect(run(write('ort.mjs', `import * as ort from 'filigree/ort';${use}`))).toEqual(ran);
  expect(run(write('ort.cjs', `const ort = require('filigree/ort');${use}`))).toEqual(ran);
  write('peer.mjs', `import * as ort from 'onnxruntime-node';${use}`);
  write('peer.cjs', `const ort = require('onnxruntime-node');${use}`);
  for (const flag of ['--require', '--import']) {
    for (const file of ['peer.mjs', 'peer.cjs']) expect(run(flag, 'filigree/register', file)).toEqual(ran);
  }
});

test('the command', () => {
  const { bin } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  const { status, stdout } = run(join(installed, bin.filigree), 'hardware', '--json');
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toHaveProperty('isa');
});

const typed = `import { Session, Tensor, InputError, type SessionOptions } from 'filigree';
import * as ort from 'filigree/ort';
import 'filigree/register';
const options: SessionOptions = { threads: 2 };
export async function use(): Promise<readonly number[]> {
  await using session = await Session.load('relu.onnx', options);
  const { y } = await session.run({ x: new Tensor('float32', Float32Array.of(1), [1]) });
  // @ts-expect-error the number of threads is a number
  await Session.load('relu.onnx', { threads: 'two' });
  const peer: ort.InferenceSession = await ort.InferenceSession.create('relu.onnx');
  if (!(y instanceof Tensor)) throw new InputError(peer.inputNames[0]);
  return y.dims;
}
`;

test.each(['node16', 'nodenext', 'bundler'])('types under %s resolution', (resolution) => {
  const bundled = resolution === 'bundler';
  const compilerOptions = {
    module: bundled ? 'esnext' : resolution,
    moduleResolution: resolution,
    target: 'es2022',
    // onnxruntime-common names classes of browsers.
    lib: ['es2023', 'esnext.disposable', 'dom'],
    types: ['node'],
    strict: true,
    noEmit: true,
  };
  const files = [write('use.mts', typed), ...(bundled ? [] : [write('use.cts', typed)])];
  write('tsconfig.json', JSON.stringify({ compilerOptions, files }));
  const { status, stdout } = run(join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json');
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
});

test('installation builds nothing where a prebuilt addon loads', () => {
  expect(run(join(installed, 'scripts/install.mjs'))).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(existsSync(join(installed, 'build'))).toBe(false);
});

test('a local build serves where no prebuilt package does; without either the error says what is missing', () => {
  const set = (version: string): void => {
    for (const name of readdirSync(platforms)) {
      const file = join(platforms, name, 'package.json');
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), version }));
    }
  };
  set('0.0.0-other');
  const { status, stderr } = run(write('app.mjs', esm));
  expect(status).toBe(1);
  const { platform, arch, versions } = process;
  expect(stderr).toMatch(
    new RegExp(`no native addon for ${platform}-${arch}( \\((gnu|musl)\\))?, Node ${versions.node}`),
  );
  expect(stderr).toMatch(/npm rebuild filigree/);
  expect(stderr).toMatch(/is version 0\.0\.0-other, not/);
  mkdirSync(join(installed, 'build/Release'), { recursive: true });
  cpSync(addon, join(installed, 'build/Release/filigree.node'));
  expect(run('app.mjs')).toEqual(ran);
});

/** Has Node report the C library that is given, in place of its own. */
const reporting = (header: object): string =>
  write(
    'libc.cjs',
    `const { getReport } = process.report;
     process.report.getReport = () => ({ ...getReport.call(process.report), header: ${JSON.stringify(header)} });`,
  );

test.runIf(process.platform === 'linux')(
  'of two C libraries, the package that fits is loaded, and errors name it',
  () => {
    rmSync(join(installed, 'build'), { recursive: true, force: true });
    const { version } = require('../../package.json');
    for (const libc of ['gnu', 'musl']) {
      const name = `@filigree/linux-${process.arch}-${libc}`;
      const folder = join(modules, name);
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version, main: 'index.js' }));
      writeFileSync(join(folder, 'index.js'), `throw new Error('this one is for ${libc}');`);
    }
    const load = write(
      'load.cjs',
      "require('filigree').Session.load('relu.onnx').catch(({ message }) => console.log(message));",
    );
    const on = (header: object): string => run('--require', `./${reporting(header)}`, load).stdout;
    const musl = on({});
    expect(musl).toContain(`linux-${process.arch} (musl), Node`);
    expect(musl).toContain('this one is for musl');
    expect(musl).not.toContain('for gnu');
    const gnu = on({ glibcVersionRuntime: '2.36' });
    expect(gnu).toContain(`linux-${process.arch} (gnu), Node`);
    expect(gnu).toContain('this one is for gnu');
    expect(gnu).not.toContain('for musl');
  },
);

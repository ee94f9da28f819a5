// Makes packages of prebuilt addons: prebuilt/@filigree/<platform>-<arch>[-<libc>].
//   node scripts/prebuild.mjs                      builds for this machine
//   node scripts/prebuild.mjs --addon FILE         packs an addon that is built already
//   node scripts/prebuild.mjs --arm64              cross-builds for linux-arm64-gnu
//   node scripts/prebuild.mjs --manifest           prints the optionalDependencies for the packages made so far
// --out DIR: elsewhere than prebuilt/.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('..', import.meta.url));
const { version, license, engines } = require('../package.json');
const { values: options } = parseArgs({
  options: {
    addon: { type: 'string' },
    arm64: { type: 'boolean' },
    manifest: { type: 'boolean' },
    out: { type: 'string', default: join(root, 'prebuilt') },
  },
});
const scope = join(options.out, '@filigree');

function thisPlatform() {
  const { platform, arch } = process;
  if (platform !== 'linux') return { platform, arch };
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  return { platform, arch, libc: glibc ? 'glibc' : 'musl' };
}

function crossBuild() {
  const folder = join(root, 'out', 'prebuild-arm64');
  const headers = [require('node-api-headers').include_dir, require('node-addon-api').include_dir];
  const settings = {
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_SYSTEM_NAME: 'Linux',
    CMAKE_SYSTEM_PROCESSOR: 'aarch64',
    CMAKE_CXX_COMPILER: 'aarch64-linux-gnu-g++',
    CMAKE_JS_VERSION: require('cmake-js/package.json').version,
    CMAKE_JS_INC: headers.join(';'),
  };
  const flags = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`);
  execFileSync('cmake', ['-S', root, '-B', folder, ...flags], { stdio: 'inherit' });
  execFileSync('cmake', ['--build', folder, '--parallel', '2'], { stdio: 'inherit' });
  return join(folder, 'filigree.node');
}

function localBuild() {
  execFileSync('npm', ['run', '-s', 'build:native'], { cwd: root, stdio: 'inherit' });
  return join(root, 'build', 'Release', 'filigree.node');
}

function writePackage(target, addon) {
  const library = { glibc: '-gnu', musl: '-musl' }[target.libc] ?? '';
  const name = `${target.platform}-${target.arch}${library}`;
  const folder = join(scope, name);
  mkdirSync(folder, { recursive: true });
  copyFileSync(addon, join(folder, 'filigree.node'));
  if (target.platform === 'linux') {
    const strip = options.arm64 ? 'aarch64-linux-gnu-strip' : 'strip';
    execFileSync(strip, ['--strip-unneeded', join(folder, 'filigree.node')]);
  }
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  writeFileSync(join(folder, 'README.md'), `# @filigree/${name}\n\nThe native part of filigree for ${name}.\n`);
  const manifest = {
    name: `@filigree/${name}`,
    version,
    description: `The native part of filigree for ${name}`,
    license,
    main: 'filigree.node',
    files: ['filigree.node'],
    engines,
    os: [target.platform],
    cpu: [target.arch],
    ...(target.libc ? { libc: [target.libc] } : {}),
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  console.log(`${folder}: ${(statSync(join(folder, 'filigree.node')).size / 1e6).toFixed(1)} MB`);
}

if (options.manifest) {
  const names = existsSync(scope) ? readdirSync(scope) : [];
  console.log(JSON.stringify(Object.fromEntries(names.map((name) => [`@filigree/${name}`, version])), null, 2));
} else if (options.arm64) {
  writePackage({ platform: 'linux', arch: 'arm64', libc: 'glibc' }, options.addon ?? crossBuild());
} else {
  writePackage(thisPlatform(), options.addon ?? localBuild());
}

// Runs ONNX conformance cases: npm run conformance [-- DIR...] [--filter REGEX]
// With --reference every node runs on its reference. Without DIR: $FILIGREE_CONFORMANCE, else the archives of ../shared/conformance, unpacked to a temporary folder.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openCompiled, openReference, readExceptions, runConformance } from '../dist/cli/conformance.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { filter: { type: 'string' }, reference: { type: 'boolean', default: false } },
});

/** Unpacks the archives; undefined where there are none. */
function unpacked() {
  const archives = join(root, '..', 'shared', 'conformance');
  if (!existsSync(join(archives, 'unpack.sh'))) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  execFileSync('bash', [join(archives, 'unpack.sh'), folder]);
  execFileSync('cp', [join(archives, 'cases.tsv'), folder]);
  return folder;
}

const given = positionals.length ? positionals : [process.env.FILIGREE_CONFORMANCE ?? unpacked()];
if (given[0] === undefined) {
  console.log('skipped: no cases (give a folder, or set FILIGREE_CONFORMANCE)');
} else {
  const { failed } = runConformance(given, {
    filter: values.filter === undefined ? undefined : new RegExp(values.filter),
    open: values.reference ? openReference : openCompiled,
    exceptions: readExceptions(join(root, 'test', 'conformance-exceptions.tsv')),
  });
  process.exitCode = failed ? 1 : 0;
}

// Runs at installation: builds the addon unless one that fits is there.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

/** True where an override or a prebuilt package loads; in a clone nothing is compiled to ask it. */
function hasPrebuilt() {
  if (process.env.FILIGREE_ADDON) return true;
  const loader = fileURLToPath(new URL('../dist/runtime/addon-file.js', import.meta.url));
  if (!existsSync(loader)) return false;
  try {
    return require(loader).loadPrebuilt() !== undefined;
  } catch (error) {
    console.log(`filigree: the prebuilt addon does not load, building one: ${error.message}`);
    return false;
  }
}

if (!hasPrebuilt()) {
  const cmake = require.resolve('cmake-js/bin/cmake-js');
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { status, error } = spawnSync(process.execPath, [cmake, 'compile', '--parallel', '2'], {
    cwd,
    stdio: 'inherit',
  });
  if (error) console.error(`filigree: ${error.message}`);
  process.exitCode = status ?? 1;
}

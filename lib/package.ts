/** Where this package lies, for what it reads besides its code. */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

function findRoot(): string {
  // `__dirname`, because the package is built as CommonJS.
  for (let folder = __dirname; ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    // dist/ has a package.json without a name.
    if (existsSync(file) && readFileSync(file, 'utf8').includes('"name": "filigree"')) return folder;
    if (folder === dirname(folder)) return __dirname;
  }
}

/** The folder of package.json; where the code was copied elsewhere, the code's own. */
export const packageRoot = findRoot();

/** Loads modules as this package sees them. */
export const packageRequire = createRequire(join(packageRoot, 'package.json'));

/** The version in package.json. */
export const packageVersion = (): string => (packageRequire('./package.json') as { version: string }).version;

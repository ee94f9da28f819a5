/** Finds the native addon: an override, a prebuilt package of the platform, or the local build. */

import { resolve } from 'node:path';
import { NativeLoadError } from '../errors.ts';
import { packageRequire, packageRoot, packageVersion } from '../package.ts';

/** The C library of this process; undefined where a platform has but one. */
function libc(): 'gnu' | 'musl' | undefined {
  if (process.platform !== 'linux') return undefined;
  // Without this the report looks up the names of the machine's network addresses.
  const settings = process.report as { excludeNetwork?: boolean } | undefined;
  const excluded = settings?.excludeNetwork;
  if (settings) settings.excludeNetwork = true;
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  if (settings && excluded !== undefined) settings.excludeNetwork = excluded;
  return report?.header?.glibcVersionRuntime ? 'gnu' : 'musl';
}

function isInstalled(name: string): boolean {
  try {
    packageRequire.resolve(`${name}/package.json`);
    return true;
  } catch {
    return false;
  }
}

/** The packages that may hold a prebuilt addon for this process. */
function prebuiltPackages(): string[] {
  const platform = `@filigree/${process.platform}-${process.arch}`;
  return process.platform === 'linux' ? [`${platform}-gnu`, `${platform}-musl`] : [platform];
}

/** Those installed. A package manager that does not know C libraries apart installs both: then the fitting one alone. */
function installedPackages(): string[] {
  const found = prebuiltPackages().filter(isInstalled);
  if (found.length < 2) return found;
  const fitting = `-${libc()}`;
  return found.filter((name) => name.endsWith(fitting));
}

/** Loads a prebuilt package of this version; undefined where none is installed. Throws where one does not load. */
export function loadPrebuilt(): unknown {
  let problem: unknown;
  for (const name of installedPackages()) {
    try {
      const { version } = packageRequire(`${name}/package.json`) as { version: string };
      if (version !== packageVersion()) throw new Error(`${name} is version ${version}, not ${packageVersion()}`);
      return packageRequire(name);
    } catch (error) {
      problem = error;
    }
  }
  if (problem) throw problem;
  return undefined;
}

function loadLocal(): unknown {
  const bindings = packageRequire('bindings') as (options: object) => unknown;
  return bindings({ bindings: 'filigree', module_root: packageRoot });
}

const message = (error: unknown): string => String((error as Error | undefined)?.message ?? error).split('\n')[0];

/** Loads the addon. `FILIGREE_ADDON` names a file that is used instead of all others. */
export function loadAddon(): unknown {
  const override = process.env.FILIGREE_ADDON;
  const tries: string[] = [];
  let cause: unknown;
  const ways: [string, () => unknown][] = override
    ? [[`FILIGREE_ADDON=${override}`, () => packageRequire(resolve(override))]]
    : [
        [`package ${prebuiltPackages().join(' or ')}`, loadPrebuilt],
        ['local build', loadLocal],
      ];
  for (const [name, load] of ways) {
    try {
      const addon = load();
      if (addon) return addon;
      tries.push(`${name}: not installed`);
    } catch (error) {
      cause = error;
      tries.push(`${name}: ${message(error)}`);
    }
  }
  const { platform, arch } = process;
  const library = libc();
  const where = `${platform}-${arch}${library ? ` (${library})` : ''}, Node ${process.versions.node}`;
  throw new NativeLoadError(
    `no native addon for ${where} could be loaded; build it with "npm rebuild filigree" (in a clone: "npm run build:native"); tried ${tries.join('; ')}`,
    { platform, arch, libc: library ?? null, node: process.versions.node, override: override ?? null },
    { cause },
  );
}

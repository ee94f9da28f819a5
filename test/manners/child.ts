/** Children of tests that run the built library. */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..', '..');
export const dist = join(root, 'out', 'manners');
const environment = { FILIGREE_ADDON: join(root, 'build', 'Release', 'filigree.node'), ...process.env };

/** Compiles the library for children. */
export function buildLibrary(): void {
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  execFileSync(compiler, ['-p', 'tsconfig.build.json', '--outDir', dist], { cwd: root });
  execFileSync(process.execPath, [join(root, 'scripts', 'mark-commonjs.mjs'), dist]);
}

/** A folder of model files that is removed at the end. */
export class Models {
  readonly #folder = mkdtempSync(join(tmpdir(), 'filigree-manners-'));

  write(name: string, bytes: Uint8Array): string {
    const path = join(this.#folder, name);
    writeFileSync(path, bytes);
    return path;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** How a child ended, and what it wrote. */
export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs an action of child.mjs to its end. */
export function runChild(action: string, model: string, value = '', seconds = 30): Ending {
  const script = join(import.meta.dirname, 'child.mjs');
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', script, dist, action, model, value],
    { env: environment, encoding: 'utf8', timeout: seconds * 1000, killSignal: 'SIGKILL' },
  );
  return { status, signal, stdout: stdout.trim(), stderr };
}

/** Runs a shell command with `$FILIGREE` as the command line. */
export function shell(command: string): Ending {
  const env = { ...environment, FILIGREE: `${process.execPath} ${join(dist, 'cli', 'main.js')}` };
  const { status, signal, stdout, stderr } = spawnSync('bash', ['-c', command], { env, encoding: 'utf8' });
  return { status, signal, stdout, stderr };
}

/** Starts the command line, interrupts it after a while, and tells how and how soon (milliseconds) it ended. */
export function interrupted(
  args: readonly string[],
  after: number,
): Promise<Pick<Ending, 'signal'> & { took: number }> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [join(dist, 'cli', 'main.js'), ...args], {
      env: environment,
      stdio: 'ignore',
    });
    let since = 0;
    const timer = setTimeout(() => {
      since = performance.now();
      child.kill('SIGINT');
    }, after);
    child.on('error', fail);
    child.on('exit', (status, signal) => {
      clearTimeout(timer);
      if (since === 0) fail(new Error(`ended by itself with ${status ?? signal}`));
      else done({ signal, took: performance.now() - since });
    });
  });
}

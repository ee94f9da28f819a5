/**
 * `node --require filigree/register app.js` (or `--import`): from here on `onnxruntime-node` is `filigree/ort`, for
 * `require` and `import`, in this thread and in Workers, which inherit the flag.
 */

import Module from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const REPLACED = 'onnxruntime-node';
const file = join(__dirname, 'ort', 'index.js');
const url = pathToFileURL(file).href;

/** What the type library has not, or not in every version. */
interface ModuleInternals {
  _resolveFilename(request: string, ...rest: unknown[]): string;
  registerHooks?(hooks: { resolve: (specifier: string, context: object, next: NextResolve) => object }): void;
}
type NextResolve = (specifier: string, context: object) => object;

const internals = Module as unknown as ModuleInternals;

function hookRequire(): void {
  const resolveFilename = internals._resolveFilename;
  internals._resolveFilename = function (request, ...rest) {
    return request === REPLACED ? file : resolveFilename.call(this, request, ...rest);
  };
}

/** Hooks of `import` run in a thread of their own, which is given their source. */
function hookImport(): void {
  const source = `export async function resolve(specifier, context, next) {
    if (specifier !== ${JSON.stringify(REPLACED)}) return next(specifier, context);
    return { url: ${JSON.stringify(url)}, format: 'commonjs', shortCircuit: true };
  }`;
  Module.register(`data:text/javascript,${encodeURIComponent(source)}`);
}

if (internals.registerHooks) {
  internals.registerHooks({
    resolve: (specifier, context, next) =>
      specifier === REPLACED ? { url, format: 'commonjs', shortCircuit: true } : next(specifier, context),
  });
} else {
  hookRequire();
  hookImport();
}

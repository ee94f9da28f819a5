/**
 * InferenceSession of onnxruntime-common, with sessions that run here.
 *
 * The provider 'cpu' is Filigree's own name in disguise: registering under 'cpu' would collide with onnxruntime-node,
 * whose backends live in the same table when both are loaded.
 */

import { InferenceSession as Common, type InferenceSessionFactory } from 'onnxruntime-common';

/** The name in onnxruntime-common's table of backends. */
export const BACKEND_NAME = 'filigree';

function ownProviders(options: object): object {
  const { executionProviders: given } = options as { executionProviders?: unknown };
  const executionProviders = given ?? [];
  if (!Array.isArray(executionProviders)) {
    throw new TypeError('Invalid argument: sessionOptions.executionProviders must be an array.');
  }
  const named = executionProviders.map((provider: unknown) => {
    const name = typeof provider === 'string' ? provider : (provider as { name?: unknown } | null)?.name;
    if (typeof name !== 'string') {
      throw new TypeError(
        "Invalid argument: sessionOptions.executionProviders has to hold strings or objects with property 'name'.",
      );
    }
    return name === 'cpu' ? BACKEND_NAME : provider;
  });
  // Inherits, so that options on a prototype count too. onnxruntime-common hands a proxy of it to backends, which may
  // answer with other providers only where the property can change.
  const own = {
    value: named.length > 0 ? named : [BACKEND_NAME],
    writable: true,
    enumerable: true,
    configurable: true,
  };
  return Object.create(options, { executionProviders: own });
}

async function create(...args: unknown[]): Promise<Common> {
  const [source, first] = args;
  const at = typeof first === 'number' ? 3 : 1;
  const options = args[at];
  const own = [...args];
  if (options === undefined || (typeof options === 'object' && options !== null)) {
    own[at] = ownProviders(options ?? {});
    // An offset without a length needs one where options follow.
    if (at === 3 && args[2] === undefined) own[2] = (source as ArrayBufferLike)?.byteLength - (first as number);
  }
  return (Common.create as (...all: unknown[]) => Promise<Common>)(...own);
}

/** The class of onnxruntime-common, so that `instanceof` holds for every session; only `create` differs. */
export const InferenceSession: InferenceSessionFactory = new Proxy(Common, {
  get: (target, key) => (key === 'create' ? create : Reflect.get(target, key)),
});
export type InferenceSession = Common;

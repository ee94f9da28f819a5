/** Callbacks of an AbortSignal, behind one listener a signal: event targets warn of many. */

const callbacks = new WeakMap<AbortSignal, Set<() => void>>();

function fire(this: AbortSignal): void {
  const all = callbacks.get(this) ?? [];
  callbacks.delete(this);
  for (const callback of all) callback();
}

/** Calls `callback` when the signal says so; returns what takes that back. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let waiting = callbacks.get(signal);
  if (!waiting) {
    waiting = new Set();
    callbacks.set(signal, waiting);
    signal.addEventListener('abort', fire);
  }
  waiting.add(callback);
  const own = waiting;
  return () => {
    own.delete(callback);
    if (own.size > 0) return;
    signal.removeEventListener('abort', fire);
    if (callbacks.get(signal) === own) callbacks.delete(signal);
  };
}

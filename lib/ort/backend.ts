/** Filigree as a backend of onnxruntime-common. */

import type { Backend } from 'onnxruntime-common';
import { native } from '../runtime/native.ts';
import { SessionRunner } from './handler.ts';

/** For `registerBackend('filigree', backend, priority)` of any copy of onnxruntime-common. */
export const backend: Backend = {
  async init() {
    native();
  },
  async createInferenceSessionHandler(source, options = {}) {
    return SessionRunner.load(source, options);
  },
};

/** The execution providers of this module, as onnxruntime-node lists its own. */
export function listSupportedBackends(): { name: string; bundled: boolean }[] {
  return [{ name: 'cpu', bundled: true }];
}

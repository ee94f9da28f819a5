/**
 * `filigree/ort`: what onnxruntime-node exports, with the same names and semantics.
 *
 * One instance serves `import` and `require`, as onnxruntime-node's does.
 */

import { env, registerBackend } from 'onnxruntime-common';
import { packageVersion } from '../package.ts';
import { backend } from './backend.ts';
import { BACKEND_NAME } from './inference-session.ts';

export * from 'onnxruntime-common';
export { backend, listSupportedBackends } from './backend.ts';
export { InferenceSession } from './inference-session.ts';

// Below the priority of onnxruntime-node's own backends: its sessions stay its own where both are loaded.
registerBackend(BACKEND_NAME, backend, 10);
const versions = env.versions as Record<string, string | undefined>;
versions.node ??= versions.common;
versions.filigree = packageVersion();

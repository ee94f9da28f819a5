/** Which versions of the format and of its operator sets Filigree knows. */

import { ModelFormatError, UnsupportedError } from '../errors.ts';
import type { OperatorSetProto } from './schema.ts';

/** Oldest and newest IR version that is read. */
export const IR_VERSIONS = [3, 14] as const;

/** Newest version of each operator domain. */
const newest = new Map([
  ['', 28],
  ['ai.onnx.ml', 5],
  ['ai.onnx.preview.training', 1],
  ['com.microsoft', 1],
]);

/** '' for both spellings of the default domain. */
export function domainOf(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}

/** The imported versions by domain. Throws where one is impossible or newer than known. */
export function decodeOpsets(imports: readonly OperatorSetProto[], what: string): Map<string, number> {
  const versions = new Map<string, number>();
  for (const entry of imports) {
    const domain = domainOf(entry.domain);
    const name = domain || 'ai.onnx';
    const details = { domain: name, version: entry.version };
    const before = versions.get(domain);
    if (before !== undefined && before !== entry.version) {
      throw new ModelFormatError(`${what} imports ${name} in versions ${before} and ${entry.version}`, details);
    }
    const limit = newest.get(domain);
    if (entry.version < 1) {
      throw new ModelFormatError(`${what} imports version ${entry.version} of ${name}, expected at least 1`, details);
    }
    if (limit !== undefined && entry.version > limit) {
      throw new UnsupportedError(`${what} imports version ${entry.version} of ${name}; the newest known is ${limit}`, {
        ...details,
        newest: limit,
      });
    }
    versions.set(domain, entry.version);
  }
  return versions;
}

/** Throws where the IR version is missing or outside {@link IR_VERSIONS}. */
export function checkIrVersion(version: number): void {
  if (version === 0) throw new ModelFormatError('not a valid ONNX model: no ir_version', { irVersion: 0 });
  if (version < IR_VERSIONS[0] || version > IR_VERSIONS[1]) {
    throw new UnsupportedError(`the model has IR version ${version}, expected ${IR_VERSIONS[0]} to ${IR_VERSIONS[1]}`, {
      irVersion: version,
    });
  }
}

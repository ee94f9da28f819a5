/** One case of the whole way from model to results, against the references of the operators. */

import { difference } from '../../lib/cli/compare.ts';
import { FiligreeError } from '../../lib/errors.ts';
import type { HostTensor, HostValue } from '../../lib/ir/tensor.ts';
import { loadModel } from '../../lib/onnx/load.ts';
import { interpret } from '../../lib/ops/interpret.ts';
import type { RunValue, TensorLike } from '../../lib/runtime/feeds.ts';
import { Session } from '../../lib/runtime/session.ts';
import { feedsFor } from './feeds.ts';
import { Random } from './random.ts';
import { judge, named, type Outcome, optionsFor } from './run-case.ts';

/** Draws, or may not end, or trains: nothing to compare. */
const apart = /Random|Bernoulli|Multinomial|Dropout|Loop|Scan/;

/** Rewrites and kernels round in another order than the references. */
const TOLERANCE = { rtol: 1e-2, atol: 1e-3, rule: 'strict' } as const;
/** Sums of larger numbers cancel. */
const LARGEST = 1e4;

const contentOf = (value: RunValue): HostValue => {
  if (!('dims' in value)) return value;
  const { type, dims, data } = value as TensorLike;
  return { kind: 'tensor', dtype: type, dims, data } as HostTensor;
};

/** True for values whose digits can be compared. */
function isModest(value: HostValue): boolean {
  if (value.kind !== 'tensor' || Array.isArray(value.data)) return value.kind === 'tensor';
  const entries = value.data as Float32Array;
  return entries.every((each) => Math.abs(Number(each)) < LARGEST);
}

/** True where few elements differ, and little: roundings that fell to the other step of a quantised type. */
function differsBySteps(a: HostValue, b: HostValue): boolean {
  if (a.kind !== 'tensor' || b.kind !== 'tensor' || a.dtype === 'string') return false;
  const [got, expected] = [a, b].map(({ data }) => Array.from(data as Float32Array, Number)) as [number[], number[]];
  const most = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const gaps = got.map((value, i) => Math.abs(value - (expected[i] as number)));
  const wide = gaps.filter((gap) => gap > TOLERANCE.atol + TOLERANCE.rtol * most);
  return got.length === expected.length && wide.length <= got.length / 20 && wide.every((gap) => gap <= most / 10);
}

function references(bytes: Uint8Array, feeds: readonly HostValue[]): readonly HostValue[] | undefined {
  try {
    return interpret(loadModel(bytes).graph, feeds);
  } catch (error) {
    // What nothing reads need not run, so the references may fail alone.
    if (error instanceof FiligreeError) return undefined;
    throw error;
  }
}

/** Runs the bytes and compares what comes with what the references give. */
export async function compareAnswers(bytes: Uint8Array, seed: string, origin: string): Promise<Outcome> {
  if (apart.test(Buffer.from(bytes).toString('latin1'))) return { result: 'apart' };
  const random = new Random(`${seed} answers`, true);
  let session: Session | undefined;
  try {
    session = await Session.load(bytes, optionsFor(random));
    const feeds = feedsFor(random, session.inputs, origin);
    if (!feeds) return { result: 'unfed' };
    const expected = references(bytes, feeds);
    if (!expected) return { result: 'references fail' };
    const results = await session.run(named(session, feeds));
    for (const [i, value] of expected.entries()) {
      const mine = contentOf(results[session.outputs[i]?.name as string] as RunValue);
      const rule = isModest(value) && isModest(mine) ? 'strict' : 'property';
      const what = difference(mine, value, { ...TOLERANCE, rule });
      if (what && !(rule === 'strict' && differsBySteps(mine, value)))
        return { result: 'defect', defect: `output ${i} differs from the references: ${what}` };
    }
    return { result: 'same' };
  } catch (error) {
    return judge(error);
  } finally {
    await session?.dispose();
  }
}

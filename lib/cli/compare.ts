/** Compares results with expected values, and says what differs first and most. */

import { type DType, dtypeInfo } from '../ir/dtype.ts';
import { type HostTensor, type HostValue, toParts, unpacked } from '../ir/tensor.ts';

/** How far a float may be off: |got - expected| <= atol + rtol * |expected|. */
export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
  /** `strict`; `scaled`: atol is 1e-6 of the largest expected magnitude; `property`: type and shape alone. */
  readonly rule: 'strict' | 'scaled' | 'property';
}

/** Two steps of the coarsest of these types, whose neighbours differ by more than any usual tolerance. */
const COARSE_RTOL = 2 ** -6;

function isCoarse(dtype: DType): boolean {
  const { kind, bits } = dtypeInfo(dtype);
  return dtype === 'bfloat16' || (kind === 'float' && bits <= 8);
}

/** Undefined where the values agree, else what differs. */
export function difference(got: HostValue, expected: HostValue, tolerance: Tolerance): string | undefined {
  if (got.kind !== expected.kind) return `got ${got.kind}, expected ${expected.kind}`;
  if (expected.kind === 'tensor') return tensorDifference(got as HostTensor, expected, tolerance);
  if (expected.kind === 'sequence' && got.kind === 'sequence') {
    if (got.items.length !== expected.items.length) {
      return `got a sequence of ${got.items.length}, expected ${expected.items.length}`;
    }
    return firstOf(expected.items, (item, i) => prefixed(`element ${i}`, difference(got.items[i], item, tolerance)));
  }
  if (expected.kind === 'optional' && got.kind === 'optional') {
    if (!got.value || !expected.value) {
      return got.value === expected.value
        ? undefined
        : `got ${presence(got.value)}, expected ${presence(expected.value)}`;
    }
    return difference(got.value, expected.value, tolerance);
  }
  if (expected.kind === 'map' && got.kind === 'map') {
    if (got.entries.size !== expected.entries.size)
      return `got ${got.entries.size} keys, expected ${expected.entries.size}`;
    return firstOf([...expected.entries], ([key, value]) => {
      const mine = got.entries.get(key);
      const near = typeof value === 'number' && typeof mine === 'number' && isNear(mine, value, tolerance);
      return mine === value || near ? undefined : `key ${key}: got ${mine}, expected ${value}`;
    });
  }
  return undefined;
}

function presence(value: HostValue | null): string {
  return value ? 'a value' : 'no value';
}

function prefixed(where: string, problem: string | undefined): string | undefined {
  return problem && `${where}: ${problem}`;
}

function firstOf<T>(list: readonly T[], check: (item: T, i: number) => string | undefined): string | undefined {
  for (let i = 0; i < list.length; i++) {
    const problem = check(list[i], i);
    if (problem) return problem;
  }
  return undefined;
}

function isNear(got: number, expected: number, { rtol, atol }: Tolerance): boolean {
  if (Object.is(got, expected) || got === expected) return true;
  if (!Number.isFinite(got) || !Number.isFinite(expected)) return false;
  return Math.abs(got - expected) <= atol + rtol * Math.abs(expected);
}

function tensorDifference(got: HostTensor, expected: HostTensor, tolerance: Tolerance): string | undefined {
  if (got.dtype !== expected.dtype) return `got ${got.dtype}, expected ${expected.dtype}`;
  if (got.dims.length !== expected.dims.length || got.dims.some((dim, i) => dim !== expected.dims[i])) {
    return `got shape [${got.dims}], expected [${expected.dims}]`;
  }
  if (tolerance.rule === 'property') return undefined;
  const { kind } = dtypeInfo(expected.dtype);
  if (kind !== 'float' && kind !== 'complex') {
    const mine = unpacked(got);
    const right = unpacked(expected);
    return summary<unknown>(mine, right, (i) => mine[i] === right[i]);
  }
  const mine = toParts(got);
  const right = toParts(expected);
  const fit = fitted(tolerance, expected.dtype, right);
  return summary(mine, right, (i) => isNear(mine[i], right[i], fit));
}

function fitted(tolerance: Tolerance, dtype: DType, expected: Float64Array): Tolerance {
  const rtol = isCoarse(dtype) ? Math.max(tolerance.rtol, COARSE_RTOL) : tolerance.rtol;
  if (tolerance.rule !== 'scaled') return { ...tolerance, rtol };
  const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  return { ...tolerance, rtol, atol: Math.max(tolerance.atol, 1e-6 * largest) };
}

function summary<T>(got: ArrayLike<T>, expected: ArrayLike<T>, same: (i: number) => boolean): string | undefined {
  let wrong = 0;
  let first = -1;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    if (same(i)) continue;
    if (first < 0) first = i;
    wrong++;
    const gap = typeof got[i] === 'string' ? 0 : Math.abs(Number(got[i]) - Number(expected[i]));
    if (gap > largest) largest = gap;
  }
  if (wrong === 0) return undefined;
  const most = largest > 0 ? `, largest difference ${largest.toPrecision(3)}` : '';
  return `${wrong} of ${expected.length} elements differ, first at ${first}: got ${got[first]}, expected ${expected[first]}${most}`;
}

/** Arithmetic with constant numbers, read as a polynomial. */

import type { Value } from '../ir/graph.ts';
import { isOp, keepsRank, scalarOf } from './match.ts';

/** Coefficients by power. */
export type Polynomial = readonly number[];

const MAX_DEGREE = 3;
const MAX_DEPTH = 8;

const at = (p: Polynomial, i: number): number => p[i] ?? 0;

function plus(p: Polynomial, q: Polynomial, sign: number): Polynomial {
  return Array.from({ length: Math.max(p.length, q.length) }, (_, i) => at(p, i) + sign * at(q, i));
}

function times(p: Polynomial, q: Polynomial): Polynomial | undefined {
  if (p.length + q.length - 2 > MAX_DEGREE) return undefined;
  const product = new Array<number>(p.length + q.length - 1).fill(0);
  p.forEach((a, i) => {
    q.forEach((b, j) => {
      product[i + j] += a * b;
    });
  });
  return product;
}

function power(p: Polynomial, exponent: number | undefined): Polynomial | undefined {
  if (exponent === undefined || !Number.isInteger(exponent) || exponent < 1 || exponent > MAX_DEGREE) return undefined;
  let product: Polynomial | undefined = p;
  for (let i = 1; i < exponent && product; i++) product = times(product, p);
  return product;
}

/** The value as a polynomial in `x`; undefined where it is none, or of a degree above 3. */
export function polynomialIn(x: Value, value: Value | null | undefined, depth = 0): Polynomial | undefined {
  if (!value || depth > MAX_DEPTH) return undefined;
  if (value === x) return [0, 1];
  if (value.constant) {
    const number = keepsRank(x, value) ? scalarOf(value) : undefined;
    return number === undefined ? undefined : [number];
  }
  const node = value.producer;
  if (!isOp(node, 'Add', 'Sub', 'Mul', 'Div', 'Pow', 'Neg')) return undefined;
  const [p, q] = node.inputs.map((input) => polynomialIn(x, input, depth + 1));
  if (node.op === 'Neg') return p?.map((c) => -c);
  if (!p || !q) return undefined;
  if (node.op === 'Add') return plus(p, q, 1);
  if (node.op === 'Sub') return plus(p, q, -1);
  if (node.op === 'Mul') return times(p, q);
  if (q.length !== 1) return undefined;
  if (node.op === 'Pow') return power(p, q[0]);
  return q[0] === 0 ? undefined : p.map((c) => c / q[0]);
}

/** True where the coefficients are these, up to the rounding of constants with `slack`. */
export function isPolynomial(p: Polynomial | undefined, expected: Polynomial, slack: number): boolean {
  if (!p) return false;
  return Array.from({ length: Math.max(p.length, expected.length) }, (_, i) => i).every(
    (i) => Math.abs(at(p, i) - at(expected, i)) <= Math.abs(at(expected, i)) * slack,
  );
}

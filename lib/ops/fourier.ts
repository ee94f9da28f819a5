/** Discrete Fourier transforms of any length, in place, in double precision. */

/** A complex vector. */
export interface Complex {
  readonly re: Float64Array;
  readonly im: Float64Array;
}

/** A zeroed complex vector. */
export function complexVector(length: number): Complex {
  return { re: new Float64Array(length), im: new Float64Array(length) };
}

/** cos and sin of `2 pi k / n` for k below n, by octants so that the axes are exact. */
function roots(n: number): Complex {
  const { re, im } = complexVector(n);
  for (let k = 0; k < n; k++) {
    const angle = (2 * Math.PI * k) / n;
    re[k] = (4 * k) % n === 0 ? [1, 0, -1, 0][(4 * k) / n] : Math.cos(angle);
    im[k] = (4 * k) % n === 0 ? [0, 1, 0, -1][(4 * k) / n] : Math.sin(angle);
  }
  return { re, im };
}

function reverseBits({ re, im }: Complex): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i >= j) continue;
    [re[i], re[j]] = [re[j], re[i]];
    [im[i], im[j]] = [im[j], im[i]];
  }
}

/** Radix-2 transform; the length is a power of two. `w` holds the roots of unity of that length. */
function radix2(x: Complex, w: Complex): void {
  const { re, im } = x;
  const n = re.length;
  reverseBits(x);
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    const stride = n / size;
    for (let start = 0; start < n; start += size) {
      for (let k = 0; k < half; k++) {
        const [c, s] = [w.re[k * stride], -w.im[k * stride]];
        const [a, b] = [start + k, start + k + half];
        const real = re[b] * c - im[b] * s;
        const imaginary = re[b] * s + im[b] * c;
        re[b] = re[a] - real;
        im[b] = im[a] - imaginary;
        re[a] += real;
        im[a] += imaginary;
      }
    }
  }
}

/** The sums as they are defined; the shortest lengths are fastest so. */
function direct({ re, im }: Complex, w: Complex): void {
  const n = re.length;
  const [real, imaginary] = [re.slice(), im.slice()];
  for (let k = 0; k < n; k++) {
    let [a, b] = [0, 0];
    for (let j = 0; j < n; j++) {
      const at = (j * k) % n;
      a += real[j] * w.re[at] + imaginary[j] * w.im[at];
      b += imaginary[j] * w.re[at] - real[j] * w.im[at];
    }
    re[k] = a;
    im[k] = b;
  }
}

/** Makes the transform of one length; the function transforms a vector in place. */
export function fourier(n: number): (x: Complex) => void {
  if (n < 2) return () => {};
  const power = 2 ** Math.ceil(Math.log2(n));
  if (power === n) {
    const w = roots(n);
    return (x) => radix2(x, w);
  }
  if (n <= 64) {
    const w = roots(n);
    return (x) => direct(x, w);
  }
  return chirp(n);
}

/** Bluestein's transform: a convolution with a chirp, through powers of two. */
function chirp(n: number): (x: Complex) => void {
  const size = 2 ** Math.ceil(Math.log2(2 * n - 1));
  const w = roots(size);
  const twice = roots(2 * n);
  // The exponent k * k is reduced modulo 2 n, where it is exact.
  const [c, s] = [new Float64Array(n), new Float64Array(n)];
  for (let k = 0; k < n; k++) {
    const at = (k * k) % (2 * n);
    c[k] = twice.re[at];
    s[k] = twice.im[at];
  }
  const filter = complexVector(size);
  for (let k = 0; k < n; k++) {
    for (const at of k ? [k, size - k] : [0]) {
      filter.re[at] = c[k];
      filter.im[at] = s[k];
    }
  }
  radix2(filter, w);
  return ({ re, im }) => {
    const work = complexVector(size);
    for (let k = 0; k < n; k++) {
      work.re[k] = re[k] * c[k] + im[k] * s[k];
      work.im[k] = im[k] * c[k] - re[k] * s[k];
    }
    radix2(work, w);
    for (let k = 0; k < size; k++) {
      const real = work.re[k] * filter.re[k] - work.im[k] * filter.im[k];
      // Conjugated: the inverse transform is the forward one between conjugations.
      work.im[k] = -(work.re[k] * filter.im[k] + work.im[k] * filter.re[k]);
      work.re[k] = real;
    }
    radix2(work, w);
    for (let k = 0; k < n; k++) {
      const [real, imaginary] = [work.re[k] / size, -work.im[k] / size];
      re[k] = real * c[k] + imaginary * s[k];
      im[k] = imaginary * c[k] - real * s[k];
    }
  };
}

/** The inverse transform of one length, scaled by 1 / n. */
export function inverseFourier(n: number): (x: Complex) => void {
  const forward = fourier(n);
  return (x) => {
    for (let k = 0; k < n; k++) x.im[k] = -x.im[k];
    forward(x);
    for (let k = 0; k < n; k++) {
      x.re[k] /= n;
      x.im[k] /= -n;
    }
  };
}

import { expect, test } from 'vitest';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { RandomGenerator } from '../../lib/ops/random-generator.ts';
import { inferNode } from './infer.ts';
import { first, t } from './node.ts';

const seed = (value: number) => ({ type: 'float', value }) as const;
const real = (value: number) => ({ type: 'float', value }) as const;
const numbers = (y: HostTensor) => Array.from(toNumbers(y));

function moments(values: readonly number[]): [number, number] {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return [mean, values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length];
}

test('the generator is uniform, normal, and fixed by its seed', () => {
  const random = new RandomGenerator(42);
  const uniform = Array.from({ length: 20000 }, () => random.uniform());
  expect(uniform.every((v) => v >= 0 && v < 1)).toBe(true);
  const [mean, variance] = moments(uniform);
  expect([Math.abs(mean - 0.5) < 0.01, Math.abs(variance - 1 / 12) < 0.003]).toEqual([true, true]);
  const [centre, spread] = moments(Array.from({ length: 20000 }, () => random.normal()));
  expect([Math.abs(centre) < 0.03, Math.abs(spread - 1) < 0.05]).toEqual([true, true]);
  const draw = (s?: number) => new RandomGenerator(s).next();
  expect(draw(1)).toBe(draw(1));
  expect(draw(1)).not.toBe(draw(1.5));
  expect(draw()).not.toBe(draw());
});

test('RandomUniform, RandomNormal and the ones like a tensor', () => {
  const attributes = { shape: [500], seed: seed(3), low: real(-2), high: real(4) };
  const y = first('RandomUniform', 1, [], attributes);
  expect(numbers(y).every((v) => v >= -2 && v <= 4)).toBe(true);
  expect(Math.abs(moments(numbers(y))[0] - 1)).toBeLessThan(0.3);
  expect(numbers(first('RandomUniform', 1, [], attributes))).toEqual(numbers(y));
  const like = first('RandomNormalLike', 22, [t('float16', new Array(500).fill(0), [5, 100])], {
    mean: real(10),
    seed: seed(1),
  });
  expect([like.dtype, like.dims]).toEqual(['float16', [5, 100]]);
  expect(Math.abs(moments(numbers(like))[0] - 10)).toBeLessThan(0.2);
  expect(inferNode('RandomNormal', 1, [], { shape: [2, 3], dtype: 11 })).toMatchObject([
    { dtype: 'float64', shape: [2, 3] },
  ]);
  expect(() => first('RandomNormal', 1, [], { shape: [-1] })).toThrow(/negative/);
  expect(() => first('RandomNormalLike', 1, [t('int32', [1])])).toThrow(/float type/);
});

test('Bernoulli and Multinomial follow their probabilities', () => {
  const p = t('float32', new Array(1000).fill(0.25));
  const drawn = first('Bernoulli', 15, [p], { dtype: 9, seed: seed(5) });
  expect(drawn.dtype).toBe('bool');
  expect(Math.abs(moments(numbers(drawn))[0] - 0.25)).toBeLessThan(0.05);
  expect(numbers(first('Bernoulli', 15, [t('float64', [0, 1, 0, 1])]))).toEqual([0, 1, 0, 1]);
  const logits = t('float32', [Math.log(1), Math.log(3), Number.NEGATIVE_INFINITY, 5, 5, 700], [2, 3]);
  const samples = first('Multinomial', 7, [logits], { sample_size: 1000, dtype: 7, seed: seed(2) });
  expect([samples.dtype, samples.dims]).toEqual(['int64', [2, 1000]]);
  const [mixed, sure] = [numbers(samples).slice(0, 1000), numbers(samples).slice(1000)];
  expect(Math.abs(moments(mixed)[0] - 0.75)).toBeLessThan(0.06);
  expect([mixed.includes(2), sure.every((v) => v === 2)]).toEqual([false, true]);
});

import { expect, test } from 'vitest';
import { InputError, OptionError } from '../../lib/errors.ts';
import { Session, Tensor } from '../../lib/index.ts';
import { attribute, model, node, port } from '../models/onnx-writer.ts';

/** sum' = sum + x, and a cache that grows by x; y = sum' * 2. */
const counting = () =>
  Session.load(
    model({
      nodes: [
        node('Add', ['sum', 'x'], ['next']),
        node('Add', ['next', 'next'], ['y']),
        node('Concat', ['past', 'x'], ['present'], { attributes: [attribute.int('axis', 0)] }),
      ],
      inputs: [port('x', 'float32', [2]), port('sum', 'float32', [2]), port('past', 'float32', ['t'])],
      outputs: [port('y', 'float32', [2]), port('next', 'float32', [2]), port('present', 'float32')],
    }),
  );

const f32 = (...values: number[]) => new Tensor('float32', Float32Array.from(values), [values.length]);
const numbers = (value: unknown) => [...((value as Tensor).data as Float32Array)];
const bindings = { sum: 'next', past: 'present' };

test('outputs of one run are inputs of the next', async () => {
  await using session = await counting();
  const state = session.withState(bindings, { past: f32() });
  for (let i = 1; i <= 5; i++) {
    const results = await state.run({ x: f32(1, i) });
    expect(Object.keys(results)).toEqual(['y']);
    expect(numbers(results.y)).toEqual([2 * i, i * (i + 1)]);
  }
  const held = await state.state();
  expect(numbers(held.sum)).toEqual([5, 15]);
  expect(numbers(held.past)).toEqual([1, 1, 1, 2, 1, 3, 1, 4, 1, 5]);
  // What is handed out is a copy.
  ((held.sum as Tensor).data as Float32Array).fill(99);
  expect(numbers((await state.run({ x: f32(0, 0) })).y)).toEqual([10, 30]);
});

test('first values are copied; reset begins anew; sessions share nothing', async () => {
  await using session = await counting();
  const first = f32(10, 20);
  const [a, b] = [
    session.withState(bindings, { sum: first, past: f32(7) }),
    session.withState(bindings, { past: f32() }),
  ];
  (first.data as Float32Array).fill(0);
  expect(numbers((await a.run({ x: f32(1, 1) })).y)).toEqual([22, 42]);
  expect(numbers((await b.run({ x: f32(1, 1) })).y)).toEqual([2, 2]);
  await a.reset({ past: f32(3, 4) });
  expect(numbers((await a.run({ x: f32(1, 1) })).y)).toEqual([2, 2]);
  expect(numbers((await a.state()).past)).toEqual([3, 4, 1, 1]);
});

test('runs are done in the order of their calls, and one that fails changes nothing', async () => {
  await using session = await counting();
  const state = session.withState(bindings, { past: f32() });
  const runs = Array.from({ length: 8 }, (_, i) => state.run({ x: f32(1, i) }));
  const failing = state.run({ x: f32(1, 2, 3) });
  const aborted = state.run({ x: f32(5, 5) }, { signal: AbortSignal.abort() });
  const last = state.run({ x: f32(1, 0) });
  await expect(failing).rejects.toThrow(InputError);
  await expect(aborted).rejects.toThrow(/aborted/);
  const results = await Promise.all(runs);
  expect(results.map((each) => numbers(each.y)[0])).toEqual([2, 4, 6, 8, 10, 12, 14, 16]);
  expect(numbers((await last).y)).toEqual([18, 56]);
});

test('what cannot be bound is refused', async () => {
  await using session = await counting();
  expect(() => session.withState({ sum: 'none' })).toThrow(OptionError);
  expect(() => session.withState({ none: 'next' })).toThrow(/no input "none"/);
  expect(() => session.withState(bindings)).toThrow(/"past" .* needs an initial value/);
  expect(() => session.withState({ sum: 'next' }, { x: f32(1, 2) })).toThrow(/"x" is no bound input/);
  const state = session.withState({ sum: 'next' });
  await expect(state.run({ x: f32(1, 2), sum: f32(1, 2), past: f32() })).rejects.toThrow(/takes no feed/);
});

import { expect, test } from 'vitest';
import { fallbacksOf, hintFor } from '../../lib/cli/why.ts';
import type { LayerProfile } from '../../lib/runtime/profile.ts';

test('references come by their cost, with hints', () => {
  const layer = (name: string, ms: number, reason?: string) => ({ name, op: 'Op', reason, ms, share: ms / 10 });
  const layers = [layer('a', 1, 'no kernel for int64'), layer('b', 6), layer('c', 3, 'the operator has no kernel')];
  const found = fallbacksOf(layers as unknown as LayerProfile[]);
  expect(found.map(({ node, share }) => [node, share])).toEqual([
    ['c', 0.3],
    ['a', 0.1],
  ]);
  expect(found[1]?.hint).toBe('cast to float32 around it');
});

test('every reason has a hint', () => {
  expect(hintFor('the weights are computed at run time')).toMatch(/constants/);
  expect(hintFor('something unheard of')).toMatch(/plainer form/);
});

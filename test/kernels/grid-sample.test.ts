import { describe, expect, test } from 'vitest';
import { isas, random, run } from './harness.ts';

describe.each(isas)('samples on %s', (isa) => {
  test.each([0, 1, 63, 64, 65, 200])('%i positions on a line', (positions) => {
    for (const channels of [1, 3]) {
      const [batch, size] = [2, 9];
      const x = random(batch * channels * size, 1);
      const grid = random(batch * positions, 2);
      const y = new Float32Array(batch * channels * positions);
      const params = { batch, channels, mode: 1, padding: 1, align: 1, in: [size], out: [positions] };
      run(isa, 'grid_sample.f32', [x, grid, y], params, 2);
      y.forEach((value, i) => {
        const [image, channel, p] = [Math.floor(i / positions / channels), Math.floor(i / positions), i % positions];
        const at = (((grid[image * positions + p] as number) + 1) / 2) * (size - 1);
        const left = Math.min(Math.floor(at), size - 2);
        const [a, b] = [x[channel * size + left] as number, x[channel * size + left + 1] as number];
        expect(value).toBeCloseTo(a + (b - a) * (at - left), 5);
      });
    }
  });

  test('refuses sizes that do not fit', () => {
    const plain = { batch: 1, channels: 1, mode: 0, padding: 0, align: 0, in: [2, 3], out: [2, 2] };
    const attempt = (changed: object) => () =>
      run(isa, 'grid_sample.f32', [new Float32Array(6), new Float32Array(8), new Float32Array(4)], {
        ...plain,
        ...changed,
      });
    attempt({})();
    expect(attempt({ in: [2, 4] })).toThrow('x is');
    expect(attempt({ out: [3, 2] })).toThrow('grid');
    expect(attempt({ out: [4] })).toThrow('axes');
    expect(attempt({ in: [0, 3] })).toThrow('empty');
    expect(attempt({ mode: 3 })).toThrow('mode');
    expect(attempt({ padding: -1 })).toThrow('padding');
  });
});

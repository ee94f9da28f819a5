import { describe, expect, test } from 'vitest';
import { type HostTensor, tensor, toNumbers } from '../../lib/ir/tensor.ts';
import { runNode } from '../../lib/ops/interpret.ts';
import { makeNode } from '../ops/node.ts';
import { isas, random, run } from './harness.ts';

const regions = [0, 0, 8, 6, 2.3, 1.1, 5.7, 9.4, -4, -4, 3, 3, 30, 30, 40, 40, 5, 5, 5, 5, 7, 6, 2, 1, 0, 0, 100, 3];
const count = regions.length / 4;

describe.each(isas)('roialign.f32 on %s', (isa) => {
  test.each([
    [3, 10, 12, 0, 0],
    [1, 1, 1, 2, 0],
    [5, 7, 33, 1, 1],
    [2, 9, 4, 20, 1],
  ])('%i channels of %i x %i, ratio %i, max %i', (channels, height, width, ratio, max) => {
    const x = random(2 * channels * height * width, 3);
    const rois = Float32Array.from(regions);
    const images = BigInt64Array.from(rois.subarray(0, count), (_, i) => BigInt(i % 2));
    const node = makeNode('RoiAlign', 16, [true, true, true], {
      ...{ mode: max ? 'max' : 'avg', output_height: 3, output_width: 4, sampling_ratio: ratio },
      spatial_scale: { type: 'float', value: 0.5 },
    });
    const [want] = runNode(node, [
      tensor('float32', [2, channels, height, width], x),
      tensor('float32', [count, 4], rois),
      tensor('int64', [count], images),
    ]);
    const sizes = { images: 2, channels, height, width, rois: count, rows: 3, columns: 4 };
    const narrow = Int32Array.from(images, Number);
    for (const wide of [true, false]) {
      for (const parts of [1, 3]) {
        const y = new Float32Array(count * channels * 12).fill(Number.NaN);
        const params = { ...sizes, ratio, max, half: 1, wide: Number(wide), scale: 0.5 };
        run(isa, 'roialign.f32', [x, rois, wide ? images : narrow, y], params, parts);
        toNumbers(want as HostTensor).forEach((value, i) => {
          expect(y[i]).toBeCloseTo(value, 4);
        });
      }
    }
  });

  test('sizes and images are checked', () => {
    const operands = () => [new Float32Array(16), new Float32Array(4), new BigInt64Array(1), new Float32Array(4)];
    const call = { images: 1, channels: 1, height: 4, width: 4, rois: 1, rows: 2, columns: 2, ratio: 1, max: 0 };
    const go = (change: object, using = operands()) =>
      run(isa, 'roialign.f32', using, { ...call, half: 1, wide: 1, scale: 1, ...change });
    go({});
    expect(() => go({ height: 5 })).toThrow(/x is too small/);
    expect(() => go({ rois: 2 })).toThrow(/rois is too small/);
    expect(() => go({ rows: 3 })).toThrow(/y is too small/);
    expect(() => go({ rows: 0 })).toThrow(/out of range/);
    const [x, rois, , y] = operands();
    expect(() => go({}, [x, rois, BigInt64Array.of(1n), y])).toThrow(/out of range/);
  });
});

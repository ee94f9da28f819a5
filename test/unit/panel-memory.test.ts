import { afterEach, expect, test } from 'vitest';
import { fromNumbers } from '../../lib/ir/tensor.ts';
import { CompiledModel } from '../../lib/runtime/compiled.ts';
import { type Machine, thisMachine } from '../../lib/runtime/machine.ts';
import { model, node, port } from '../models/onnx-writer.ts';

const machine = thisMachine() as { -readonly [Key in keyof Machine]: Machine[Key] };
const { memory } = machine;
afterEach(() => {
  machine.memory = memory;
});

test('a batch runs whose largest panel to be weighed would be larger than memory', async () => {
  const bytes = model({
    nodes: [node('Relu', ['x'], ['y'])],
    inputs: [port('x', 'float32', ['n', 1024])],
    outputs: [port('y', 'float32')],
  });
  const values = Array.from({ length: 4 * 1024 }, (_, i) => (i % 7) - 3);
  machine.memory = 4 * values.length;
  const compiled = CompiledModel.openSync(bytes, { threads: 1 });
  const [y] = await compiled.run([fromNumbers('float32', [4, 1024], values)]);
  expect(y).toMatchObject({ dims: [4, 1024], data: Float32Array.from(values, (x) => Math.max(0, x)) });
  const more = fromNumbers('float32', [5, 1024], [...values, ...new Array(1024).fill(1)]);
  expect(await compiled.run([more])).toMatchObject([{ dims: [5, 1024] }]);
  compiled.dispose();
});

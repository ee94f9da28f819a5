/** Small networks for tests of behaviour under load. */

import { attribute, floats, longs, model, node, port } from '../models/onnx-writer.ts';

/** y = -x, of any size; rows are a batch unless `rows` fixes their number. */
export const negation = (rows: number | string = 1) =>
  model({
    nodes: [node('Neg', ['x'], ['y'])],
    inputs: [port('x', 'float32', [rows, 'n'])],
    outputs: [port('y', 'float32', [rows, 'n'])],
  });

/** `steps` products of square matrices of `size` rows: long runs of many short steps. */
export function products(steps: number, size: number) {
  const weights = new Array<number>(size * size).fill(0.001);
  const names = ['x', ...Array.from({ length: steps - 1 }, (_, i) => `h${i}`), 'y'];
  return model({
    nodes: names.slice(1).map((name, i) => node('MatMul', [names[i], 'w'], [name])),
    inputs: [port('x', 'float32', [size, size])],
    outputs: [port('y', 'float32', [size, size])],
    initializers: [floats('w', weights, [size, size])],
  });
}

/** Several stages: positions of nonzero entries, gathered and doubled, so that shapes depend on data. */
export const nonzeros = () =>
  model({
    nodes: [
      node('NonZero', ['x'], ['at']),
      node('Transpose', ['at'], ['rows']),
      node('GatherND', ['x', 'rows'], ['found']),
      node('Add', ['found', 'found'], ['y']),
    ],
    inputs: [port('x', 'float32', ['n'])],
    outputs: [port('y', 'float32', ['m'])],
  });

/** A convolutional classifier of 32 x 32 images with `width` channels. */
export function classifier(width: number) {
  const weights = (name: string, dims: number[]) => {
    const count = dims.reduce((a, b) => a * b, 1);
    return floats(
      name,
      Array.from({ length: count }, (_, i) => ((i * 7919) % 13) / 13 - 0.5),
      dims,
    );
  };
  const pads = { attributes: [attribute.ints('pads', [1, 1, 1, 1]), attribute.ints('strides', [2, 2])] };
  return model({
    nodes: [
      node('Conv', ['x', 'w0'], ['a'], pads),
      node('Relu', ['a'], ['b']),
      node('Conv', ['b', 'w1'], ['c'], pads),
      node('Relu', ['c'], ['d']),
      node('GlobalAveragePool', ['d'], ['e']),
      node('Reshape', ['e', 'flat'], ['f']),
      node('MatMul', ['f', 'w2'], ['y']),
    ],
    inputs: [port('x', 'float32', ['n', 3, 32, 32])],
    outputs: [port('y', 'float32', ['n', 10])],
    initializers: [
      weights('w0', [width, 3, 3, 3]),
      weights('w1', [2 * width, width, 3, 3]),
      weights('w2', [2 * width, 10]),
      longs('flat', [0, -1]),
    ],
  });
}

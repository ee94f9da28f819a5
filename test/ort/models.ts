/** Small models for the tests of the onnxruntime interface. */

import { floats, model, node, port } from '../models/onnx-writer.ts';

/** sum = a + b and diff = a - b over [n, 3]. */
export const sumAndDifference = (): Uint8Array =>
  model({
    nodes: [node('Add', ['a', 'b'], ['sum']), node('Sub', ['a', 'b'], ['diff'])],
    inputs: [port('a', 'float32', ['n', 3]), port('b', 'float32', ['n', 3])],
    outputs: [port('sum', 'float32', ['n', 3]), port('diff', 'float32', ['n', 3])],
  });

/** y = a + b, where b is an input with the default [10, 20]; the first dimension has no name. */
export const withDefault = (): Uint8Array =>
  model({
    nodes: [node('Add', ['a', 'b'], ['y'])],
    inputs: [port('a', 'float32', [null, 2]), port('b', 'float32', [2])],
    outputs: [port('y', 'float32', [null, 2])],
    initializers: [floats('b', [10, 20])],
  });

/** y = op(a) of one type. */
export const unary = (op: string, dtype: Parameters<typeof port>[1], dims: readonly (number | string)[] = ['n']) =>
  model({
    nodes: [node(op, ['a'], ['y'])],
    inputs: [port('a', dtype, dims)],
    outputs: [port('y', dtype, dims)],
  });

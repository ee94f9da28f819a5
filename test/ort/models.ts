/** Small models for the tests of the onnxruntime interface. */

import { floats, MessageWriter, model, node, port, tensorTypeProto } from '../models/onnx-writer.ts';

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

/** y = a + w over [n, 2], with w in `weights.bin`. */
export const withExternalData = (): Uint8Array => {
  const entry = (key: string, value: string) => new MessageWriter().text(1, key).text(2, value).done();
  const weights = new MessageWriter()
    .int(1, 2)
    .int(2, 1)
    .text(8, 'w')
    .int(14, 1)
    .bytes(13, entry('location', 'weights.bin'));
  return model({
    nodes: [node('Add', ['a', 'w'], ['y'])],
    inputs: [port('a', 'float32', ['n', 2])],
    outputs: [port('y', 'float32', ['n', 2])],
    initializers: [weights.done()],
  });
};

/** y = [a, a], a sequence of tensors. */
export const sequenceOutput = (): Uint8Array => {
  const message = (field: number, content: Uint8Array) => new MessageWriter().bytes(field, content).done();
  const sequence = message(4, message(1, tensorTypeProto('float32')));
  return model({
    nodes: [node('SequenceConstruct', ['a', 'a'], ['y'])],
    inputs: [port('a', 'float32', ['n'])],
    outputs: [new MessageWriter().text(1, 'y').bytes(2, sequence).done()],
  });
};

/** y = -a, of declared types. */
export const negation = (
  input: readonly (number | string | null)[] | undefined,
  output: readonly (number | string | null)[] | undefined | 'no type',
): Uint8Array =>
  model({
    nodes: [node('Neg', ['a'], ['y'])],
    inputs: [port('a', 'float32', input)],
    outputs: [output === 'no type' ? port('y') : port('y', 'float32', output)],
  });

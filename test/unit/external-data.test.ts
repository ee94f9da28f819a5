import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ModelFormatError } from '../../lib/errors.ts';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { openFile } from '../../lib/onnx/external-data.ts';
import { loadModel } from '../../lib/onnx/load.ts';
import { interpret } from '../../lib/ops/interpret.ts';
import { openModelFile } from '../../lib/runtime/model-file.ts';
import { native } from '../../lib/runtime/native.ts';
import { graph, MessageWriter, model, node, port } from '../models/onnx-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'external-'));
const at = (...parts: string[]): string => join(folder, ...parts);

/** y = x + w with w in an external file. */
function modelWith(entries: Record<string, string>, dataType = 1): Uint8Array {
  const w = new MessageWriter().int(1, 2).int(2, dataType).text(8, 'w').int(14, 1);
  for (const [key, value] of Object.entries(entries)) {
    w.bytes(13, new MessageWriter().text(1, key).text(2, value).done());
  }
  return model({
    nodes: [node('Add', ['x', 'w'], ['y'])],
    inputs: [port('x', 'float32', [2])],
    outputs: [port('y')],
    initializers: [w.done()],
  });
}

function sumAt(path: string, entries: Record<string, string>): number[] {
  writeFileSync(path, modelWith(entries));
  const { graph } = loadModel(path, { files: openModelFile });
  const x: HostTensor = { kind: 'tensor', dtype: 'float32', dims: [2], data: Float32Array.of(0, 0) };
  return [...toNumbers(interpret(graph, [x])[0] as HostTensor)];
}

beforeAll(() => {
  mkdirSync(at('m', 'sub'), { recursive: true });
  mkdirSync(at('cache'));
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  for (const path of [at('m', 'w.bin'), at('m', 'sub', 'w.bin'), at('secret.bin'), at('cache', 'blob')]) {
    writeFileSync(path, bytes);
  }
  symlinkSync('../secret.bin', at('m', 'out.bin'));
  symlinkSync('w.bin', at('m', 'in.bin'));
  symlinkSync('../cache/blob', at('m', 'cached.bin'));
  linkSync(at('m', 'w.bin'), at('m', 'hard.bin'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('external data', () => {
  test('is read at its offset, through folders and links within the folder', () => {
    const path = at('m', 'model.onnx');
    expect(sumAt(path, { location: 'w.bin', offset: '4', length: '8' })).toEqual([2, 3]);
    expect(sumAt(path, { location: 'sub/w.bin' })).toEqual([1, 2]);
    expect(sumAt(path, { location: 'in.bin', offset: '8' })).toEqual([3, 4]);
    expect(sumAt(path, { location: 'hard.bin', offset: '1' }).length).toBe(2);
  });

  test('a model that is a link itself may have its data where it leads to', () => {
    writeFileSync(at('cache', 'model-blob'), modelWith({ location: 'cached.bin' }));
    symlinkSync('../cache/model-blob', at('m', 'linked.onnx'));
    expect(loadModel(at('m', 'linked.onnx')).graph.nodes.length).toBe(1);
    expect(() => sumAt(at('m', 'model.onnx'), { location: 'cached.bin' })).toThrow('link that leads out');
  });

  test.each([
    [{ location: '../secret.bin' }, /expected a path under the model's folder/],
    [{ location: 'sub/../../secret.bin' }, /expected a path under/],
    [{ location: 'sub\\..\\w.bin' }, /expected a path under/],
    [{ location: '/etc/passwd' }, /expected a path under/],
    [{ location: 'C:w.bin' }, /expected a path under/],
    [{ location: 'w.bin\0' }, /expected a path under/],
    [{ location: 'out.bin' }, /link that leads out/],
    [{ location: 'none.bin' }, /cannot be read/],
    [{ location: 'sub' }, /not a regular file/],
    [{ location: '' }, /without a location/],
    [{}, /without a location/],
    [{ location: 'w.bin', offset: '12' }, /bytes 12 to 20 of "w.bin", which has 16/],
    [{ location: 'w.bin', offset: '99999' }, /which has 16/],
    [{ location: 'w.bin', offset: '-4' }, /offset "-4"/],
    [{ location: 'w.bin', offset: '9223372036854775800' }, /offset "9223372036854775800"/],
    [{ location: 'w.bin', offset: '0x4' }, /offset "0x4"/],
    [{ location: 'w.bin', length: '4' }, /4 bytes of external data, its type and shape need 8/],
  ])('%j is refused', (entries, message) => {
    const load = () => sumAt(at('m', 'model.onnx'), entries as Record<string, string>);
    expect(load).toThrow(ModelFormatError);
    expect(load).toThrow(message);
  });

  test('a model from bytes uses only what it is given', () => {
    const bytes = modelWith({ location: 'w.bin', offset: '8' });
    expect(() => loadModel(bytes)).toThrow('the model was given as bytes');
    const given = new Uint8Array(Float32Array.of(0, 0, 5, 6).buffer);
    const { graph } = loadModel(bytes, { externalData: new Map([['w.bin', given]]) });
    expect([...toNumbers(graph.nodes[0].inputs[1]?.constant as HostTensor)]).toEqual([5, 6]);
  });

  test('strings cannot be external', () => {
    writeFileSync(at('m', 'strings.onnx'), modelWith({ location: 'w.bin' }, 8));
    expect(() => loadModel(at('m', 'strings.onnx'))).toThrow('strings cannot be external data');
  });
});

describe('files as memory', () => {
  test('a mapping has the content of the file, and writes stay in this process', () => {
    const path = at('large.bin');
    const content = Uint8Array.from({ length: 3 * 2 ** 20 + 5 }, (_, i) => (i * 7) & 255);
    writeFileSync(path, content);
    const mapped = openModelFile(path).read(0, content.length);
    expect(Buffer.compare(mapped, content)).toBe(0);
    mapped[0] = 99;
    expect(mapped[0]).toBe(99);
    expect(openFile(path).read(0, 1)[0]).toBe(0);
    expect(new Uint8Array(native().mapFile(path, 0, 1))[0]).toBe(0);
    for (const [offset, bytes] of [
      [1, 3],
      [4095, 2],
      [4097, 9000],
      [content.length - 1, 1],
      [content.length, 0],
    ]) {
      const want = content.slice(offset, offset + bytes);
      expect(new Uint8Array(native().mapFile(path, offset, bytes))).toEqual(want);
      expect(openFile(path).read(offset, bytes)).toEqual(want);
    }
    for (const [offset, bytes] of [
      [-1, 1],
      [0, -1],
      [0, content.length + 1],
      [2 ** 52, 1],
      [Number.NaN, 2 ** 60],
    ]) {
      expect(() => native().mapFile(path, offset, bytes)).toThrow(/that follow, of 3145733/);
    }
  });

  // The files are mostly holes: they take no room, and only what is read is brought in.
  test('models beyond 2 GiB and external data beyond 4 GiB', () => {
    const weights = 2 ** 31 + 1000;
    const varint = (value: number): number[] =>
      value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
    const tensorHead = [8, ...varint(weights), 16, 2, 66, 1, 119, 74, ...varint(weights)];
    const rest = graph({ nodes: [node('Identity', ['w'], ['y'])], outputs: [port('y')] });
    const length = tensorHead.length + weights;
    const graphHead = [42, ...varint(length)];
    const head = [8, 9, 58, ...varint(graphHead.length + length + rest.length), ...graphHead, ...tensorHead];
    const path = at('huge.onnx');
    const file = openSync(path, 'w');
    writeSync(file, Uint8Array.from(head), 0, head.length, 0);
    writeSync(file, Uint8Array.of(7), 0, 1, head.length + weights - 1);
    const tail = Uint8Array.from([...rest, 66, 4, 10, 0, 16, 17]);
    writeSync(file, tail, 0, tail.length, head.length + weights);
    closeSync(file);
    const w = loadModel(path, { files: openModelFile }).graph.nodes[0].inputs[0]?.constant as HostTensor;
    expect([w.dims, w.data.length, w.data[weights - 1]]).toEqual([[weights], weights, 7]);

    const beside = openSync(at('huge.bin'), 'w');
    writeSync(beside, new Uint8Array(Float32Array.of(5, 6).buffer), 0, 8, 5_000_000_000);
    closeSync(beside);
    expect(sumAt(at('model.onnx'), { location: 'huge.bin', offset: '5000000000' })).toEqual([5, 6]);
    expect([...new Float32Array(openFile(at('huge.bin')).read(5_000_000_000, 8).buffer)]).toEqual([5, 6]);
    expect(() => native().mapFile(at('huge.bin'), 0, 5_000_000_000)).toThrow(/more than 4 GiB/);
  });

  test('what is no file is refused by name', () => {
    writeFileSync(at('empty.bin'), '');
    expect(native().mapFile(at('empty.bin'), 0, 0).byteLength).toBe(0);
    expect(() => native().mapFile(folder, 0, 0)).toThrow(/not a regular file/);
    expect(() => native().mapFile(at('none'), 0, 0)).toThrow(/none": No such file/);
    expect(() => native().mapFile('/dev/zero', 0, 1)).toThrow(/not a regular file/);
    expect(() => loadModel(at('none.onnx'))).toThrow(/cannot read the model file ".*none.onnx"/);
    expect(() => loadModel(folder)).toThrow(ModelFormatError);
  });
});

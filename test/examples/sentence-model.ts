/** A model folder as the hub lays it out, small enough to know its answers. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { floats, model, node, port } from '../models/onnx-writer.ts';

const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'red', 'green', 'blue'];

/** Words are axes: sentences of the same words are alike, others orthogonal. Gives the folder. */
export function writeSentenceModel(folder: string): string {
  mkdirSync(join(folder, 'onnx'), { recursive: true });
  const write = (name: string, content: object) => writeFileSync(join(folder, name), JSON.stringify(content));
  write('config.json', { model_type: 'bert', architectures: ['BertModel'], hidden_size: words.length });
  write('tokenizer_config.json', { tokenizer_class: 'BertTokenizer', model_max_length: 16, pad_token: '[PAD]' });
  write('tokenizer.json', {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: words.slice(0, 4).map((content, id) => ({
      ...{ id, content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false },
    })),
    normalizer: null,
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', unk_token: '[UNK]', vocab: Object.fromEntries(words.map((word, id) => [word, id])) },
  });
  const axes = words.flatMap((_, i) => words.map((__, j) => (i === j ? 1 : 0)));
  const ids = ['input_ids', 'attention_mask', 'token_type_ids'];
  writeFileSync(
    join(folder, 'onnx', 'model.onnx'),
    model({
      nodes: [node('Gather', ['axes', 'input_ids'], ['last_hidden_state'])],
      initializers: [floats('axes', axes, [words.length, words.length])],
      inputs: ids.map((name) => port(name, 'int64', ['batch', 'length'])),
      outputs: [port('last_hidden_state', 'float32', ['batch', 'length', words.length])],
    }),
  );
  return folder;
}

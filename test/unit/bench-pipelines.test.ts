import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findPipelines, taskOf } from '../../bench/pipelines/tasks.ts';

const folder = mkdtempSync(join(tmpdir(), 'filigree-pipelines-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function store(name: string, config: object, files: readonly string[]): void {
  mkdirSync(join(folder, name, 'onnx'), { recursive: true });
  writeFileSync(join(folder, name, 'config.json'), JSON.stringify(config));
  for (const file of files) writeFileSync(join(folder, name, 'onnx', file), '');
}

test.each([
  ['BertModel', 'feature-extraction'],
  ['DistilBertForSequenceClassification', 'text-classification'],
  ['BertForTokenClassification', 'token-classification'],
  ['ViTForImageClassification', 'image-classification'],
  ['GPT2LMHeadModel', 'text-generation'],
  ['LlamaForCausalLM', 'text-generation'],
  ['BartForConditionalGeneration', 'text2text-generation'],
  ['BertForMaskedLM', undefined],
])('%s is for %s', (architecture, task) => {
  expect(taskOf({ architectures: [architecture] })).toBe(task);
});

test('labels of entailment make a classifier one of any labels', () => {
  const architectures = ['BartForSequenceClassification'];
  expect(taskOf({ architectures, label2id: { entailment: 2 } })).toBe('zero-shot-classification');
  expect(taskOf({ architectures, label2id: { LABEL_0: 0 } })).toBe('text-classification');
});

test('models are found with the types of weights they have', () => {
  store('a', { architectures: ['BertModel'] }, ['model.onnx', 'model_q4.onnx']);
  store('b', { architectures: ['T5ForConditionalGeneration'] }, [
    'encoder_model.onnx',
    'decoder_model_merged_fp16.onnx',
  ]);
  mkdirSync(join(folder, 'empty'));
  const all = findPipelines([folder], ['fp32', 'fp16', 'q8', 'q4']);
  expect(all.map(({ task, dtypes }) => [task, ...dtypes])).toEqual([
    ['feature-extraction', 'fp32', 'q4'],
    ['text2text-generation', 'fp16'],
  ]);
  expect(findPipelines([join(folder, 'a')], ['q4'])).toEqual([
    { folder: join(folder, 'a'), task: 'feature-extraction', dtypes: ['q4'] },
  ]);
  expect(() => findPipelines([join(folder, 'empty')], ['q4'])).toThrow('no models of Transformers.js');
  expect(() => findPipelines([join(folder, 'none')], ['q4'])).toThrow('no such folder');
});

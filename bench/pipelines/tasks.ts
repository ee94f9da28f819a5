/** Models as Transformers.js lays them out: which pipeline they are for, and the types of weights there are. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OptionError } from '../../lib/errors.ts';

export type Task =
  | 'feature-extraction'
  | 'text-classification'
  | 'token-classification'
  | 'zero-shot-classification'
  | 'image-classification'
  | 'text-generation'
  | 'text2text-generation';

/** The suffix of files of each type of weights. */
const suffixes: Readonly<Record<string, string>> = { fp32: '', fp16: '_fp16', q8: '_quantized', q4: '_q4' };
export const dtypes = Object.keys(suffixes);

interface Config {
  readonly architectures?: readonly string[];
  readonly label2id?: Readonly<Record<string, number>>;
}

/** The pipeline that a `config.json` is for; undefined where none of these is. */
export function taskOf({ architectures, label2id }: Config): Task | undefined {
  const name = architectures?.[0] ?? '';
  if (name.endsWith('ForSequenceClassification')) {
    return label2id && 'entailment' in label2id ? 'zero-shot-classification' : 'text-classification';
  }
  if (name.endsWith('ForTokenClassification')) return 'token-classification';
  if (name.endsWith('ForImageClassification')) return 'image-classification';
  if (name.endsWith('ForConditionalGeneration')) return 'text2text-generation';
  if (/(ForCausalLM|LMHeadModel)$/.test(name)) return 'text-generation';
  return name.endsWith('Model') ? 'feature-extraction' : undefined;
}

export interface Pipeline {
  readonly folder: string;
  readonly task: Task;
  /** Of those asked for, the types there are files of. */
  readonly dtypes: readonly string[];
}

function read(folder: string, wanted: readonly string[]): Pipeline[] {
  const config = join(folder, 'config.json');
  if (!existsSync(config)) return [];
  const task = taskOf(JSON.parse(readFileSync(config, 'utf8')) as Config);
  if (!task) throw new OptionError(`${config}: no pipeline is known for its architecture`);
  const stem = task === 'text2text-generation' ? 'decoder_model_merged' : 'model';
  const found = wanted.filter((dtype) => existsSync(join(folder, 'onnx', `${stem}${suffixes[dtype]}.onnx`)));
  return [{ folder, task, dtypes: found }];
}

/** The models named, and those in folders named. */
export function findPipelines(places: readonly string[], wanted: readonly string[]): Pipeline[] {
  return places.flatMap((place) => {
    if (!existsSync(place)) throw new OptionError(`no such folder: "${place}"`);
    const one = read(place, wanted);
    const found = one.length ? one : readdirSync(place).flatMap((name) => read(join(place, name), wanted));
    if (found.length === 0) throw new OptionError(`no models of Transformers.js in "${place}"`);
    return found;
  });
}

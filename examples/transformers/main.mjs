/**
 * How alike sentences are, by a model of the Hugging Face hub or of a folder.
 *
 *   node main.mjs [MODEL] [SENTENCE...]
 */

import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { cos_sim, env, pipeline } from '@huggingface/transformers';

const [model = 'Xenova/all-MiniLM-L6-v2', ...asked] = process.argv.slice(2);
const sentences = asked.length > 0 ? asked : ['A dog runs in the park.', 'A puppy plays outside.', 'Rates rose again.'];

const local = existsSync(model);
if (local) {
  env.localModelPath = dirname(resolve(model));
  env.allowRemoteModels = false;
}
const name = local ? basename(resolve(model)) : model;
const extract = await pipeline('feature-extraction', name, { dtype: 'fp32', device: 'cpu' });
const rows = (await extract(sentences, { pooling: 'mean', normalize: true })).tolist();
for (let i = 1; i < rows.length; i++) {
  console.log(`${cos_sim(rows[0], rows[i]).toFixed(3)}  ${sentences[0]} | ${sentences[i]}`);
}
await extract.dispose();
// What `onnxruntime-node` resolved to says its name here.
const { versions } = env.backends.onnx;
console.log(
  versions.filigree ? `computed by filigree ${versions.filigree}` : `computed by onnxruntime ${versions.node}`,
);

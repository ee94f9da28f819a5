/** Classifies digits over HTTP: POST /digits with 784 bytes, one a pixel. */

import fastify from 'fastify';
import { InputError, QueueFullError, Session, Tensor } from 'filigree';
import { digitOf, modelPath } from '../digits/digits.mjs';

const setting = (name, otherwise) => Number(process.env[name] ?? otherwise);

const session = await Session.load(modelPath, { scheduler: 'throughput' });
const batcher = session.batcher({
  maxBatch: setting('MAX_BATCH', 32),
  maxDelayMs: setting('MAX_DELAY_MS', 2),
  maxQueue: setting('MAX_QUEUE', 256),
});
const app = fastify({ logger: process.env.LOG === '1', bodyLimit: 4096 });

app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

app.post('/digits', async (request) => {
  if (request.body?.length !== 784) throw new InputError(`expected 784 bytes, got ${request.body?.length ?? 0}`);
  const image = new Tensor(
    'float32',
    Float32Array.from(request.body, (pixel) => pixel / 255),
    [1, 1, 28, 28],
  );
  const { scores } = await batcher.run({ image });
  return { digit: digitOf([...scores.data]) };
});

app.get('/health', async () => ({ queued: batcher.queued }));

app.setErrorHandler((error, _request, reply) => {
  const { code, message } = error;
  if (error instanceof QueueFullError) return reply.code(503).header('retry-after', '1').send({ code, message });
  if (error instanceof InputError) return reply.code(400).send({ code, message });
  return reply.code(error.statusCode ?? 500).send({ code, message });
});

// A connection that is answered while the server closes must not be kept alive: the server would wait for it.
let closing = false;
app.addHook('onSend', async (_request, reply) => {
  if (closing) reply.header('connection', 'close');
});

// The first run makes the plans: better now than in the first request.
await session.run({ image: new Tensor('float32', new Float32Array(784), [1, 1, 28, 28]) });
console.log(await app.listen({ port: setting('PORT', 3000), host: process.env.HOST ?? '127.0.0.1' }));

/** No new connections; requests under way get their answers; then the memory goes, and with nothing left to do, Node. */
async function shutDown() {
  closing = true;
  await app.close();
  await batcher.close();
  await session.dispose();
  console.log('closed');
}
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, shutDown);

import { parentPort, workerData } from 'node:worker_threads';
import { Session, Tensor } from 'filigree';

// One thread a session: the workers are the parallelism.
const session = await Session.load(workerData.model, { threads: 1 });
parentPort.on('message', async ({ pixels, end }) => {
  if (end) {
    await session.dispose();
    parentPort.close();
    return;
  }
  try {
    const image = new Tensor('float32', pixels, [pixels.length / 784, 1, 28, 28]);
    const { scores } = session.runSync({ image });
    parentPort.postMessage({ scores: scores.data }, [scores.data.buffer]);
  } catch (error) {
    parentPort.postMessage({ error });
  }
});
parentPort.postMessage('ready');

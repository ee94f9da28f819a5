/** How processes with sessions end, and what the command line does when its reader or its user has had enough. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildLibrary, interrupted, Models, runChild, shell } from '../manners/child.ts';
import { classifier, products } from '../manners/networks.ts';

const models = new Models();
let small: string;
let slow: string;

beforeAll(() => {
  buildLibrary();
  small = models.write('small.onnx', classifier(8));
  slow = models.write('slow.onnx', products(1000, 256));
});
afterAll(() => models.remove());

describe('a process', () => {
  test('with a session that nobody disposed ends by itself', () => {
    expect(runChild('finish', small)).toEqual({ status: 0, signal: null, stdout: '', stderr: '' });
  });

  test.each(['load', 'run', 'stream'])('ends at once in the middle of %s', (action) => {
    for (const after of ['1', '20', '60']) {
      const ending = runChild(action, action === 'load' ? small : slow, after);
      expect(ending, `after ${after} ms`).toEqual({ status: 7, signal: null, stdout: '', stderr: '' });
    }
  });

  test('ends with the error that its program threw during a run', () => {
    const { status, signal, stderr } = runChild('throw', slow);
    expect([status, signal]).toEqual([1, null]);
    expect(stderr).toMatch(/Error: on purpose/);
  });

  test('outlives Workers that are terminated while they load and run', () => {
    const { stdout, ...ending } = runChild('terminate', small, '10');
    expect(ending).toEqual({ status: 0, signal: null, stderr: '' });
    expect(JSON.parse(stdout).memory).toHaveLength(10);
  });
});

describe('the command line', () => {
  const commands = [
    'hardware',
    'hardware --json',
    '--help',
    'inspect MODEL',
    'inspect MODEL --json',
    'nonsense',
    'run',
  ];

  test.each(commands)('%s: a reader that has gone ends it quietly', (command) => {
    const line = command.replace('MODEL', small);
    // The reader ends before anything is written.
    const piped = shell(`{ sleep 0.2; $FILIGREE ${line} 2>&1; } | true; echo "\${PIPESTATUS[0]}"`);
    expect(piped).toEqual({ status: 0, signal: null, stdout: '141\n', stderr: '' });
  });

  test('hardware | head -1', () => {
    const { stdout, stderr, status } = shell('$FILIGREE hardware | head -1');
    expect([status, stderr, stdout.split('\n').length]).toEqual([0, '', 2]);
  });

  test.each(['benchmark', 'profile', 'run', 'inspect'])('%s: Ctrl-C ends it within a second', async (command) => {
    const more = { benchmark: ['--seconds', '60'], profile: ['--runs', '100000'] }[command] ?? [];
    const many = command === 'run' || command === 'inspect' ? 60 : 1500;
    const { signal, took } = await interrupted([command, slow, ...more], many);
    expect(signal).toBe('SIGINT');
    expect(took).toBeLessThan(1000);
  });
});

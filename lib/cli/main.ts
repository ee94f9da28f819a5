#!/usr/bin/env node
/** The command line: `filigree COMMAND ...`. */

import { benchmarkCommand } from './benchmark.ts';
import { type Command, runCommand, table } from './command.ts';
import { demoCommand } from './demo.ts';
import { hardwareCommand } from './hardware.ts';
import { inspectCommand } from './inspect.ts';
import { profileCommand } from './profile.ts';
import { runModelCommand } from './run.ts';
import { verifyCommand } from './verify.ts';

const commands: readonly Command[] = [
  runModelCommand,
  verifyCommand,
  benchmarkCommand,
  profileCommand,
  inspectCommand,
  hardwareCommand,
  demoCommand,
];

function help(): string {
  const rows = commands.map((command) => [command.name, command.summary]);
  return `usage: filigree COMMAND [arguments]\n\nRuns ONNX neural networks on this machine's CPU.\n\n${table([[], ...rows].slice(1))}\n\n"filigree COMMAND --help" tells more.\n`;
}

async function main(): Promise<number> {
  const [name, ...rest] = process.argv.slice(2);
  const command = commands.find((each) => each.name === name);
  if (command) return runCommand(command, rest);
  const asked = name === undefined || name === '--help' || name === '-h' || name === 'help';
  const problem = asked ? '' : `error: no command "${name}"\n\n`;
  if (!asked && rest.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ error: { code: 'ERR_OPTION', message: `no command "${name}"` } })}\n`);
  } else {
    (asked ? process.stdout : process.stderr).write(problem + help());
  }
  return asked ? 0 : 1;
}

/** A reader that has gone, as in `filigree ... | head -1`, ends the process as SIGPIPE ends others. */
const SIGPIPE_EXIT = 141;
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(SIGPIPE_EXIT);
  });
}

void main().then((code) => {
  process.exitCode = code;
});

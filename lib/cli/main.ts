#!/usr/bin/env node
import { native } from '../runtime/native.ts';

const [command] = process.argv.slice(2);
if (command === 'hardware') {
  process.stdout.write(`${JSON.stringify(native().hardware())}\n`);
} else {
  process.stderr.write('usage: filigree hardware\n');
  process.exitCode = 1;
}

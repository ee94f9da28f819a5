/** What every command of the command line shares: arguments, output, errors. */

import { type ParseArgsConfig, parseArgs } from 'node:util';
import { FiligreeError, OptionError } from '../errors.ts';

type OptionSpecs = NonNullable<ParseArgsConfig['options']>;

/** One option with its line in the help. */
export interface OptionHelp {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  /** What stands for its value in the help: `N`, `FILE`. */
  readonly value?: string;
  readonly help: string;
}

/** Parsed arguments of a command. */
export interface Arguments {
  readonly positionals: readonly string[];
  flag(name: string): boolean;
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  /** A number of at least `least`. */
  number(name: string, fallback: number, least?: number): number;
  /** A whole number of at least `least`. */
  count(name: string, fallback: number, least?: number): number;
}

/** Where a command writes. */
export interface Output {
  readonly json: boolean;
  /** Text for people; nothing under --json. */
  line(text?: string): void;
  /** The result for programs: one line of JSON; nothing without --json. */
  result(value: unknown): void;
  /** Progress on a terminal. */
  progress(text: string): void;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** After the name: `MODEL [options]`. */
  readonly usage: string;
  /** Least and most positional arguments. */
  readonly positionals: readonly [number, number];
  readonly options: Readonly<Record<string, OptionHelp>>;
  /** More help after the options. */
  readonly notes?: string;
  /** Exit code: 0 on success alone. */
  run(args: Arguments, out: Output): Promise<number>;
}

const common: Readonly<Record<string, OptionHelp>> = {
  json: { type: 'boolean', help: 'print one line of JSON instead of text' },
  help: { type: 'boolean', help: 'print this help' },
};

/** `1,234,567`. */
export const grouped = (n: number): string => Math.round(n).toLocaleString('en-US');

/** Bytes as MiB with one decimal. */
export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Columns aligned, the first to the left, numbers to the right. */
export function table(rows: readonly (readonly string[])[], indent = '  '): string {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  const right = widths.map((_, i) => rows.slice(1).every((row) => /^[-\d.,%]*( \w+)?$/.test(row[i] ?? '')));
  return rows
    .map(
      (row) => indent + row.map((cell, i) => (right[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  '),
    )
    .map((line) => line.trimEnd())
    .join('\n');
}

export function helpOf(command: Command): string {
  const rows = Object.entries({ ...command.options, ...common }).map(([name, option]) => [
    `--${name}${option.value ? ` ${option.value}` : ''}`,
    option.help,
  ]);
  const notes = command.notes ? `\n${command.notes}\n` : '';
  return `usage: filigree ${command.name} ${command.usage}\n\n${command.summary}\n\n${table([[], ...rows].slice(1))}\n${notes}`;
}

function parse(
  command: Command,
  argv: readonly string[],
): Arguments & { readonly help: boolean; readonly json: boolean } {
  const specs: OptionSpecs = {};
  for (const [name, { type, multiple }] of Object.entries({ ...command.options, ...common })) {
    specs[name] = { type, ...(multiple ? { multiple } : {}) };
  }
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...argv], options: specs, allowPositionals: true });
  } catch (cause) {
    throw new OptionError(`${(cause as Error).message}; see "filigree ${command.name} --help"`, {}, { cause });
  }
  const values = parsed.values as Record<string, string | boolean | string[] | undefined>;
  const number = (name: string, fallback: number, least = 0): number => {
    if (values[name] === undefined) return fallback;
    const value = Number(values[name]);
    if (!Number.isFinite(value) || value < least) {
      throw new OptionError(`--${name}: expected a number of at least ${least}, got "${values[name]}"`, {
        option: name,
      });
    }
    return value;
  };
  const args = {
    positionals: parsed.positionals,
    help: values.help === true,
    json: values.json === true,
    flag: (name: string) => values[name] === true,
    text: (name: string) => values[name] as string | undefined,
    list: (name: string) => (values[name] as string[] | undefined) ?? [],
    number,
    count: (name: string, fallback: number, least = 0): number => {
      const value = number(name, fallback, least);
      if (!Number.isInteger(value)) {
        throw new OptionError(`--${name}: expected a whole number, got "${values[name]}"`, { option: name });
      }
      return value;
    },
  };
  const [least, most] = command.positionals;
  if (!args.help && (args.positionals.length < least || args.positionals.length > most)) {
    throw new OptionError(`usage: filigree ${command.name} ${command.usage}`);
  }
  return args;
}

function outputTo(json: boolean): Output {
  return {
    json,
    line: (text = '') => {
      if (!json) process.stdout.write(`${text}\n`);
    },
    result: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`);
    },
    progress: (text) => {
      if (!json && process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
    },
  };
}

/** Code, text and node of an error, for the JSON of a failed command. */
function describeError(error: unknown): { code: string; message: string; node?: unknown } {
  if (error instanceof FiligreeError) {
    const { node } = error.details;
    return { code: error.code, message: error.message, ...(node === undefined ? {} : { node }) };
  }
  return { code: 'ERR_INTERNAL', message: error instanceof Error ? error.message : String(error) };
}

/** Runs a command with its arguments; errors are printed. Returns the exit code. */
export async function runCommand(command: Command, argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json');
  try {
    const args = parse(command, argv);
    if (args.help) {
      process.stdout.write(helpOf(command));
      return 0;
    }
    return await command.run(args, outputTo(args.json));
  } catch (error) {
    const described = describeError(error);
    if (json) process.stdout.write(`${JSON.stringify({ error: described })}\n`);
    else process.stderr.write(`error: ${described.message} (${described.code})\n`);
    return 1;
  }
}

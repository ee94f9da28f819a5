// Writes docs/api.md from the declarations the compiler makes of lib/; with --check, tells whether the file is up to date.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import errors from '../dist/errors.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const path = join(root, 'docs', 'api.md');

/** Headings by the module that declares; what is in no list comes under its module's name. */
const chapters = [
  ['Sessions', ['runtime/session', 'runtime/options']],
  ['Streams, batches and state', ['runtime/stream', 'runtime/batcher', 'runtime/stateful']],
  ['Values', ['runtime/feeds', 'ir/tensor', 'ir/dtype']],
  ['Types of inputs and outputs', ['ir/model', 'ir/graph', 'ir/shape']],
  ['Errors', ['errors']],
  ['`filigree/ort`', ['ort/index', 'ort/inference-session', 'ort/backend']],
];

const read = (module) => readFileSync(join(dist, `${module}.d.ts`), 'utf8');

/** The text of a doc comment. */
function textOf(comment) {
  const lines = comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trim());
  return lines.join('\n').trim();
}

/**
 * Splits declarations into `{ doc, text }`. The compiler prints them regularly: every one begins on a line of this
 * indentation and ends with the line on which its brackets are closed.
 */
function split(source, indent) {
  const found = [];
  let doc = '';
  const lines = source.split('\n');
  for (let i = 0; i < lines.length; i++) {
    if (!lines[i].startsWith(indent) || lines[i].trim() === '') continue;
    const from = i;
    if (lines[i].trim().startsWith('/**')) {
      while (!lines[i].includes('*/')) i++;
      doc = textOf(
        lines
          .slice(from, i + 1)
          .join('\n')
          .trim(),
      );
      continue;
    }
    for (let depth = 0; ; i++) {
      for (const bracket of lines[i].match(/[{}]/g) ?? []) depth += bracket === '{' ? 1 : -1;
      if (depth === 0) break;
    }
    found.push({
      doc,
      text: lines
        .slice(from, i + 1)
        .map((line) => line.slice(indent.length))
        .join('\n'),
    });
    doc = '';
  }
  return found;
}

const declaration = /^export (?:declare )?(?:abstract )?(class|interface|type|const|function) (\w+)/;

/** Everything a module exports, with the module that declares it. */
function exportsOf(module) {
  const found = [];
  const source = read(module);
  for (const [, names, from] of source.matchAll(/^export (?:type )?(\*|\{[^}]*\}) from '([^']+)';/gm)) {
    if (!from.startsWith('.')) continue;
    const target = join(dirname(module), from.replace(/\.ts$/, ''));
    const all = exportsOf(target);
    const wanted = names === '*' ? undefined : names.match(/\w+(?=\s*[,}])/g);
    for (const name of wanted ?? []) {
      if (!all.some((each) => each.name === name)) throw new Error(`${module}: ${from} does not declare ${name}`);
    }
    found.push(...all.filter(({ name }) => wanted?.includes(name) ?? true));
  }
  for (const { doc, text } of split(source, '')) {
    const [, kind, name] = declaration.exec(text) ?? [];
    // A constant may share its name with a type, which says nothing more.
    if (name && !found.some((each) => each.name === name)) found.push({ module, kind, name, doc, text });
  }
  return found;
}

/** GitHub's anchor of a heading. */
const anchor = (heading) =>
  heading
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replace(/ /g, '-');

/** A doc comment with its links, and with error classes linked to their table. */
function prose(doc, known) {
  return doc.replace(/\{@link ([\w.]+)\}|(?<![`\w])([A-Z]\w+Error)\b/g, (_, link, error) => {
    const target = link ?? error;
    const [name] = target.split('.');
    if (!known.has(name)) return link ? `\`${target}\`` : target;
    return `[\`${target}\`](#${name.endsWith('Error') ? 'errors' : anchor(name)})`;
  });
}

const code = (text) => ['```ts', text, '```'].join('\n');
const oneLine = (text) => text.replace(/\s+/g, ' ').trim();
const cell = (text) => oneLine(text).replace(/\|/g, '\\|');

/** Members that callers see. */
function membersOf({ text }) {
  const body = text.slice(text.indexOf('{\n') + 2, text.lastIndexOf('}'));
  return split(body, '    ').filter(
    ({ doc, text: member }) => !doc.includes('@internal') && !/^(#private|private )/.test(member),
  );
}

function propertyTable(members, known) {
  const rows = members.map(({ doc, text }) => {
    const [, name, optional, type] = /^(?:readonly )?(?:get )?(\w+)(?:\(\))?(\?)?: ([\s\S]*);$/.exec(text) ?? [];
    if (!name) throw new Error(`no property: ${text}`);
    return `| \`${name}${optional ?? ''}\` | \`${cell(type)}\` | ${cell(prose(doc, known))} |`;
  });
  return ['| | type | |', '|---|---|---|', ...rows].join('\n');
}

function render(entry, known) {
  const { kind, name, doc, text } = entry;
  const parts = [`### ${name}`, prose(doc, known)];
  if (kind !== 'class' && kind !== 'interface') {
    parts.push(code(text.replace(/^export (declare )?/, '')));
    return parts;
  }
  if (/ extends /.test(text.split('\n')[0]))
    parts.push(code(text.split('\n')[0].replace(/^export (declare )?| \{$/g, '')));
  const members = membersOf(entry);
  const methods = members.filter(({ text: member }) => member.includes('(') && !member.startsWith('get '));
  const properties = members.filter((member) => !methods.includes(member));
  if (properties.length > 0) parts.push(propertyTable(properties, known));
  for (const method of methods) parts.push(code(method.text), prose(method.doc, known));
  return parts;
}

/** Error classes have one constructor; what differs is when they are thrown, and their code. */
function renderErrors(entries, known) {
  const isPlain = ({ name, text }) => name !== 'FiligreeError' && /extends FiligreeError/.test(text);
  const rows = entries.filter(isPlain).map(({ name, doc }) => {
    return `| \`${name}\` | \`${new errors[name]('').code}\` | ${cell(prose(doc, known))} |`;
  });
  const others = entries.filter((entry) => !isPlain(entry)).flatMap((entry) => render(entry, known));
  return [...others, ['| class | code | |', '|---|---|---|', ...rows].join('\n')];
}

function document() {
  const all = exportsOf('index');
  const known = new Set(all.map(({ name }) => name));
  const listed = new Set(chapters.flatMap(([, modules]) => modules));
  const rest = [...new Set(all.map(({ module }) => module).filter((module) => !listed.has(module)))];
  const parts = [
    '# API',
    'Generated by `npm run docs:api` from the comments in `lib/`; `npm run check` refuses a stale file.',
    '`filigree` exports all of this, and with it what `onnxruntime-common` exports (`Tensor`, `env`, ...); `filigree/ort` only its last\nchapter.',
  ];
  for (const [title, modules] of [...chapters, ...rest.map((module) => [module, [module]])]) {
    const order = ({ module, kind }) => 2 * modules.indexOf(module) + (kind === 'class' ? 0 : 1);
    const entries = all.filter((entry) => order(entry) >= 0).sort((a, b) => order(a) - order(b));
    parts.push(`## ${title}`);
    if (title === 'Errors') parts.push(...renderErrors(entries, known));
    else parts.push(...entries.flatMap((entry) => render(entry, known)));
  }
  parts.push(
    '## `filigree/register`',
    textOf(/\/\*\*[\s\S]*?\*\//.exec(readFileSync(join(root, 'lib', 'register.ts'), 'utf8'))[0]),
  );
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

const text = document();
if (process.argv.includes('--check')) {
  if (readFileSync(path, 'utf8') !== text) {
    console.error('docs/api.md is stale: npm run docs:api');
    process.exitCode = 1;
  }
} else {
  writeFileSync(path, text);
}

/** Script of the HTML report: draws the embedded numbers. Plain JavaScript, as the browser runs it. */
export const pageScript = String.raw`
'use strict';
const report = JSON.parse(document.getElementById('data').textContent);
const { layers, operators } = report;
const byId = (id) => document.getElementById(id);
const NS = 'http://www.w3.org/2000/svg';

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
function shape(tag, attributes, title, text) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (title) made.appendChild(document.createElementNS(NS, 'title')).textContent = title;
  if (text !== undefined) made.append(text);
  return made;
}
const ms = (x) => x.toFixed(x < 10 ? 3 : 1) + ' ms';
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1) + ' MiB';
const percent = (x) => (100 * x).toFixed(1) + ' %';
const nameOf = (layer) => layer.name || '(unnamed)';
const reached = (each) => each.boundMs == null || !each.ms ? undefined : each.boundMs / each.ms;
const sum = (list, of) => list.reduce((total, each) => total + (of(each) || 0), 0);

byId('title').textContent = report.model;
byId('facts').textContent = 'batch ' + report.batch + ', ' + report.threads + ' threads, ' + report.isa + ', '
  + report.cpu + '; median of ' + report.runs + ' runs with a clock at every step'
  + (report.panels > 1 ? '; the batch runs in parts, ' + report.panels + ' at once' : '');
if (report.imposedSparsity) {
  byId('imposed').hidden = false;
  byId('imposed').textContent = percent(report.imposedSparsity)
    + ' zeros were imposed on the weights: times are a what-if, the outputs are no longer the model\'s.';
}

const fallbacks = layers.filter((layer) => layer.kernel === 'reference');
const macs = sum(layers, (layer) => layer.macs);
const denseMacs = sum(layers, (layer) => layer.denseMacs);
const bounded = layers.filter((layer) => layer.boundMs != null);
const tiles = [
  [ms(report.wallMs), 'a run (median)'],
  [((2 * macs) / report.wallMs / 1e6).toFixed(0), 'GFLOP/s with nonzero weights'],
  [percent(sum(bounded, (layer) => layer.boundMs) / (sum(bounded, (layer) => layer.ms) || 1)), 'of the machine\'s bound'],
  [percent(denseMacs ? 1 - macs / denseMacs : 0), 'of multiply-adds skipped'],
  [mib(report.arenaBytes), 'working memory'],
  [mib(report.packedBytes), 'packed weights'],
  [String(fallbacks.length), 'nodes without a kernel'],
];
for (const [value, label] of tiles) {
  byId('tiles').append(element('div', { class: 'tile' }, element('b', {}, value), element('span', {}, label)));
}

const W = 1180, H = 240, LEFT = 58, RIGHT = 10, TOP = 12, BOTTOM = 22;
function frame(label, top, format) {
  const svg = shape('svg', { viewBox: '0 0 ' + W + ' ' + H, role: 'img', 'aria-label': label });
  for (let i = 0; i <= 4; i++) {
    const y = TOP + ((H - TOP - BOTTOM) * (4 - i)) / 4;
    svg.append(shape('line', { class: 'grid', x1: LEFT, x2: W - RIGHT, y1: y, y2: y }));
    svg.append(shape('text', { x: LEFT - 6, y: y + 4, 'text-anchor': 'end' }, undefined, format((top * i) / 4)));
  }
  svg.append(shape('text', { x: LEFT, y: H - 6 }, undefined, 'first layer'));
  svg.append(shape('text', { x: W - RIGHT, y: H - 6, 'text-anchor': 'end' }, undefined, 'last layer'));
  return svg;
}
const yOf = (value, top) => H - BOTTOM - ((H - TOP - BOTTOM) * value) / (top || 1);

const colours = new Map(operators.map((each, i) => [each.op, 'var(--c' + Math.min(i, 7) + ')']));
function timeChart() {
  const top = Math.max(...layers.map((layer) => layer.ms), 1e-6);
  const svg = frame('milliseconds by layer', top, (v) => v.toFixed(top < 0.4 ? 3 : 2));
  const step = (W - LEFT - RIGHT) / Math.max(1, layers.length);
  layers.forEach((layer, i) => {
    const text = nameOf(layer) + '\n' + layer.op + ', ' + layer.kernel + '\n' + ms(layer.ms) + ', ' + percent(layer.share)
      + (layer.boundMs == null ? '' : '\nbound ' + ms(layer.boundMs));
    const group = shape('g', { class: 'mark' }, text);
    const x = LEFT + i * step;
    group.append(shape('rect', { x, y: TOP, width: step, height: H - TOP - BOTTOM, 'fill-opacity': 0 }));
    const y = yOf(layer.ms, top);
    group.append(shape('rect', { x: x + step * 0.08, y, width: Math.max(0.5, step * 0.84), height: H - BOTTOM - y,
      style: 'fill:' + colours.get(layer.op) }));
    if (layer.boundMs != null) {
      const at = Math.max(TOP, yOf(layer.boundMs, top));
      group.append(shape('line', { class: 'bound', x1: x + step * 0.08, x2: x + step * 0.92, y1: at, y2: at }));
    }
    svg.append(group);
  });
  byId('time-chart').append(svg);
  operators.forEach(({ op, share }, i) => {
    if (i > 7) return;
    const mark = element('i', { style: 'background:' + colours.get(op) });
    const others = i === 7 && operators.length > 8;
    const rest = sum(operators.slice(7), (each) => each.share);
    byId('legend').append(element('span', {}, mark, others ? 'others ' + percent(rest) : op + ' ' + percent(share)));
  });
}

function zerosChart() {
  const weighted = layers.filter((layer) => layer.zeros != null && layer.denseMacs);
  if (!weighted.length) {
    byId('zeros-chart').append(element('p', {}, 'No layer has a constant weight.'));
    return;
  }
  const svg = frame('share of zeros by layer', 1, (v) => (100 * v).toFixed(0) + ' %');
  const total = sum(weighted, (layer) => layer.denseMacs);
  let x = LEFT;
  for (const layer of weighted) {
    const width = ((W - LEFT - RIGHT) * layer.denseMacs) / total;
    const text = nameOf(layer) + '\n' + percent(layer.zeros) + ' zeros\n' + (layer.denseMacs / 1e6).toFixed(1)
      + ' million multiply-adds, ' + (layer.macs / 1e6).toFixed(1) + ' with nonzero weights';
    const group = shape('g', { class: 'mark' }, text);
    const y = yOf(layer.zeros, 1);
    const inner = Math.max(0.3, width - Math.min(1, width * 0.2));
    group.append(shape('rect', { class: 'empty', x, y: TOP, width: inner, height: H - TOP - BOTTOM }));
    group.append(shape('rect', { class: 'zeros', x, y, width: inner, height: H - BOTTOM - y }));
    svg.append(group);
    x += width;
  }
  byId('zeros-chart').append(svg);
}

function memoryChart() {
  const { memory } = report;
  if (!memory.length) {
    byId('memory-chart').append(element('p', {}, 'No kernel needs working memory.'));
    return;
  }
  const top = Math.max(...memory.map((point) => point.bytes), 1);
  const unit = top < 2 ** 21 ? [1024, ' KiB'] : [2 ** 20, ' MiB'];
  const svg = frame('bytes in use by step', top, (v) => (v / unit[0]).toFixed(top / unit[0] < 10 ? 1 : 0) + unit[1]);
  const step = (W - LEFT - RIGHT) / memory.length;
  let path = 'M' + LEFT + ' ' + (H - BOTTOM);
  memory.forEach(({ bytes }, i) => {
    const y = yOf(bytes, top).toFixed(1);
    path += 'L' + (LEFT + i * step).toFixed(1) + ' ' + y + 'L' + (LEFT + (i + 1) * step).toFixed(1) + ' ' + y;
  });
  svg.append(shape('path', { class: 'area', d: path + 'L' + (W - RIGHT) + ' ' + (H - BOTTOM) + 'Z' }));
  memory.forEach(({ name, bytes }, i) => {
    const place = { x: LEFT + i * step, y: TOP, width: step, height: H - TOP - BOTTOM, 'fill-opacity': 0 };
    svg.append(shape('rect', place, name + '\n' + (bytes / unit[0]).toFixed(2) + unit[1]));
  });
  byId('memory-chart').append(svg);
}

/** Columns: title, text of a row, number to sort by (undefined for text), class of the cell. */
function makeTable(place, rows, columns) {
  const body = element('tbody');
  const fill = (list) => body.replaceChildren(...list.map((row) => element('tr', {},
    ...columns.map(({ cell, kind }) => element('td', kind ? { class: kind } : {}, cell(row))))));
  let shown = rows;
  let last;
  const heads = columns.map((column) => {
    const button = element('button', { type: 'button', title: 'sort' }, column.title);
    button.addEventListener('click', () => {
      const falling = last !== column;
      last = falling ? column : undefined;
      shown = [...shown].sort((a, b) => {
        const [x, y] = [column.key(a), column.key(b)];
        const order = typeof x === 'string' ? x.localeCompare(y) : (y ?? -1) - (x ?? -1);
        return falling ? order : -order;
      });
      fill(shown);
    });
    return element('th', column.kind === 'number' ? { class: 'number' } : {}, button);
  });
  fill(rows);
  byId(place).append(element('div', { class: 'scroll' },
    element('table', {}, element('thead', {}, element('tr', {}, ...heads)), body)));
  return (list) => { shown = list; fill(list); };
}

const text = (title, of, kind) => ({ title, cell: of, key: of, kind });
const number = (title, of, format) => ({ title, kind: 'number', key: of,
  cell: (row) => (of(row) == null ? '-' : format(of(row))) });
const bar = (title, of, top) => ({ title, kind: 'bar', key: of,
  cell: (row) => element('div', { style: 'width:' + Math.min(100, (100 * of(row)) / (top || 1)).toFixed(1) + '%' }) });
const fixed = (digits) => (v) => v.toFixed(digits);

timeChart();
zerosChart();
memoryChart();
makeTable('operators', operators, [
  text('operator', (row) => row.op), number('layers', (row) => row.count, String),
  number('ms', (row) => row.ms, fixed(3)), number('share', (row) => row.share, percent),
  bar('', (row) => row.share, 1), number('GFLOP/s', (row) => row.gflops || undefined, fixed(1)),
  number('GB/s', (row) => row.gbytes, fixed(1)), number('of bound', reached, percent),
  text('kernels', (row) => row.kernels.join(', ')),
]);
if (fallbacks.length) {
  makeTable('fallbacks', fallbacks, [
    text('node', nameOf, 'name'), text('operator', (row) => row.op), number('ms', (row) => row.ms, fixed(3)),
    number('share', (row) => row.share, percent), text('why', (row) => row.reason || ''),
  ]);
} else {
  byId('fallbacks').append(element('p', {}, 'None: every node that runs has a kernel.'));
}
const longest = Math.max(...layers.map((layer) => layer.share), 0);
const show = makeTable('layers', layers, [
  text('layer', nameOf, 'name'), text('operator', (row) => row.op), text('kernel', (row) => row.kernel),
  text('output', (row) => (row.dims ? '[' + row.dims.join(',') + ']' : '?')),
  number('ms', (row) => row.ms, fixed(3)), number('share', (row) => row.share, percent),
  bar('', (row) => row.share, longest), number('GFLOP/s', (row) => row.gflops || undefined, fixed(1)),
  number('GB/s', (row) => row.gbytes, fixed(1)), number('of bound', reached, percent),
  number('zeros', (row) => row.zeros, percent),
]);
byId('filter').addEventListener('input', (event) => {
  const wanted = event.target.value.toLowerCase();
  show(layers.filter((layer) => [layer.name, layer.op, layer.kernel].some((word) => word.toLowerCase().includes(wanted))));
});
const reads = report.peaks.reads.map(({ level, rate }) => level + ' ' + rate.toFixed(0)).join(', ');
byId('footer').textContent = 'filigree ' + report.version + '. Bounds measured on ' + report.threads + ' threads: '
  + (2 * report.peaks.fma).toFixed(0) + ' GFLOP/s of float32; reading in GB/s: ' + reads
  + '. A layer\'s bound is the larger of its multiply-adds with nonzero weights at the first rate and of its operands read once.';
`;

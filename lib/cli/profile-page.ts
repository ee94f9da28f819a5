/** The HTML report of a profile: one file, nothing loaded from elsewhere. */

import type { ProfileReport } from './profile.ts';
import { pageScript } from './profile-page-script.ts';
import { pageStyle } from './profile-page-style.ts';

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escapeText = (text: string): string => text.replaceAll(/[&<>"']/g, (char) => escapes[char]);

/** JSON that may stand in a script element. */
function embedded(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll('<', '\\u003c')
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029');
}

/** A whole HTML document that shows the report. */
export function profilePage(report: ProfileReport): string {
  const title = `${report.model}: profile`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeText(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<header><h1 id="title"></h1><p id="facts"></p><p id="imposed" class="warning" hidden></p></header>
<main>
<section id="tiles"></section>
<section><h2>Time by layer</h2><p class="note">Height: milliseconds of a run. Line: the least that arithmetic or reading
would take on this machine. Colour: operator.</p><div id="time-chart"></div><div id="legend"></div></section>
<section><h2>Zeros by layer</h2><p class="note">Share of zeros in each layer's weight; width: multiply-adds with all
weights, so the filled area is the work saved.</p><div id="zeros-chart"></div></section>
<section><h2>Memory over the plan</h2><p class="note">Bytes of working memory in use at each step. Weights are not
in it.</p><div id="memory-chart"></div></section>
<section><h2>By operator</h2><div id="operators"></div></section>
<section><h2>Nodes without a kernel</h2><div id="fallbacks"></div></section>
<section><h2>Layers</h2><p><input id="filter" type="search" placeholder="filter by name, operator or kernel"
aria-label="filter layers"></p><div id="layers"></div></section>
</main>
<footer id="footer"></footer>
<script id="data" type="application/json">${embedded(report)}</script>
<script>${pageScript}</script>
</body>
</html>
`;
}
